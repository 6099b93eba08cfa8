"""What people do about a result: give cells another class, sign, reject, withdraw. For the command line and for review pages alike.

A signature, a rejection or a withdrawal is a version of the result: the report and, for each destination, its message are recorded in
one commit.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from db.context import Clock
from db.errors import CaseChanged
from db.people import Actor
from db.release_moves import Act
from db.review_views import CellReview, GradeChange
from db.session import Database, UnitOfWork
from db.views import ReportView
from flows.errors import ReviewRefused
from flows.grading import CaseGrader
from flows.message_pictures import MessagePictures
from flows.outcome import Outcome, outcome_of, read_material
from flows.release import prepare_pictures, queue_messages
from flows.results import moment_of
from integrations.errors import PatientUnknown, TextRefused
from integrations.hl7.profile import Profile, SendPictures
from integrations.hl7.result import Picture
from sphero_core.grading import NO_GRADE, SCHEMES
from sphero_core.types import CaseCounts, CellClass, Grading

log = logging.getLogger(__name__)

LOOKS = 3  # a case that changes under the person's hands is looked at again so often
NOTHING = CaseCounts(0, 0, None, None, 0)


class ReviewDesk:
    """People's acts, one at a time or from several threads.

    Parameters
    ----------
    database : Database
    profiles : mapping of str to Profile
        One for each destination, by its name.
    pictures : MessagePictures
    clock : callable
        The time, aware, in the site's time zone.
    grader : CaseGrader or None
        By default the shipped scheme, and nothing known of the model's false calls.
    """

    def __init__(
        self,
        *,
        database: Database,
        profiles: Mapping[str, Profile],
        pictures: MessagePictures,
        clock: Clock,
        grader: CaseGrader | None = None,
    ) -> None:
        self._grader = grader or CaseGrader()
        self._database = database
        self._profiles = profiles
        self._pictures = pictures
        self._clock = clock

    def relabel(self, case_id: str, field: int, cell: int, cell_class: CellClass, actor: Actor) -> CellReview:
        """Give a cell another class; counts, percentage and grade of the next version follow.

        Raises
        ------
        IllegalMove, NotFound, DatabaseError
        """
        with self._database.transaction(actor.login) as work:
            return work.reviews.relabel(case_id, field, cell, cell_class, actor)

    def preview(self, case_id: str) -> Outcome:
        """What a signature would tell now.

        Raises
        ------
        NotFound, DatabaseError
        """
        with self._database.reading() as work:
            return outcome_of(read_material(work, work.cases.get(case_id)), self._grader)

    def sign(self, case_id: str, actor: Actor, *, comment: str = "", grade: str = "", reason: str = "") -> ReportView:
        """Make the final version of a result, or a corrected one where a final one is out, and queue what tells it.

        Parameters
        ----------
        comment : str
            Leaves with the result.
        grade, reason : str
            Another grade of the scheme than was reckoned, and why; empty leaves the grade as it is.

        Raises
        ------
        ReviewRefused
            There is nothing to sign, the grade cannot be, or the messages cannot be built.
        CaseChanged
            The case changes while it is being signed.
        IllegalMove, NotFound, DatabaseError
        """
        for _ in range(LOOKS - 1):
            try:
                return self._sign(case_id, actor, comment.strip(), grade.strip(), reason.strip())
            except CaseChanged:
                continue
        return self._sign(case_id, actor, comment.strip(), grade.strip(), reason.strip())

    def reject(self, case_id: str, actor: Actor, reason: str) -> ReportView | None:
        """Close a case without a result, and tell the receivers so.

        Parameters
        ----------
        reason : str
            Leaves with the messages.

        Returns
        -------
        ReportView or None
            None where nobody can be told, for the patient is not known: the case is closed all the same.

        Raises
        ------
        ReviewRefused, IllegalMove, NotFound, DatabaseError
        """
        words = _required(reason)
        try:
            return self._close(case_id, Act.REJECT, actor, words)
        except PatientUnknown:
            with self._database.transaction(actor.login) as work:
                work.cases.reject(case_id, words)
            log.info("case rejected; its patient is not known, so nobody is told", extra={"case": case_id})
            return None

    def withdraw(self, case_id: str, actor: Actor, reason: str) -> ReportView:
        """Tell the receivers that the result belongs to another patient, and close the case.

        Raises
        ------
        ReviewRefused, IllegalMove, NotFound, DatabaseError
        """
        try:
            return self._close(case_id, Act.WITHDRAW, actor, _required(reason))
        except PatientUnknown as error:
            raise ReviewRefused(f"the messages cannot be built: {error}") from None

    def _sign(self, case_id: str, actor: Actor, comment: str, grade: str, reason: str) -> ReportView:
        with self._database.reading() as work:
            seen = work.reviews.seen(case_id)
            outcome = outcome_of(read_material(work, work.cases.get(case_id)), self._grader)
        if outcome.bundle is None or outcome.not_obtained is not None:
            why = (outcome.not_obtained or "").replace("\n", "; ")
            raise ReviewRefused(f"there is no result to sign ({why}); `sphero case reject` closes the case")
        change = changed_grade(outcome.counts.grading, grade, reason)
        pictures = prepare_pictures(self._database, self._pictures, self._profiles, case_id, outcome.fields)
        try:
            with self._database.transaction(actor.login) as work:
                earlier, now = work.reports.of_case(case_id), self._clock()
                report = work.reviews.sign(
                    case_id,
                    actor,
                    seen=seen,
                    counts=outcome.counts,
                    bundle=outcome.bundle,
                    body=outcome.body,
                    comment=comment,
                    grade=change,
                    deliberate=bool(comment or grade),
                    at=moment_of(now, earlier),
                )
                if report.new:
                    queue_messages(work, report, earlier, self._profiles, pictures, now.tzinfo)
        except (PatientUnknown, TextRefused) as error:
            raise ReviewRefused(f"the messages cannot be built: {error}") from None
        if report.new:
            log.info("case signed: %s", report.status, extra={"case": case_id, "revision": report.revision})
        return report

    def _close(self, case_id: str, act: Act, actor: Actor, reason: str) -> ReportView:
        try:
            with self._database.transaction(actor.login) as work:
                earlier, now = work.reports.of_case(case_id), self._clock()
                told = earlier[-1] if act is Act.WITHDRAW and earlier else None
                report = work.reviews.close(
                    case_id,
                    act,
                    actor,
                    reason=reason,
                    counts=told.counts if told else NOTHING,
                    bundle=told.bundle if told else None,
                    body={},
                    at=moment_of(now, earlier),
                )
                if report.new:
                    self._tell(work, report, earlier)
        except TextRefused as error:
            raise ReviewRefused(f"the messages cannot be built: {error}") from None
        if report.new:
            log.info("case closed: %s", act, extra={"case": case_id, "revision": report.revision})
        return report

    def _tell(self, work: UnitOfWork, report: ReportView, earlier: Sequence[ReportView]) -> None:
        """Queue what tells that a case is closed; each picture that may have been sent is told to be gone."""
        fields = work.cases.get(report.case_id).fields_analysed
        gone = {
            name: (Picture(),) * min(profile.pictures.most, fields)
            for name, profile in self._profiles.items()
            if profile.pictures.send is not SendPictures.NONE
        }
        queue_messages(work, report, earlier, self._profiles, gone, self._clock().tzinfo)


def changed_grade(grading: Grading | None, grade: str, reason: str) -> GradeChange | None:
    """A grade that a person gives in place of the reckoned one; None where it is left or is the same.

    Raises
    ------
    ReviewRefused
        Nothing was graded, the scheme has no such grade, or no reason is given.
    """
    if not grade:
        if reason:
            raise ReviewRefused("a reason is for a changed grade: give --grade as well, or --comment instead")
        return None
    if grading is None:
        raise ReviewRefused("the case has no grade that could be changed: no red cell was counted")
    scheme = SCHEMES.get(grading.scheme)
    grades = (NO_GRADE, *(name for name, _ in scheme.cut_offs)) if scheme else (grading.grade,)
    if grade not in grades:
        raise ReviewRefused(f"the scheme {grading.scheme} has the grades {', '.join(grades)}, not {grade!r}")
    if grade == grading.grade:
        return None
    if not reason:
        raise ReviewRefused("a changed grade needs its reason: give --reason")
    return GradeChange(grade, grading.grade, reason)


def _required(reason: str) -> str:
    words = " ".join(reason.split())
    if not words:
        raise ReviewRefused("the reason must say something: it goes to the receivers of results")
    return words
