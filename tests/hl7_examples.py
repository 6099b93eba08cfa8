"""Results as tests of the HL7 side need them: one plain, one with hostile text wherever a text can stand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from integrations.hl7.message import build_message
from integrations.hl7.profile import Profile
from integrations.hl7.result import OrderNumbers, Patient, ReportedResult
from sphero_core.types import BundleId, CaseCounts

PROFILE = Profile(sending_facility="HEMLAB", receiving_application="LIS", receiving_facility="HOSP")

PLAIN = ReportedResult(
    case_id="0190b2a4-case",
    revision=1,
    patient=Patient("123456", "HOSP", "Mueller", "Zoe", date(1980, 1, 1), "F"),
    order=OrderNumbers("26-00412", "LIS", placer="PL123"),
    counts=CaseCounts(1842, 62, 3.366, (2.63, 4.29), 5, ("Counted in 5 fields.",)),
    bundle=BundleId("sphero-mini", "1.0", "ab" * 32),
    software_version="0.1.0",
    collected=datetime(2026, 11, 23, 8, 45, tzinfo=UTC),
    analysed=datetime(2026, 11, 23, 10, 14, 30, tzinfo=UTC),
    reported=datetime(2026, 11, 23, 10, 15, tzinfo=UTC),
)


def message(number: int = 1) -> bytes:
    """Build a valid message; different numbers give different control ids."""
    return build_message(replace(PLAIN, revision=number), PROFILE, "lis").body


def hostile(text: str) -> tuple[ReportedResult, Profile]:
    """Put a text into every place where a text can stand."""
    result = replace(
        PLAIN,
        patient=Patient(text, text, text, text, date(1980, 1, 1), "F"),
        order=OrderNumbers(text, text, text, text),
        counts=replace(PLAIN.counts, limitations=(text, text)) if PLAIN.counts else None,
        bundle=BundleId(text, text, "ab" * 32),
        software_version=text,
    )
    profile = replace(
        PROFILE,
        sending_application=text,
        sending_facility=text,
        receiving_application=text,
        receiving_facility=text,
        equipment=text,
        accession_fields=("SPM-2", "OBR-18"),
    )
    return result, profile
