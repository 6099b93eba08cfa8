"""Results of an invented patient, one for each status: what the message guide shows and `sphero doctor` tries.

The numbers are made up; the sentences around them are those that the program sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

from integrations.hl7.result import (
    SOFTWARE,
    OrderNumbers,
    Patient,
    Presence,
    ReportedResult,
    ResultStatus,
    Reviewer,
)
from sphero_core.types import BundleId, CaseCounts

_COLLECTED = datetime(2026, 11, 23, 8, 45, tzinfo=UTC)

UNVERIFIED = ReportedResult(
    case_id="00000000-0000-7000-8000-000000000000",
    revision=1,
    patient=Patient("123456", "HOSP", "Muster", "Erika", date(1980, 1, 1), "F"),
    order=OrderNumbers("26-00412", "LIS", placer="PL123"),
    counts=CaseCounts(1842, 62, 3.366, (2.63, 4.29), 5),
    bundle=BundleId("sphero-sample", "1.0", "ab" * 32),
    software_version="0.1.0",
    collected=_COLLECTED,
    analysed=_COLLECTED + timedelta(minutes=89, seconds=30),
    reported=_COLLECTED + timedelta(minutes=90),
)

FINAL = replace(
    UNVERIFIED,
    revision=2,
    follows=UNVERIFIED.reported,
    reported=UNVERIFIED.reported + timedelta(hours=1),
    status=ResultStatus.FINAL,
    reviewer=Reviewer("4711", "HOSP", "Pruefer", "Anna"),
    presence=Presence(detected=True, grade="1+", scheme="davis", false_call_percent=1.0),
)

SAMPLES: Mapping[ResultStatus, ReportedResult] = MappingProxyType(
    {
        ResultStatus.UNVERIFIED: UNVERIFIED,
        ResultStatus.FINAL: FINAL,
        ResultStatus.RELEASED: replace(
            UNVERIFIED,
            status=ResultStatus.RELEASED,
            reviewer=SOFTWARE,
        ),
        ResultStatus.CORRECTED: replace(
            FINAL,
            revision=3,
            follows=FINAL.reported,
            reported=FINAL.reported + timedelta(hours=1),
            status=ResultStatus.CORRECTED,
            counts=CaseCounts(2316, 30, 1.295, (0.91, 1.84), 6),
            presence=Presence(detected=False, grade="0", scheme="davis", false_call_percent=1.0),
            comment="Field 6 came late.",
        ),
        ResultStatus.WRONG_PATIENT: replace(
            UNVERIFIED,
            revision=2,
            follows=UNVERIFIED.reported,
            status=ResultStatus.WRONG_PATIENT,
            reported=UNVERIFIED.reported + timedelta(hours=1),
        ),
        ResultStatus.NOT_OBTAINED: replace(
            UNVERIFIED,
            status=ResultStatus.NOT_OBTAINED,
            counts=None,
            bundle=None,
            analysed=None,
            not_obtained="every field was refused\n2 fields: out of focus\n1 field: the file is damaged",
        ),
    }
)
