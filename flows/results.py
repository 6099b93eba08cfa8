"""From what is kept to what is told: our records as the values that the HL7 side takes."""

from __future__ import annotations

from datetime import date, datetime

from db.views import CaseView, Identity
from integrations.hl7.result import OrderNumbers, Patient, ReportedResult
from sphero_core.types import BundleId, CaseCounts


def result_of(
    case: CaseView, identity: Identity, counts: CaseCounts, bundle: BundleId, now: datetime, software_version: str
) -> ReportedResult:
    """What one version of a case's result tells.

    Parameters
    ----------
    now : datetime
        Aware, in the site's time zone; the analysis ended and the report is made at this moment.
    """
    zone = now.tzinfo
    return ReportedResult(
        case_id=case.case_id,
        revision=case.revision,
        patient=_patient(identity),
        order=OrderNumbers(
            identity.accession,
            identity.accession_issuer or "",
            placer=identity.placer_order or "",
            filler=identity.filler_order or "",
        ),
        counts=counts,
        bundle=bundle,
        software_version=software_version,
        reported=now,
        analysed=now,
        collected=identity.collected.astimezone(zone) if identity.collected else None,
    )


def _patient(identity: Identity) -> Patient | None:
    if not identity.patient_id or not identity.patient_issuer:
        return None
    return Patient(
        identity.patient_id,
        identity.patient_issuer,
        identity.family or "",
        identity.given or "",
        _birth_date(identity.birth_date),
        identity.sex or "",
    )


def _birth_date(text: str | None) -> date | None:
    """A full date; a year or month alone is not one, and is left out rather than made up."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
