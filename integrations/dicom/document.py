"""What every object of a case has in common: whose it is, which study it belongs to, who made it, and its bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from datetime import date, datetime

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sr.codedict import codes
from pydicom.uid import UID
from pydicom.valuerep import PersonName

from integrations.dicom.codes import PRIVATE_SCHEME
from integrations.dicom.evidence import (
    DicomObject,
    ObjectKind,
    ObjectRef,
    Origin,
    Person,
    Software,
    SourceImage,
    Subject,
)
from integrations.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from integrations.dicom.uids import derive_uid
from integrations.errors import ObjectRefused

CHARACTER_SET = "ISO_IR 192"  # UTF-8: every name can be written
CODING_SCHEME = CodingSchemeIdentificationItem(
    PRIVATE_SCHEME, name="Codes of Spheroflow", responsible_organization="Spheroflow"
)

ACCESSION_LENGTH = 16  # SH, PS3.5 6.2
_LONG = 64  # LO, and each component group of PN
_SEX = {"F": "F", "M": "M", "O": "O", "A": "O"}  # HL7 table 0001 to (0010,0040); others are left empty


def header_of(subject: Subject, source: SourceImage) -> Dataset:
    """Give what an object takes over from the image it refers to, with the patient of the case.

    Parameters
    ----------
    subject : Subject
    source : SourceImage

    Raises
    ------
    ObjectRefused
        A text does not fit its attribute, which is named.
    """
    header = Dataset()
    header.SpecificCharacterSet = CHARACTER_SET
    header.SOPClassUID = source.ref.sop_class_uid
    header.SOPInstanceUID = source.ref.sop_instance_uid
    header.SeriesInstanceUID = source.ref.series_uid
    header.Modality = "SM"
    header.Rows, header.Columns = source.rows, source.columns
    if source.frames > 1:
        header.NumberOfFrames = source.frames
    # The ANN builder asks for it even where coordinates are those of a frame; 2D objects do not carry it further.
    header.FrameOfReferenceUID = source.frame_of_reference_uid or source.ref.series_uid
    add_patient(header, subject)
    add_study(header, subject, source)
    return header


def add_patient(dataset: Dataset, subject: Subject) -> None:
    """Write the Patient module (PS3.3 C.7.1.1)."""
    dataset.PatientID = _text("PatientID", subject.patient_id, _LONG)
    if subject.patient_issuer:
        dataset.IssuerOfPatientID = _text("IssuerOfPatientID", subject.patient_issuer, _LONG)
    dataset.PatientName = _name("PatientName", subject.family, subject.given)
    dataset.PatientBirthDate = _da(subject.birth_date)
    dataset.PatientSex = _SEX.get(subject.sex.upper(), "")


def add_study(dataset: Dataset, subject: Subject, source: SourceImage) -> None:
    """Write the General Study module (PS3.3 C.7.2.1)."""
    dataset.StudyInstanceUID = source.ref.study_uid
    dataset.StudyID = source.study_id
    dataset.StudyDate = source.study_date
    dataset.StudyTime = source.study_time
    dataset.ReferringPhysicianName = ""
    fits = accession_fits(subject)
    dataset.AccessionNumber = _text("AccessionNumber", subject.accession, ACCESSION_LENGTH) if fits else ""
    if fits and subject.accession and subject.accession_issuer:
        issuer = Dataset()
        issuer.LocalNamespaceEntityID = _text(
            "IssuerOfAccessionNumberSequence", subject.accession_issuer.split("^")[0], _LONG
        )
        dataset.IssuerOfAccessionNumberSequence = [issuer]


def accession_fits(subject: Subject) -> bool:
    """Whether the accession number can be written; a cut one would be another case's."""
    return len(subject.accession) <= ACCESSION_LENGTH


def person_name(attribute: str, person: Person) -> PersonName:
    """A person as PN.

    Raises
    ------
    ObjectRefused
        The name does not fit `attribute`.
    """
    return _name(attribute, person.family, person.given)


def device_context(software: Software) -> ObserverContext:
    """The program as the device that observes (PS3.16 TID 1004)."""
    return ObserverContext(
        codes.DCM.Device,
        DeviceObserverIdentifyingAttributes(
            uid=derive_uid("device", software.manufacturer, software.model, software.serial),
            name=software.model,
            manufacturer_name=software.manufacturer,
            model_name=software.model,
            serial_number=software.serial,
        ),
    )


def finish(dataset: Dataset, kind: ObjectKind, origin: Origin) -> DicomObject:
    """Give an object its patient's name as images have it, its times and its bytes: nothing in it depends on when or where it is built.

    Raises
    ------
    ObjectRefused
        The object cannot be written.
    """
    made = origin.made
    dataset.PatientName = str(dataset.PatientName).rstrip("^")
    for each in _all(dataset):
        for keyword in ("InstanceCreationDate", "ContentDate", "SeriesDate"):
            if keyword in each:
                setattr(each, keyword, made.strftime("%Y%m%d"))
        for keyword in ("InstanceCreationTime", "ContentTime", "SeriesTime"):
            if keyword in each:
                setattr(each, keyword, made.strftime("%H%M%S"))
        for keyword in ("ContributionDateTime", "ObservationDateTime", "VerificationDateTime"):
            if keyword in each:
                setattr(each, keyword, dt(made))
    offset = made.strftime("%z")
    if offset:
        dataset.TimezoneOffsetFromUTC = offset
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    ref = ObjectRef(
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.StudyInstanceUID),
    )
    return DicomObject(kind, ref, syntax, _bytes(dataset, ref, syntax))


def dt(moment: datetime) -> str:
    """A moment as DT."""
    return moment.strftime("%Y%m%d%H%M%S%z")


def _bytes(dataset: Dataset, ref: ObjectRef, syntax: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(ref.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(ref.sop_instance_uid)
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    out = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    out.update(dataset)
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # pydicom only warns of a value that does not fit its VR
            dcmwrite(buffer, out, enforce_file_format=True)
    except (ValueError, TypeError, AttributeError, UserWarning):
        raise ObjectRefused("the object cannot be written: a value does not fit its attribute") from None
    return buffer.getvalue()


def _all(dataset: Dataset) -> Iterator[Dataset]:
    """The dataset and those in its sequences."""
    yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _all(item)


def _text(name: str, text: str, most: int) -> str:
    text = text.strip()
    if len(text) > most:
        raise ObjectRefused(f"{name}: longer than {most} characters")
    if "\\" in text or not text.isprintable():
        raise ObjectRefused(f"{name}: holds a backslash or a control character, which no DICOM text may")
    return text


def _name(attribute: str, family: str, given: str) -> PersonName:
    family, given = _text(attribute, family, _LONG), _text(attribute, given, _LONG)
    if any(mark in family + given for mark in "^="):
        raise ObjectRefused(f"{attribute}: holds ^ or =, which separate the parts of a name")
    if len(family) + len(given) + 1 > _LONG:
        raise ObjectRefused(f"{attribute}: longer than {_LONG} characters")
    # The mark behind a family name alone says that it is meant so: highdicom warns of others, and quotes them.
    return PersonName(f"{family}^{given}" if family or given else "")


def _da(day: date | None) -> str:
    return day.strftime("%Y%m%d") if day else ""
