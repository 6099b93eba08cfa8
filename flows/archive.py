"""The DICOM objects that tell a version of a case: made before its report is committed, queued with it.

    fields that came as plain images -> images -> annotations of each field -> report of the case

An object is made once: its bytes are a file before the commit, its hash stands in the row and in the message. A step that is
broken off before the commit leaves files that nothing names; `Archiving.sweep` removes them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from db.object_views import NewObject, ObjectView, SourceInstance
from db.session import Database, UnitOfWork
from db.views import CaseView, FieldResult, Identity
from flows.results import birth_date_of
from integrations.dicom.ann import build_annotations
from integrations.dicom.codes import CodeBook
from integrations.dicom.evidence import (
    CaseEvidence,
    DicomObject,
    FieldEvidence,
    Grade,
    ObjectKind,
    ObjectRef,
    Origin,
    Software,
    SourceImage,
    Subject,
)
from integrations.dicom.frames import MEDIA_TYPE as DICOM
from integrations.dicom.object_store import ObjectStore
from integrations.dicom.seg import build_segmentation
from integrations.dicom.sr import build_report
from integrations.dicom.vl_image import PlainField, build_image, plain_source
from integrations.errors import ObjectRefused
from sphero_core.image import read_image
from sphero_core.types import BundleId, CaseCounts

log = logging.getLogger(__name__)

JPEG = "image/jpeg"
SWEEP_SECONDS = 24 * 3600.0


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
    """Objects that are safe in our store, in the order in which they are to leave."""

    objects: tuple[NewObject, ...] = ()


@dataclass(slots=True)
class _Work:
    """One version of one case while its objects are made."""

    case: CaseView
    subject: Subject
    origin: Origin
    bundle: BundleId
    known: Mapping[str, ObjectView]
    earlier: Mapping[str, ObjectView]
    made: list[NewObject] = field(default_factory=list)


class Archiving:
    """Makes and queues the objects of cases; for any number of threads.

    Parameters
    ----------
    database : Database
    store : Path
        Where images are.
    objects : ObjectStore
    archives : mapping of str to ArchivePlan
        By name; empty where no archive is configured: then nothing is made.
    software : Software
    codes : CodeBook
    pixel_aspect : float
        Where a case names none.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Path,
        objects: ObjectStore,
        archives: Mapping[str, ArchivePlan],
        software: Software,
        codes: CodeBook,
        pixel_aspect: float,
    ) -> None:
        self._database = database
        self._store = store
        self._objects = objects
        self._archives = archives
        self._software = software
        self._codes = codes
        self._pixel_aspect = pixel_aspect

    def prepare(
        self, case: CaseView, fields: Sequence[FieldResult], counts: CaseCounts, bundle: BundleId | None, made: datetime
    ) -> Prepared:
        """Make the objects of a version and write them durably; nothing where no archive is configured or nothing counted.

        Parameters
        ----------
        made : datetime
            When the version's report is made, in the site's time zone.

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
            return Prepared()
        wanted = frozenset[ObjectKind]().union(*(plan.kinds for plan in self._archives.values()))
        with self._database.reading() as work:
            subject = _subject(work.identities.get(case.case_id))
            recorded = work.objects.of_case(case.case_id)
            instances = work.objects.sources_of(case.case_id)
        at = _Work(
            case,
            subject,
            Origin(case.case_id, case.revision, made),
            bundle,
            {each.made.sop_instance_uid: each for each in recorded},
            {f"{each.made.kind} {each.made.field_id}": each for each in recorded if each.revision < case.revision},
        )
        evidence = [self._evidence(at, result, instances.get(result.field.field_id)) for result in counted]
        annotations = []
        for result, seen in zip(counted, evidence, strict=True):
            if ObjectKind.ANNOTATIONS in wanted:
                ann = build_annotations(
                    seen, subject, at.origin, bundle=bundle, software=self._software, codes_of=self._codes
                )
                if ann:
                    annotations.append(self._keep(at, ann, result.field.field_id))
            if ObjectKind.SEGMENTATION in wanted:
                seg = build_segmentation(
                    seen, subject, at.origin, bundle=bundle, software=self._software, codes_of=self._codes
                )
                if seg:
                    self._keep(at, seg, result.field.field_id)
        if ObjectKind.REPORT in wanted:
            self._report(at, counts, [seen.source for seen in evidence], annotations)
        order = list(ObjectKind)
        return Prepared(tuple(sorted(at.made, key=lambda each: order.index(ObjectKind(each.kind)))))

    def queue(self, work: UnitOfWork, case: CaseView, prepared: Prepared) -> None:
        """Record the objects and queue them at each archive that wants them, within the report's transaction."""
        for each in prepared.objects:
            work.objects.queue(case.case_id, case.revision, each, dict(self._takers(ObjectKind(each.kind))))

    def sweep(self, now: float) -> None:
        """Remove the files of work that was broken off long ago; `now` in seconds since the epoch."""
        with self._database.reading() as work:
            known = work.objects.stored_names()
        removed = self._objects.sweep(known, before=now - SWEEP_SECONDS)
        if removed:
            log.info("%d files of objects that were never queued are removed", removed)

    # ---------------------------------------------------------------------------------------------------------- inside
    def _takers(self, kind: ObjectKind) -> Iterator[tuple[str, bool]]:
        for name, plan in self._archives.items():
            if kind in plan.kinds or kind is ObjectKind.IMAGE:
                yield name, plan.commitment

    def _evidence(self, at: _Work, result: FieldResult, instance: SourceInstance | None) -> FieldEvidence:
        scale = at.case.acquisition.um_per_pixel
        seen = result.field
        if instance is not None:
            ref = ObjectRef(instance.sop_class_uid, instance.sop_instance_uid, instance.series_uid, instance.study_uid)
            source = SourceImage(ref, seen.height, seen.width, seen.frame + 1, instance.frames)
        else:
            source = self._archived(at, result)
        return FieldEvidence(seen.number, source, result.findings, scale)

    def _archived(self, at: _Work, result: FieldResult) -> SourceImage:
        """The image of a plain field: known by its UID, and made where it was not made before."""
        seen = result.field
        if seen.media_type == DICOM:
            raise ObjectRefused(f"the DICOM object of field {seen.number} names no study or series to refer to")
        path = self._store / seen.stored_name
        image = read_image(path, frame=seen.frame)
        began = at.case.created_at.astimezone(at.origin.made.tzinfo)
        study = Origin(at.case.case_id, 1, began)
        source = plain_source(at.case.case_id, seen.sha256, seen.frame, image.stored_height, image.stored_width, study)
        known = at.known.get(source.ref.sop_instance_uid)
        if known is not None:
            at.made.append(known.made)
            return source
        plain = PlainField(
            seen.number,
            seen.sha256,
            seen.frame,
            image.pixels,
            path.read_bytes() if seen.media_type == JPEG else None,
            at.case.acquisition.pixel_aspect or self._pixel_aspect,
            at.case.acquisition.um_per_pixel,
        )
        self._keep(at, build_image(plain, source, at.subject, study, software=self._software), seen.field_id)
        return source

    def _report(
        self, at: _Work, counts: CaseCounts, sources: Sequence[SourceImage], annotations: Sequence[ObjectRef]
    ) -> None:
        before = at.earlier.get(f"{ObjectKind.REPORT} None")
        grading = counts.grading
        told = CaseEvidence(
            counts,
            at.bundle,
            tuple(sources),
            tuple(annotations),
            Grade(grading.grade, grading.scheme) if grading else None,
            _ref(before.made) if before else None,
        )
        report = build_report(told, at.subject, at.origin, software=self._software, codes_of=self._codes)
        self._keep(at, report, None)

    def _keep(self, at: _Work, made: DicomObject, field_id: str | None) -> ObjectRef:
        stored = self._objects.keep(made)
        before = at.earlier.get(f"{made.kind} {field_id}")
        replaces = before.made.sop_instance_uid if before and made.kind is not ObjectKind.IMAGE else None
        at.made.append(
            NewObject(
                sop_instance_uid=made.ref.sop_instance_uid,
                kind=made.kind.value,
                field_id=field_id,
                sop_class_uid=made.ref.sop_class_uid,
                series_uid=made.ref.series_uid,
                study_uid=made.ref.study_uid,
                transfer_syntax_uid=made.transfer_syntax_uid,
                sha256=stored.sha256,
                size_bytes=stored.size_bytes,
                stored_name=stored.name,
                replaces=replaces,
            )
        )
        return made.ref


def _ref(made: NewObject) -> ObjectRef:
    return ObjectRef(made.sop_class_uid, made.sop_instance_uid, made.series_uid, made.study_uid)


def _subject(identity: Identity) -> Subject:
    return Subject(
        patient_id=identity.patient_id or "",
        patient_issuer=(identity.patient_issuer or "").split("^")[0],
        family=identity.family or "",
        given=identity.given or "",
        birth_date=birth_date_of(identity.birth_date),
        sex=identity.sex or "",
        accession=identity.accession,
        accession_issuer=identity.accession_issuer or "",
    )
