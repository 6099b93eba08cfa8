"""From what is kept to what is told: our records as the values that the HL7 side takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo

from db.release_moves import Act
from db.review_views import GradeChange, ReportAct
from db.states import ReportStatus
from db.views import Identity, ReportView
from integrations.hl7.result import (
    NO_GRADE,
    SOFTWARE,
    OrderNumbers,
    Patient,
    Presence,
    ReportedResult,
    ResultStatus,
    Reviewer,
)

_STATUS = {
    ReportStatus.PRELIMINARY: ResultStatus.UNVERIFIED,
    ReportStatus.FINAL: ResultStatus.FINAL,
    ReportStatus.CORRECTED: ResultStatus.CORRECTED,
    ReportStatus.NOT_OBTAINED: ResultStatus.NOT_OBTAINED,
    ReportStatus.WRONG_PATIENT: ResultStatus.WRONG_PATIENT,
}


def result_of(
    report: ReportView,
    identity: Identity,
    earlier: Sequence[ReportView],
    zone: tzinfo | None,
    software_version: str,
    *,
    analysed: datetime | None = None,
) -> ReportedResult:
    """What one version of a case's result tells.

    Parameters
    ----------
    report : ReportView
    earlier : sequence of ReportView
        The versions before it.
    zone : tzinfo or None
        The site's time zone.
    analysed : datetime or None
        When the last field was analysed.
    """
    obtained = report.not_obtained is None
    by_software = report.status is ReportStatus.FINAL and report.act is None
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
        presence=presence_of(report) if obtained else None,
        not_obtained=report.not_obtained,
        status=ResultStatus.RELEASED if by_software else _STATUS[report.status],
        reviewer=SOFTWARE if by_software else reviewer_of(report.act),
        comment=comment_of(report.act),
        bundle=report.bundle,
        software_version=software_version,
        reported=made,
        follows=max((each.created_at for each in earlier), default=None),
        analysed=analysed.astimezone(zone) if analysed else None,
        collected=identity.collected.astimezone(zone) if identity.collected else None,
    )


def presence_of(report: ReportView) -> Presence | None:
    """What a grade tells a receiver; the grade that a person gave, where one did."""
    grading, act = report.counts.grading, report.act
    if grading is None:
        return None
    if act is None or act.grade is None:
        return Presence(grading.detected, grading.grade, grading.scheme, grading.false_call_percent, grading.reason)
    given = act.grade
    reason = words_of_change(given)
    detected = given.grade != NO_GRADE
    return Presence(detected, given.grade, grading.scheme, grading.false_call_percent, reason, by_person=True)


def words_of_change(given: GradeChange) -> str:
    """What is told of a grade that a person changed."""
    return f"The reviewer changed the grade from {given.machine_grade} to {given.grade}: {given.reason}"


def words_of_act(act: ReportAct) -> tuple[str, ...]:
    """Everything that a person said with a version."""
    changed = words_of_change(act.grade) if act.grade else ""
    return tuple(each for each in (comment_of(act), changed) if each)


def reviewer_of(act: ReportAct | None) -> Reviewer | None:
    """Who stands behind a version, as the receivers know the person."""
    if act is None:
        return None
    actor = act.actor
    return Reviewer(actor.identifier, actor.authority, actor.family, actor.given)


def comment_of(act: ReportAct | None) -> str:
    """A person's words that leave with a version; those of a rejection are its reason already."""
    return "" if act is None or act.act is Act.REJECT else act.comment


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
        birth_date_of(identity.birth_date),
        identity.sex or "",
    )


def birth_date_of(text: str | None) -> date | None:
    """A full date; a year or month alone is not one, and is left out rather than made up."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
