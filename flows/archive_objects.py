"""The DICOM objects of one version of one case, made and kept one by one.

A field that came as a plain image is an object itself, made once for all versions; what tells of it is made anew for each.
Builders are imported where they are used: highdicom takes seconds to import, and a service without an archive never needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from db.object_views import NewObject, ObjectView, SourceInstance
from db.people import Actor
from db.review_views import ReportAct
from db.states import ReportStatus
from db.views import CaseView, FieldResult, Identity
from flows.results import birth_date_of, words_of_act
from integrations.dicom.codes import CodeBook
from integrations.dicom.evidence import (
    CaseEvidence,
    DicomObject,
    FieldEvidence,
    Grade,
    ObjectKind,
    ObjectRef,
    Origin,
    Person,
    Rejection,
    Software,
    SourceImage,
    Subject,
)
from integrations.dicom.frames import MEDIA_TYPE as DICOM
from integrations.dicom.object_store import ObjectStore
from integrations.errors import ObjectRefused
from integrations.hl7.observations import NOTE_RELEASED
from sphero_core.image import read_image
from sphero_core.types import BundleId, CaseCounts

JPEG = "image/jpeg"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a case's result, before it is recorded.

    Attributes
    ----------
    revision : int
    status : ReportStatus
    made : datetime
        In the site's time zone.
    act : ReportAct or None
        Who stands behind it; None for the program's own versions.
    """

    revision: int
    status: ReportStatus
    made: datetime
    act: ReportAct | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What objects are made with.

    Attributes
    ----------
    store : Path
        Where images are.
    objects : ObjectStore
    software : Software
    codes : CodeBook
    pixel_aspect : float
        Where a case names none.
    """

    store: Path
    objects: ObjectStore
    software: Software
    codes: CodeBook
    pixel_aspect: float


@dataclass(frozen=True, slots=True)
class Background:
    """What is known of a case beside its fields.

    Attributes
    ----------
    case : CaseView
    identity : Identity
    recorded : tuple of ObjectView
        Objects that were made of it before.
    instances : mapping of str to SourceInstance
        By field.
    """

    case: CaseView
    identity: Identity
    recorded: tuple[ObjectView, ...]
    instances: Mapping[str, SourceInstance]


@dataclass(slots=True)
class ObjectMaker:
    """Makes the objects of one version; `made` has them in the order in which they were made.

    Attributes
    ----------
    known : Background
    version : Version
    tools : Tools
    """

    known: Background
    version: Version
    tools: Tools
    made: list[NewObject] = field(default_factory=list)

    @property
    def valid(self) -> tuple[ObjectView, ...]:
        """Objects of earlier versions that were not rejected since; images are only rejected when the case is closed."""
        recorded = [each for each in self.known.recorded if each.revision < self.version.revision]
        rejected = max((each.revision for each in recorded if each.made.kind == ObjectKind.REJECTION), default=0)
        return tuple(each for each in recorded if each.revision > rejected or each.made.kind == ObjectKind.IMAGE)

    # -------------------------------------------------------------------------------------------------------- a result
    def evidence(self, result: FieldResult) -> FieldEvidence:
        """A field with the image that others refer to; that of a plain field is made where it was not made before."""
        instance = self.known.instances.get(result.field.field_id)
        source = self._archived(result) if instance is None else _source(result, instance)
        return FieldEvidence(result.field.number, source, result.findings, self.known.case.acquisition.um_per_pixel)

    def annotations(self, seen: FieldEvidence, field_id: str, bundle: BundleId) -> ObjectRef | None:
        """The cells of a field; None where it has none."""
        from integrations.dicom.ann import build_annotations

        tools = self.tools
        made = build_annotations(
            seen, self._subject, self._origin, bundle=bundle, software=tools.software, codes_of=tools.codes
        )
        return self._keep(made, field_id) if made else None

    def segmentation(self, seen: FieldEvidence, field_id: str, bundle: BundleId) -> None:
        """The cells of a field as a label map."""
        from integrations.dicom.seg import build_segmentation

        tools = self.tools
        made = build_segmentation(
            seen, self._subject, self._origin, bundle=bundle, software=tools.software, codes_of=tools.codes
        )
        if made:
            self._keep(made, field_id)

    def report(
        self, counts: CaseCounts, bundle: BundleId, sources: Sequence[SourceImage], annotations: Sequence[ObjectRef]
    ) -> None:
        """What the version says; verified by the person who signed it."""
        from integrations.dicom.sr import build_report

        before, act, grading = self._earlier.get(f"{ObjectKind.REPORT} None"), self.version.act, counts.grading
        final = self.version.status in (ReportStatus.FINAL, ReportStatus.CORRECTED)
        given = act.grade.grade if act and act.grade else grading.grade if grading else ""
        told = CaseEvidence(
            counts,
            bundle,
            tuple(sources),
            tuple(annotations),
            Grade(given, grading.scheme) if grading else None,
            _ref(before.made) if before else None,
            words_of_act(act) if act else (NOTE_RELEASED,) if final else (),
        )
        report = build_report(
            told,
            self._subject,
            self._origin,
            software=self.tools.software,
            codes_of=self.tools.codes,
            final=final,
            verifier=self._person if final else None,
        )
        self._keep(report, None)

    # ------------------------------------------------------------------------------------------------------ a rejection
    def rejections(self, objects: Sequence[ObjectView], why: Rejection, words: str) -> None:
        """Notes that objects are no longer valid, one for each study."""
        from integrations.dicom.rejection import build_rejection

        studies = dict.fromkeys(each.made.study_uid for each in objects)
        for uid in studies:
            refs = [(ObjectKind(each.made.kind), _ref(each.made)) for each in objects if each.made.study_uid == uid]
            note = build_rejection(
                refs,
                why,
                words,
                self._subject,
                self._origin,
                self._study(uid),
                software=self.tools.software,
                person=self._person,
            )
            self._keep(note, None)

    # ---------------------------------------------------------------------------------------------------------- inside
    @property
    def _subject(self) -> Subject:
        return _subject(self.known.identity)

    @property
    def _origin(self) -> Origin:
        return Origin(self.known.case.case_id, self.version.revision, self.version.made)

    @property
    def _began(self) -> Origin:
        """When the case began: of what is the same in all versions."""
        case, zone = self.known.case, self.version.made.tzinfo
        return Origin(case.case_id, 1, case.created_at.astimezone(zone))

    @property
    def _person(self) -> Person | None:
        act = self.version.act
        return _person(act.actor, self.tools.software.institution) if act else None

    @property
    def _earlier(self) -> dict[str, ObjectView]:
        """What each object takes the place of."""
        return {f"{each.made.kind} {each.made.field_id}": each for each in self.valid}

    def _study(self, uid: str) -> SourceImage:
        for each in self.known.instances.values():
            if each.study_uid == uid:
                return SourceImage(
                    _instance_ref(each),
                    1,
                    1,
                    study_date=each.study_date,
                    study_time=each.study_time,
                    study_id=each.study_id,
                )
        from integrations.dicom.vl_image import plain_source

        return plain_source(self.known.case.case_id, "", 0, 1, 1, self._began)

    def _archived(self, result: FieldResult) -> SourceImage:
        """The image of a plain field: known by its UID, and made where it was not made before."""
        from integrations.dicom.vl_image import PlainField, build_image, plain_source

        seen, case, tools = result.field, self.known.case, self.tools
        if seen.media_type == DICOM:
            raise ObjectRefused(f"the DICOM object of field {seen.number} names no study or series to refer to")
        path = tools.store / seen.stored_name
        image = read_image(path, frame=seen.frame)
        rows, columns = image.stored_height, image.stored_width
        source = plain_source(case.case_id, seen.sha256, seen.frame, rows, columns, self._began)
        uid = source.ref.sop_instance_uid
        known = next((each.made for each in self.known.recorded if each.made.sop_instance_uid == uid), None)
        if known is not None:
            self.made.append(known)
            return source
        plain = PlainField(
            seen.number,
            seen.sha256,
            seen.frame,
            image.pixels,
            path.read_bytes() if seen.media_type == JPEG else None,
            case.acquisition.pixel_aspect or tools.pixel_aspect,
            case.acquisition.um_per_pixel,
        )
        self._keep(build_image(plain, source, self._subject, self._began, software=tools.software), seen.field_id)
        return source

    def _keep(self, made: DicomObject, field_id: str | None) -> ObjectRef:
        stored = self.tools.objects.keep(made)
        before = self._earlier.get(f"{made.kind} {field_id}")
        replaces = before.made.sop_instance_uid if before and made.kind is not ObjectKind.IMAGE else None
        self.made.append(
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


def _source(result: FieldResult, instance: SourceInstance) -> SourceImage:
    seen = result.field
    return SourceImage(
        _instance_ref(instance),
        seen.height,
        seen.width,
        seen.frame + 1,
        instance.frames,
        study_date=instance.study_date,
        study_time=instance.study_time,
        study_id=instance.study_id,
        frame_of_reference_uid=instance.frame_of_reference_uid,
    )


def _instance_ref(instance: SourceInstance) -> ObjectRef:
    return ObjectRef(instance.sop_class_uid, instance.sop_instance_uid, instance.series_uid, instance.study_uid)


def _ref(made: NewObject) -> ObjectRef:
    return ObjectRef(made.sop_class_uid, made.sop_instance_uid, made.series_uid, made.study_uid)


def _person(actor: Actor, organization: str) -> Person:
    if actor.family:
        return Person(actor.family, actor.given, organization)
    return Person(actor.identifier or actor.login, organization=organization)


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
