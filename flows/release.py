"""A result and the messages that tell it, committed together: the report, and for each destination its bytes, frozen."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from db.context import Clock
from db.session import Database
from db.states import CaseState
from db.views import CaseView, FieldResult, ReportView
from flows.errors import CaseStopped
from flows.message_pictures import MessagePictures
from flows.results import moment_of, result_of
from integrations.hl7.message import build_message
from integrations.hl7.profile import Profile
from integrations.hl7.result import Picture
from sphero_core.types import BundleId, CaseCounts

log = logging.getLogger(__name__)

ACTOR = "analysis"
REOPENED = ("Reopened", "a further field came; the case is analysed when it is complete again")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case came to, before it is recorded.

    Attributes
    ----------
    counts : CaseCounts
    bundle : BundleId or None
        None where no field was analysed.
    body : mapping
        What is kept beside the numbers.
    not_obtained : str or None
        Why there is no result.
    fields : tuple of FieldResult
        What was analysed; for pictures.
    """

    counts: CaseCounts
    bundle: BundleId | None
    body: Mapping[str, Any]
    not_obtained: str | None = None
    fields: tuple[FieldResult, ...] = ()


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
    """

    def __init__(
        self, *, database: Database, profiles: Mapping[str, Profile], pictures: MessagePictures, clock: Clock
    ) -> None:
        self._database = database
        self._pictures = pictures
        self._profiles = profiles
        self._clock = clock

    def commit(self, case: CaseView, owner: str, outcome: Outcome) -> ReportView:
        """Record the outcome and freeze its messages; found as it is where that was done before.

        Raises
        ------
        CaseStopped
            A further field came meanwhile.
        PatientUnknown, TextRefused
            The messages cannot be built: nothing is recorded.
        LeaseLost, DatabaseError
        """
        pictures = self._prepared(case, outcome)
        now = self._clock()
        with self._database.transaction(ACTOR) as work:
            if work.cases.get(case.case_id).state is CaseState.OPEN:
                raise CaseStopped(*REOPENED)
            work.cases.analysed(case.case_id, owner=owner)
            earlier = [each for each in work.reports.of_case(case.case_id) if each.revision < case.revision]
            report = work.reports.add(
                case.case_id,
                case.revision,
                owner=owner,
                counts=outcome.counts,
                bundle=outcome.bundle,
                body=outcome.body,
                not_obtained=outcome.not_obtained,
                at=moment_of(now, earlier),
            )
            if report.new:
                identity = work.identities.get(case.case_id)
                result = result_of(report, identity, earlier, now.tzinfo, version("spheroflow"))
                for name, profile in self._profiles.items():
                    message = build_message(replace(result, pictures=pictures.get(name, ())), profile, name)
                    work.outbox.enqueue(
                        case.case_id,
                        case.revision,
                        name,
                        order_key=case.case_id,
                        control_id=message.control_id,
                        body=message.body,
                    )
        told = "case reported" if report.not_obtained is None else "case reported: no result"
        log.info(told, extra={"case": case.case_id, "revision": case.revision})
        return report

    def _prepared(self, case: CaseView, outcome: Outcome) -> dict[str, tuple[Picture, ...]]:
        with self._database.reading() as work:
            known = {picture.field_id: picture for picture in work.reports.pictures_of(case.case_id)}
        return self._pictures.prepare(self._profiles, outcome.fields, known)
