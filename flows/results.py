"""From what is kept to what is told: our records as the values that the HL7 side takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo

from db.views import Identity, ReportView
from integrations.hl7.result import OrderNumbers, Patient, Presence, ReportedResult, ResultStatus
from sphero_core.types import Grading


def result_of(
    report: ReportView, identity: Identity, earlier: Sequence[ReportView], zone: tzinfo | None, software_version: str
) -> ReportedResult:
    """What one version of a case's result tells.

    Parameters
    ----------
    report : ReportView
        The analysis ended and the report was made at the same moment.
    earlier : sequence of ReportView
        The versions before it.
    zone : tzinfo or None
        The site's time zone.
    """
    obtained = report.not_obtained is None
    made = report.created_at.astimezone(zone)
    return ReportedResult(
        case_id=report.case_id,
        revision=report.revision,
        patient=_patient(identity),
        order=OrderNumbers(
            identity.accession,
            identity.accession_issuer or "",
            placer=identity.placer_order or "",
            filler=identity.filler_order or "",
            placer_issuer=_components(identity.placer_issuer),
            filler_issuer=_components(identity.filler_issuer),
        ),
        counts=report.counts if obtained else None,
        presence=presence_of(report.counts.grading) if obtained and report.counts.grading else None,
        not_obtained=report.not_obtained,
        status=ResultStatus.UNVERIFIED if obtained else ResultStatus.NOT_OBTAINED,
        bundle=report.bundle,
        software_version=software_version,
        reported=made,
        follows=max((each.created_at for each in earlier), default=None),
        analysed=made if report.bundle else None,
        collected=identity.collected.astimezone(zone) if identity.collected else None,
    )


def presence_of(grading: Grading) -> Presence:
    """What a grade tells a receiver."""
    return Presence(grading.detected, grading.grade, grading.scheme, grading.false_call_percent, grading.reason)


def moment_of(now: datetime, earlier: Sequence[ReportView]) -> datetime:
    """When a report is made: now, but a second after the version before at least, for messages tell seconds."""
    last = max((each.created_at for each in earlier), default=None)
    # Reckoned in UTC: a second later by the site's clock may be a time that does not exist there.
    return now if last is None else max(now, last.replace(microsecond=0) + timedelta(seconds=1))


def _components(issuer: str | None) -> tuple[str, ...]:
    return tuple(issuer.split("^")) if issuer else ()


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
