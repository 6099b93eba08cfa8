"""What people do about a result: give cells another class, sign, reject, withdraw. For the command line and for review pages alike.

A signature, a rejection or a withdrawal is a version of the result: the report and, for each destination, its message are recorded in
one commit; so are the DICOM objects that tell it, which are made before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from db.context import Clock
from db.errors import CaseChanged
from db.people import Actor
from db.release_moves import Act, next_status
from db.review_views import CellReview, GradeChange, ReportAct
from db.session import Database, UnitOfWork
from db.states import ReportStatus
from db.views import CaseView, Identity, ReportView
from flows.archive import Archiving, Prepared
from flows.archive_objects import Version
from flows.errors import ReviewRefused
from flows.grading import CaseGrader
from flows.message_pictures import MessagePictures
from flows.message_reports import NOTHING as NO_REPORT
from flows.message_reports import Attached, MessageReports, draft_of
from flows.outcome import Outcome, outcome_of, read_material
from flows.release import prepare_pictures, queue_messages
from flows.results import moment_of
from integrations.errors import ObjectRefused, PatientUnknown, StoreError, TextRefused
from integrations.hl7.profile import Profile, SendPictures
from integrations.hl7.result import Picture
from sphero_core.errors import ImageError
from sphero_core.grading import NO_GRADE, SCHEMES
from sphero_core.types import CaseCounts, CellClass, Grading

log = logging.getLogger(__name__)

LOOKS = 3  # a case that changes under the person's hands is looked at again so often
_CLOSED = {Act.REJECT: ReportStatus.NOT_OBTAINED, Act.WITHDRAW: ReportStatus.WRONG_PATIENT}
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
    archiving : Archiving or None
        Makes the DICOM objects that go with a version; None for none.
    reports : MessageReports or None
        Makes the reports for people that go with messages; None for none.
    """

    def __init__(
        self,
        *,
        database: Database,
        profiles: Mapping[str, Profile],
        pictures: MessagePictures,
        clock: Clock,
        grader: CaseGrader | None = None,
        archiving: Archiving | None = None,
        reports: MessageReports | None = None,
    ) -> None:
        self._reports = reports
        self._grader = grader or CaseGrader()
        self._archiving = archiving
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
            There is nothing to sign, the grade cannot be, or the messages or objects cannot be built.
        CaseChanged
            The case changes while it is being signed.
        IllegalMove, NotFound, DatabaseError
        """
        words = comment.strip(), grade.strip(), reason.strip()
        try:
            return _looking_again(lambda: self._sign(case_id, actor, *words))
        except PatientUnknown as error:
            raise ReviewRefused(f"the messages cannot be built: {error}") from None

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
            return _looking_again(lambda: self._close(case_id, Act.REJECT, actor, words))
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
        words = _required(reason)
        try:
            return _looking_again(lambda: self._close(case_id, Act.WITHDRAW, actor, words))
        except PatientUnknown as error:
            raise ReviewRefused(f"the messages cannot be built: {error}") from None

    def _sign(self, case_id: str, actor: Actor, comment: str, grade: str, reason: str) -> ReportView:
        now = self._clock()
        with self._database.reading() as work:
            seen, case = work.reviews.seen(case_id), work.cases.get(case_id)
            outcome = outcome_of(read_material(work, case), self._grader)
            earlier, standing = work.reports.of_case(case_id), work.reports.standing(case_id)
            identity = work.identities.get(case_id)
        if outcome.bundle is None or outcome.not_obtained is not None:
            why = (outcome.not_obtained or "").replace("\n", "; ")
            raise ReviewRefused(f"there is no result to sign ({why}); `sphero case reject` closes the case")
        change = changed_grade(outcome.counts.grading, grade, reason)
        pictures = prepare_pictures(self._database, self._pictures, self._profiles, case_id, outcome.fields)
        act = ReportAct(Act.SIGN, actor, now, comment, change)
        version = _version(case, earlier, next_status(standing, Act.SIGN), now, act)
        with _refusals():
            objects = self._objects(case, version, outcome)
            attached = self._attached(case, version, outcome, earlier, identity)
            with self._database.transaction(actor.login) as work:
                earlier = work.reports.of_case(case_id)
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
                    if self._reports is not None:
                        self._reports.keep(work, report, attached)
                    queue_messages(work, report, earlier, self._profiles, pictures, now.tzinfo, attached.documents)
                    self._queue(work, report, objects)
        if report.new:
            log.info("case signed: %s", report.status, extra={"case": case_id, "revision": report.revision})
        return report

    def _close(self, case_id: str, act: Act, actor: Actor, reason: str) -> ReportView:
        now = self._clock()
        with self._database.reading() as work:
            case, earlier = work.cases.get(case_id), work.reports.of_case(case_id)
        said = ReportAct(act, actor, now, reason)
        with _refusals():
            objects = self._objects(case, _version(case, earlier, _CLOSED[act], now, said))
            with self._database.transaction(actor.login) as work:
                earlier = work.reports.of_case(case_id)
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
                    self._queue(work, report, objects)
        if report.new:
            log.info("case closed: %s", act, extra={"case": case_id, "revision": report.revision})
        return report

    def _attached(
        self,
        case: CaseView,
        version: Version,
        outcome: Outcome,
        earlier: Sequence[ReportView],
        identity: Identity,
    ) -> Attached:
        """The report for people that goes with the messages, made before the transaction."""
        if self._reports is None or outcome.material is None:
            return NO_REPORT
        draft = draft_of(case.case_id, version.revision, version.status, version.made, outcome, version.act)
        return self._reports.prepare(self._profiles, draft, earlier, identity, outcome.material)

    def _objects(self, case: CaseView, version: Version, outcome: Outcome | None = None) -> Prepared | None:
        """The DICOM objects of a version, made before its transaction; without an outcome those that reject what is out."""
        if self._archiving is None:
            return None
        if outcome is None:
            words = version.act.comment if version.act else ""
            return self._archiving.prepare_rejection(case, version, words)
        return self._archiving.prepare(case, outcome.fields, outcome.counts, outcome.bundle, version)

    def _queue(self, work: UnitOfWork, report: ReportView, objects: Prepared | None) -> None:
        if self._archiving is not None and objects is not None:
            self._archiving.queue(work, report, objects)

    def _tell(self, work: UnitOfWork, report: ReportView, earlier: Sequence[ReportView]) -> None:
        """Queue what tells that a case is closed; each picture that may have been sent is told to be gone."""
        fields = work.cases.get(report.case_id).fields_analysed
        gone = {
            name: (Picture(),) * min(profile.pictures.most, fields)
            for name, profile in self._profiles.items()
            if profile.pictures.send is not SendPictures.NONE
        }
        queue_messages(work, report, earlier, self._profiles, gone, self._clock().tzinfo)


def _version(
    case: CaseView, earlier: Sequence[ReportView], status: ReportStatus, now: datetime, act: ReportAct
) -> Version:
    """What follows what is out, if nothing comes meanwhile."""
    told = bool(earlier) and earlier[-1].revision == case.revision
    made = moment_of(now, earlier).astimezone(now.tzinfo)
    return Version(case.revision + told, status, made, act)


def _looking_again(act: Callable[[], ReportView]) -> ReportView:
    for _ in range(LOOKS - 1):
        try:
            return act()
        except CaseChanged:
            continue
    return act()


@contextmanager
def _refusals() -> Iterator[None]:
    """Tell in words why a version cannot be told; that the patient is not known is for the caller."""
    try:
        yield
    except TextRefused as error:
        raise ReviewRefused(f"the messages cannot be built: {error}") from None
    except (ObjectRefused, StoreError, ImageError) as error:
        raise ReviewRefused(f"the DICOM objects cannot be made: {error}") from None


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
