"""A result and the messages that tell it, committed together: the report, and for each destination its bytes, frozen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from enum import StrEnum
from importlib.metadata import version

from db.cases import WORK
from db.context import Clock
from db.release_moves import Act, Standing, next_status
from db.session import Database, UnitOfWork
from db.states import CaseState, ReportStatus
from db.views import CaseView, FieldResult, ReportView
from flows.archive import Archiving, Prepared
from flows.archive_objects import Version
from flows.errors import CaseStopped
from flows.message_pictures import MessagePictures
from flows.message_reports import NOTHING, Attached, MessageReports, draft_of
from flows.outcome import Outcome
from flows.results import moment_of, result_of
from integrations.hl7.message import build_message
from integrations.hl7.profile import Profile
from integrations.hl7.result import Document, Picture

log = logging.getLogger(__name__)

ACTOR = "analysis"
FINAL_WITHOUT_PERSON = '[site] release_policy is "final": machine results leave as final without a person; only for a site that has validated it'
REOPENED = ("Reopened", "a further field came; the case is analysed when it is complete again")


class ReleasePolicy(StrEnum):
    """What of the machine's results leaves without a person."""

    PRELIMINARY = "preliminary"  # at once, as preliminary
    HOLD = "hold"  # nothing until a person signs; only that there is no result
    FINAL = "final"  # at once, as final: only where the site has validated that


class Release:
    """Records what cases came to and queues what is told of it; for any number of threads.

    Parameters
    ----------
    database : Database
    profiles : mapping of str to Profile
        One for each destination, by its name.
    pictures : MessagePictures
    clock : callable
        The time, aware, in the site's time zone.
    policy : ReleasePolicy
        What of the machine's results leaves without a person.
    archiving : Archiving or None
        Makes the DICOM objects that go with a result; None for none.
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
        policy: ReleasePolicy = ReleasePolicy.PRELIMINARY,
        archiving: Archiving | None = None,
        reports: MessageReports | None = None,
    ) -> None:
        self._reports = reports
        self._policy = policy
        self._archiving = archiving
        self._database = database
        self._pictures = pictures
        self._profiles = profiles
        self._clock = clock

    @property
    def due(self) -> frozenset[CaseState]:
        """States in which a case needs a worker: what is analysed waits for a person where the policy holds it back."""
        return WORK - {CaseState.ANALYSED} if self._policy is ReleasePolicy.HOLD else WORK

    def commit(self, case: CaseView, owner: str, outcome: Outcome) -> ReportView | None:
        """Record the outcome and freeze its messages; found as it is where that was done before.

        None where nothing may leave without a person: then the case waits, analysed.

        Raises
        ------
        CaseStopped
            A further field came meanwhile.
        PatientUnknown, TextRefused, ObjectRefused
            The messages cannot be built: nothing is recorded.
        StoreError
            The objects cannot be kept just now: nothing is recorded.
        CaseChanged
            Whose case it is changed meanwhile: nothing is recorded.
        LeaseLost, DatabaseError
        """
        pictures = prepare_pictures(self._database, self._pictures, self._profiles, case.case_id, outcome.fields)
        made = self._moment(case)
        objects = self._objects(case, outcome, made)
        attached = self._attached(case, outcome, made)
        with self._database.transaction(ACTOR) as work:
            if work.cases.get(case.case_id).state is CaseState.OPEN:
                raise CaseStopped(*REOPENED)
            if self._waits(work, case, outcome):
                work.cases.wait_for_person(case.case_id, owner=owner)
                report = None
            else:
                work.cases.analysed(case.case_id, owner=owner)
                report = self._record(work, case, owner, outcome, pictures, made, attached)
                if report.new and self._archiving is not None:
                    self._archiving.queue(work, report, objects)
        if report is None:
            log.info("case waits for a person's signature", extra={"case": case.case_id, "revision": case.revision})
            return None
        told = "case reported" if report.not_obtained is None else "case reported: no result"
        log.info(told, extra={"case": case.case_id, "revision": case.revision})
        return report

    def _moment(self, case: CaseView) -> datetime:
        """When this version is made; nobody else makes one while the case is ours."""
        with self._database.reading() as work:
            earlier = [each for each in work.reports.of_case(case.case_id) if each.revision < case.revision]
        now = self._clock()
        return moment_of(now, earlier).astimezone(now.tzinfo)

    def _objects(self, case: CaseView, outcome: Outcome, made: datetime) -> Prepared:
        """The DICOM objects, made before the transaction: that takes seconds where there are many cells."""
        nothing = Prepared(case.revision)
        if self._archiving is None:
            return nothing
        with self._database.reading() as work:
            done = any(each.revision == case.revision for each in work.reports.of_case(case.case_id))
            if done or self._waits(work, case, outcome):
                return nothing  # committed before, with its objects; or nothing leaves without a person
        if outcome.not_obtained is not None:
            version = Version(case.revision, ReportStatus.NOT_OBTAINED, made)
            return self._archiving.prepare_rejection(case, version, outcome.not_obtained)
        final = self._policy is ReleasePolicy.FINAL
        version = Version(case.revision, ReportStatus.FINAL if final else ReportStatus.PRELIMINARY, made)
        return self._archiving.prepare(case, outcome.fields, outcome.counts, outcome.bundle, version)

    def _attached(self, case: CaseView, outcome: Outcome, made: datetime) -> Attached:
        """The report for people, made before the transaction as well."""
        material, final = outcome.material, self._policy is ReleasePolicy.FINAL
        if self._reports is None or material is None or outcome.not_obtained is not None:
            return NOTHING
        with self._database.reading() as work:
            earlier = work.reports.of_case(case.case_id)
            if any(each.revision == case.revision for each in earlier) or self._waits(work, case, outcome):
                return NOTHING
            identity, standing = work.identities.get(case.case_id), work.reports.standing(case.case_id)
        status = next_status(standing, Act.RELEASE if final else Act.REPORT)
        draft = draft_of(case.case_id, case.revision, status, made, outcome)
        return self._reports.prepare(self._profiles, draft, earlier, identity, material)

    def _waits(self, work: UnitOfWork, case: CaseView, outcome: Outcome) -> bool:
        """Whether a person must act first: always once a final result is out, and by the policy for any result."""
        if work.reports.standing(case.case_id) is Standing.FINAL:
            return True
        return self._policy is ReleasePolicy.HOLD and outcome.not_obtained is None

    def _record(
        self,
        work: UnitOfWork,
        case: CaseView,
        owner: str,
        outcome: Outcome,
        pictures: Mapping[str, tuple[Picture, ...]],
        made: datetime,
        attached: Attached,
    ) -> ReportView:
        earlier = [each for each in work.reports.of_case(case.case_id) if each.revision < case.revision]
        report = work.reports.add(
            case.case_id,
            case.revision,
            owner=owner,
            counts=outcome.counts,
            bundle=outcome.bundle,
            body=outcome.body,
            not_obtained=outcome.not_obtained,
            final=self._policy is ReleasePolicy.FINAL,
            at=made,
        )
        if report.new:
            if self._reports is not None:
                self._reports.keep(work, report, attached)
            queue_messages(work, report, earlier, self._profiles, pictures, made.tzinfo, attached.documents)
        return report


def prepare_pictures(
    database: Database,
    pictures: MessagePictures,
    profiles: Mapping[str, Profile],
    case_id: str,
    fields: Sequence[FieldResult],
) -> dict[str, tuple[Picture, ...]]:
    """The pictures that messages of a case carry, by destination; not within a transaction, for they may have to be drawn."""
    with database.reading() as work:
        known = {picture.field_id: picture for picture in work.reports.pictures_of(case_id)}
    return pictures.prepare(profiles, fields, known)


def queue_messages(
    work: UnitOfWork,
    report: ReportView,
    earlier: Sequence[ReportView],
    profiles: Mapping[str, Profile],
    pictures: Mapping[str, tuple[Picture, ...]],
    zone: tzinfo | None,
    documents: Mapping[str, Document] = NOTHING.documents,
) -> None:
    """Freeze the messages that tell one version of a result and queue them, in the transaction that records it.

    Parameters
    ----------
    earlier : sequence of ReportView
        The versions before it.
    profiles, pictures, documents : mapping
        By destination.
    zone : tzinfo or None
        The site's time zone.

    Raises
    ------
    PatientUnknown, TextRefused, ResultRefused
        The messages cannot be built: roll the transaction back.
    """
    analysed = work.analyses.last_at(report.case_id) if report.bundle else None
    identity = work.identities.get(report.case_id)
    result = result_of(report, identity, earlier, zone, version("spheroflow"), analysed=analysed)
    for name, profile in profiles.items():
        told = replace(result, pictures=pictures.get(name, ()), document=documents.get(name, Document()))
        message = build_message(told, profile, name)
        work.outbox.enqueue(
            report.case_id,
            report.revision,
            name,
            order_key=report.case_id,
            control_id=message.control_id,
            body=message.body,
        )
