"""A note that objects of ours are no longer valid: Key Object Selection with a rejection title (IHE RAD TF-1 chapter 33, IOCM; PS3.16 TID 2010)."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept, ObserverContext, PersonObserverIdentifyingAttributes
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from integrations.dicom.document import CHARACTER_SET, device_context, finish, header_of, person_name
from integrations.dicom.evidence import (
    DicomObject,
    ObjectKind,
    ObjectRef,
    Origin,
    Person,
    Rejection,
    Software,
    SourceImage,
    Subject,
)
from integrations.dicom.uids import derive_uid
from integrations.errors import ObjectRefused

SERIES_NUMBER = 9104
PICTURES = frozenset({ObjectKind.IMAGE, ObjectKind.SEGMENTATION})


def build_rejection(
    rejected: Sequence[tuple[ObjectKind, ObjectRef]],
    why: Rejection,
    words: str,
    subject: Subject,
    origin: Origin,
    study: SourceImage,
    *,
    software: Software,
    person: Person | None = None,
) -> DicomObject:
    """Tell an archive not to take objects for valid any longer.

    Parameters
    ----------
    rejected : sequence of (ObjectKind, ObjectRef)
        Of one study; at least one.
    why : Rejection
    words : str
        Why, for people; becomes the description.
    subject : Subject
        As in the objects that are rejected.
    origin : Origin
        Of the version that rejects them.
    study : SourceImage
        Any image of the study.
    software : Software
    person : Person or None
        Who rejects them; None for the program itself.

    Raises
    ------
    ObjectRefused
        There is nothing to reject, or a text does not fit its attribute.
    """
    if not rejected:
        raise ObjectRefused("a rejection needs the objects that it tells of")
    evidence = [_header(kind, ref, subject, study) for kind, ref in rejected]
    keys = (origin.case_id, origin.revision, "ko", study.ref.study_uid)
    observer = person and ObserverContext(
        codes.DCM.Person,
        PersonObserverIdentifyingAttributes(
            person_name("Person Observer Name", person), organization_name=person.organization or None
        ),
    )
    code, meaning = why.value
    made = KeyObjectSelectionDocument(
        evidence=evidence,
        content=KeyObjectSelection(
            CodedConcept(code, "DCM", meaning),
            evidence,
            observer_person_context=observer,
            observer_device_context=device_context(software),
            description=" ".join(words.split()) or None,
        ),
        series_instance_uid=derive_uid(*keys, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derive_uid(*keys),
        instance_number=origin.revision,
        manufacturer=software.manufacturer,
        manufacturer_model_name=software.model,
        software_versions=software.version,
        device_serial_number=software.serial,
        institution_name=software.institution or None,
        specific_character_set=CHARACTER_SET,
        series_description=meaning,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    return finish(made, ObjectKind.REJECTION, origin)


def _header(kind: ObjectKind, ref: ObjectRef, subject: Subject, study: SourceImage) -> Dataset:
    header = header_of(subject, study)
    header.SOPClassUID, header.SOPInstanceUID = ref.sop_class_uid, ref.sop_instance_uid
    header.SeriesInstanceUID, header.StudyInstanceUID = ref.series_uid, ref.study_uid
    if kind not in PICTURES:
        del header.Rows, header.Columns  # what has them is referred to as an image
    return header
