"""The work on one case: lease, fields, report. Plain steps without Prefect; each may be repeated.

A result and the messages that tell it are committed together, with the messages' bytes frozen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from db.session import Database, UnitOfWork
from db.states import CaseState, FieldState, HoldReason
from db.views import CaseView, FieldResult, FieldView, PictureView, ReportView
from flows.errors import CaseStopped, StoreUnavailable
from flows.grading import CaseGrader
from flows.hold_words import hold_words
from flows.image_tasks import image_task
from flows.model_child import ImageTask
from flows.outcome import outcome_of, read_material
from flows.release import ACTOR, REOPENED, Release
from integrations.errors import ObjectRefused, PatientUnknown, TextRefused
from sphero_core.types import BundleId, FieldFindings

log = logging.getLogger(__name__)

OVERLAY = "overlay"
MAX_CLAIMS = 10

_STOPPED = {
    CaseState.OPEN: REOPENED,
    CaseState.HELD: ("Held", "the case is held"),
    CaseState.REJECTED: ("Rejected", "the case was rejected"),
}


@dataclass(frozen=True, slots=True, eq=False)
class CaseResult:
    """What a case came to: its report, and the fields it rests on."""

    report: ReportView
    fields: tuple[FieldResult, ...]
    refused: tuple[FieldView, ...]


class CaseWork:
    """Steps of the work on cases; for any number of threads.

    Parameters
    ----------
    database : Database
    store : Path
        Where images are.
    release : Release
        Commits results.
    pixel_aspect : float
        Where a case names none.
    has_store : callable
        Whether the store can be seen now; asked where a file of it cannot.
    lease_seconds : float
        How long a case belongs to a worker that gives no sign.
    grader : CaseGrader or None
        By default the shipped scheme, and nothing known of the model's false calls.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Path,
        release: Release,
        pixel_aspect: float,
        has_store: Callable[[], bool] = lambda: True,
        lease_seconds: float = 120.0,
        grader: CaseGrader | None = None,
    ) -> None:
        self._has_store = has_store
        self._database = database
        self._store = store
        self._release = release
        self._pixel_aspect = pixel_aspect
        self.lease_seconds = lease_seconds
        self._grader = grader or CaseGrader()

    @property
    def due(self) -> frozenset[CaseState]:
        """States in which a case needs a worker."""
        return self._release.due

    # ------------------------------------------------------------------------------------------------------------ lease
    def claim(self, case_id: str, owner: str) -> CaseView:
        """Take a case.

        Raises
        ------
        CaseStopped
            There is nothing to do, or it may not be done now; ``Reported`` where it is done already.
        """
        with self._database.transaction(ACTOR) as work:
            claimed = work.cases.claim(case_id, owner, self.lease_seconds, max_attempts=MAX_CLAIMS)
            case = work.cases.get(case_id)
        if claimed:
            return case
        if case.state in (CaseState.REPORTED, CaseState.SIGNED):
            raise CaseStopped("Reported", "the case is reported")
        raise _stopped(case)

    def why_lost(self, case_id: str) -> CaseStopped | None:
        """Why the lease of a case is lost: it was held, rejected or opened again; None where another worker has it."""
        with self._database.reading() as work:
            case = work.cases.get(case_id)
        if case.state not in _STOPPED:
            return None
        return _stopped(case)

    def renew(self, case_id: str, owner: str) -> bool:
        """Prolong the lease; False where it is lost."""
        with self._database.transaction(ACTOR) as work:
            return work.cases.renew(case_id, owner, self.lease_seconds)

    def give_back(self, case_id: str, owner: str, *, spent: bool) -> None:
        """End the lease before the case is done."""
        with self._database.transaction(ACTOR) as work:
            work.cases.unclaim(case_id, owner, spent=spent)

    # ----------------------------------------------------------------------------------------------------------- fields
    def fields(self, case_id: str) -> tuple[FieldView, ...]:
        """All fields of a case in the order they came."""
        with self._database.reading() as work:
            return work.fields.of_case(case_id)

    def task(self, case: CaseView, field: FieldView) -> ImageTask:
        """Where a field's pixels are and what shape they have."""
        return image_task(self._store, case, field, self._pixel_aspect)

    def require_store(self) -> None:
        """See whether the store is there, where one of its files is not.

        Raises
        ------
        StoreUnavailable
            It is away as a whole, so that nothing is wrong with the case.
        """
        if not self._has_store():
            raise StoreUnavailable(
                "the store of images cannot be seen: mount it at [paths] shared; the case goes on then"
            )

    def record(self, case: CaseView, found: Sequence[tuple[FieldView, FieldFindings]], bundle: BundleId) -> None:
        """Record the findings of fields in one commit, and that a picture of each can be had.

        Raises
        ------
        LeaseLost
            Another worker has the case by now; nothing is recorded.
        """
        with self._database.transaction(ACTOR) as work:
            work.cases.require_lease(case.case_id, case.lease_owner)
            for field, findings in found:
                record_findings(work, field, bundle, findings)

    def refuse(self, case: CaseView, field: FieldView, reason: str) -> None:
        """Put a field aside that cannot be analysed; its file is kept. Raises as `record`."""
        with self._database.transaction(ACTOR) as work:
            work.cases.require_lease(case.case_id, case.lease_owner)
            work.fields.quarantine(field.field_id, reason)
        log.warning("field quarantined: %s", reason, extra={"case": field.case_id})

    # ----------------------------------------------------------------------------------------------------------- result
    def report(self, case: CaseView, owner: str) -> CaseResult | None:
        """Count a case whose every field has its outcome, and commit the result with its messages.

        Where every field was refused, the report and its messages say so. None where nothing leaves without a person,
        by the site's policy or because a final result is out.

        Raises
        ------
        CaseStopped
            The case is held, or a further field came meanwhile.
        LeaseLost, DatabaseError
        """
        with self._database.reading() as work:
            material = read_material(work, case)
        try:
            report = self._release.commit(case, owner, outcome_of(material, self._grader))
        except PatientUnknown as error:
            raise self._hold(case, HoldReason.NO_PATIENT, str(error)) from None
        except (TextRefused, ObjectRefused) as error:
            raise self._hold(case, HoldReason.UNSENDABLE, str(error)) from None
        return None if report is None else CaseResult(report, material.fields, material.refused)

    def result(self, case_id: str) -> CaseResult | None:
        """The latest result of a case, or None while there is none."""
        with self._database.reading() as work:
            return read_result(work, case_id)

    def pictures(self, case_id: str) -> dict[str, PictureView]:
        """The overlays of a case by field."""
        with self._database.reading() as work:
            return {picture.field_id: picture for picture in work.reports.pictures_of(case_id)}

    def _hold(self, case: CaseView, reason: HoldReason, why: str) -> CaseStopped:
        with self._database.transaction(ACTOR) as work:
            work.cases.require_lease(case.case_id, case.lease_owner)
            work.cases.hold(case.case_id, reason)
        log.warning("case held (%s): %s", reason, why, extra={"case": case.case_id})
        return CaseStopped("Held", f"held ({reason}): {why}")


def _stopped(case: CaseView) -> CaseStopped:
    outcome, message = _STOPPED.get(case.state, ("Taken", "another worker has the case"))
    if case.state is CaseState.HELD:
        message += f": {'; '.join(map(hold_words, case.hold_reasons))}; see `sphero case show {case.case_id}`"
    return CaseStopped(outcome, message)


def record_findings(work: UnitOfWork, field: FieldView, bundle: BundleId, findings: FieldFindings) -> None:
    """Record the findings of a field, and that a picture of them can be had."""
    work.analyses.record(field.field_id, bundle, findings)
    work.reports.add_picture(field.field_id, OVERLAY, f"{field.field_id}-{bundle.sha256[:12]}.jpg", "image/jpeg")


def read_result(work: UnitOfWork, case_id: str) -> CaseResult | None:
    """The latest result of a case, or None while there is none."""
    reports = work.reports.of_case(case_id)
    if not reports:
        return None
    refused = work.fields.of_case(case_id, FieldState.QUARANTINED)
    return CaseResult(reports[-1], work.analyses.results_of(case_id), refused)
