"""The DICOM objects that tell a version of a case: made before its report is committed, queued with it.

    fields that came as plain images -> images -> annotations of each field -> report of the case
    rejected, withdrawn, or no result any more -> a note that the objects before are no longer valid

An object is made once: its bytes are a file before the commit, its hash stands in the row and in the message. A step that is
broken off before the commit leaves files that nothing names; `Archiving.sweep` removes them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from db.errors import CaseChanged
from db.object_views import NewObject
from db.session import Database, UnitOfWork
from db.states import ReportStatus
from db.views import CaseView, FieldResult, ReportView
from flows.archive_objects import Background, ObjectMaker, Tools, Version
from integrations.dicom.evidence import ObjectKind, Rejection
from sphero_core.types import BundleId, CaseCounts

log = logging.getLogger(__name__)

SWEEP_SECONDS = 24 * 3600.0
RESULTS = frozenset({ObjectKind.REPORT, ObjectKind.ANNOTATIONS, ObjectKind.SEGMENTATION})
"""What a rejection takes back; a withdrawal takes back the images that we archived as well."""


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """What an archive gets.

    Attributes
    ----------
    kinds : frozenset of ObjectKind
        Images that they refer to go with them.
    commitment : bool
    """

    kinds: frozenset[ObjectKind]
    commitment: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """Objects that are safe in our store, in the order in which they are to leave.

    Attributes
    ----------
    revision : int
        Of the version that they tell.
    """

    revision: int
    objects: tuple[NewObject, ...] = ()


class Archiving:
    """Makes and queues the objects of cases; for any number of threads.

    Parameters
    ----------
    database : Database
    tools : Tools
    archives : mapping of str to ArchivePlan
        By name; empty where no archive is configured: then nothing is made.
    """

    def __init__(self, *, database: Database, tools: Tools, archives: Mapping[str, ArchivePlan]) -> None:
        self._database = database
        self._tools = tools
        self._archives = archives

    def prepare(
        self,
        case: CaseView,
        fields: Sequence[FieldResult],
        counts: CaseCounts,
        bundle: BundleId | None,
        version: Version,
    ) -> Prepared:
        """Make the objects of a result and write them durably; nothing where no archive is configured or nothing counted.

        Raises
        ------
        ObjectRefused
            A text of the case does not fit into DICOM.
        ImageError
            A field's file cannot be read any more.
        StoreFull, StoreError, DatabaseError
        """
        counted = [each for each in fields if each.findings.quality.accepted]
        if not self._archives or not counted or bundle is None:
            return Prepared(version.revision)
        wanted = frozenset[ObjectKind]().union(*(plan.kinds for plan in self._archives.values()))
        maker = ObjectMaker(self._background(case), version, self._tools)
        evidence = [(maker.evidence(result), result.field.field_id) for result in counted]
        annotations = []
        for seen, field_id in evidence:
            if ObjectKind.ANNOTATIONS in wanted:
                annotations.append(maker.annotations(seen, field_id, bundle))
            if ObjectKind.SEGMENTATION in wanted:
                maker.segmentation(seen, field_id, bundle)
        if ObjectKind.REPORT in wanted:
            told = [each for each in annotations if each is not None]
            maker.report(counts, bundle, [seen.source for seen, _ in evidence], told)
        order = list(ObjectKind)
        made = sorted(maker.made, key=lambda each: order.index(ObjectKind(each.kind)))
        return Prepared(version.revision, tuple(made))

    def prepare_rejection(self, case: CaseView, version: Version, words: str) -> Prepared:
        """Make the notes that what archives have of a case is no longer valid; nothing where they have nothing.

        Parameters
        ----------
        version : Version
            Withdrawn as of the wrong patient: then images that we archived are rejected, too, for the patient's safety. Else
            it says that there is no result, and only results are rejected, for their quality.
        words : str
            Why, for people.

        Raises
        ------
        ObjectRefused, StoreFull, StoreError, DatabaseError
        """
        if not self._archives:
            return Prepared(version.revision)
        withdrawn = version.status is ReportStatus.WRONG_PATIENT
        maker = ObjectMaker(self._background(case), version, self._tools)
        rejected = [each for each in maker.valid if withdrawn or ObjectKind(each.made.kind) in RESULTS]
        if rejected:
            maker.rejections(rejected, Rejection.PATIENT_SAFETY if withdrawn else Rejection.QUALITY, words)
        return Prepared(version.revision, tuple(maker.made))

    def queue(self, work: UnitOfWork, report: ReportView, prepared: Prepared) -> None:
        """Record the objects and queue them at each archive that wants them, within the report's transaction.

        Raises
        ------
        CaseChanged
            They were made for another version: something came since.
        """
        if prepared.revision != report.revision:
            raise CaseChanged("the case changed while its objects were made; look again")
        known = {message.destination for message in work.outbox.of_case(report.case_id) if message.part}
        for each in prepared.objects:
            takers = dict(self._takers(ObjectKind(each.kind), known))
            work.objects.queue(report.case_id, report.revision, each, takers)

    def sweep(self, now: float) -> None:
        """Remove the files of work that was broken off long ago; `now` in seconds since the epoch."""
        with self._database.reading() as work:
            known = work.objects.stored_names()
        removed = self._tools.objects.sweep(known, before=now - SWEEP_SECONDS)
        if removed:
            log.info("%d files of objects that were never queued are removed", removed)

    def _takers(self, kind: ObjectKind, known: set[str]) -> Iterator[tuple[str, bool]]:
        """Each archive that takes objects of a kind; a rejection goes to those that were sent something."""
        for name, plan in self._archives.items():
            if kind is ObjectKind.IMAGE or kind in plan.kinds or (kind is ObjectKind.REJECTION and name in known):
                yield name, plan.commitment

    def _background(self, case: CaseView) -> Background:
        with self._database.reading() as work:
            return Background(
                case,
                work.identities.get(case.case_id),
                work.objects.of_case(case.case_id),
                work.objects.sources_of(case.case_id),
            )
