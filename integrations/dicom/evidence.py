"""What the results of a case are made from, as values; they know neither our database nor highdicom.

Personal data stand in `Subject` only, which a caller fills from the case's identity, never from what a scanner wrote into
an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, StrEnum

from sphero_core.types import BundleId, CaseCounts, FieldFindings

VL_MICROSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.2"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
"""VL Microscopic Image Storage; Key Object Selection Document Storage, the class of a rejection."""


class Rejection(Enum):
    """Why objects are rejected: code and meaning of PS3.16 CID 7011."""

    QUALITY = ("113001", "Rejected for Quality Reasons")
    PATIENT_SAFETY = ("113037", "Rejected for Patient Safety Reasons")


class ObjectKind(StrEnum):
    """What an object is; in the order in which objects of a case leave."""

    IMAGE = "image"
    SEGMENTATION = "seg"
    ANNOTATIONS = "ann"
    REPORT = "sr"
    REJECTION = "ko"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose specimen it is; personal data, hidden from the `repr`.

    Attributes
    ----------
    patient_id, patient_issuer : str
        (0010,0020) and (0010,0021).
    family, given : str
    birth_date : date or None
    sex : str
        HL7 table 0001, as the LIS told it; DICOM knows F, M and O only.
    accession, accession_issuer : str
        (0008,0050) and (0008,0051). A number above 16 characters does not fit and is left out.
    """

    patient_id: str = field(default="", repr=False)
    patient_issuer: str = field(default="", repr=False)
    family: str = field(default="", repr=False)
    given: str = field(default="", repr=False)
    birth_date: date | None = field(default=None, repr=False)
    sex: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)
    accession_issuer: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Person:
    """Who stands behind a version of a result.

    Attributes
    ----------
    family, given : str
        Where the family name is not known, what the person is known by.
    organization : str
    """

    family: str = field(repr=False)
    given: str = field(default="", repr=False)
    organization: str = ""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One SOP instance, by its identifiers.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid, series_uid, study_uid : str
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str


@dataclass(frozen=True, slots=True)
class SourceImage:
    """The image that a field is, as other objects refer to it.

    Attributes
    ----------
    ref : ObjectRef
    rows, columns : int
        Size of one frame in pixels.
    frame : int
        Which frame of the instance the field is, from 1.
    frames : int
        How many frames the instance has.
    study_date, study_time : str
        (0008,0020) and (0008,0030) of its study; they belong to the study, so that every object of it tells the same.
    study_id : str
        (0020,0010).
    frame_of_reference_uid : str
        (0020,0052) where the image has one; images of 77.1.2 have none.
    """

    ref: ObjectRef
    rows: int
    columns: int
    frame: int = 1
    frames: int = 1
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True)
class Software:
    """Which software made an object: (0008,0070), (0008,1090), (0018,1020), (0018,1000)."""

    version: str
    manufacturer: str = "Spheroflow"
    model: str = "Spheroflow"
    serial: str = "1"
    institution: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Of which version of which case an object tells; UIDs and times are derived from it, so that they never change.

    Attributes
    ----------
    case_id : str
        Our own opaque id.
    revision : int
        Version of the report, from 1.
    made : datetime
        When that version was made, in the site's time zone.
    """

    case_id: str
    revision: int
    made: datetime


@dataclass(frozen=True, slots=True, eq=False)
class FieldEvidence:
    """One analysed field.

    Attributes
    ----------
    number : int
        From 1, in the order the fields of the case came.
    source : SourceImage
    findings : FieldFindings
        Cells in pixels of the field in true proportion.
    um_per_pixel : float or None
        In true proportion.
    """

    number: int
    source: SourceImage
    findings: FieldFindings
    um_per_pixel: float | None = None


@dataclass(frozen=True, slots=True)
class Grade:
    """A grade, such as ``2+``, and the scheme it is of."""

    value: str
    scheme: str


@dataclass(frozen=True, slots=True)
class CaseEvidence:
    """What one version of a case's result says.

    Attributes
    ----------
    counts : CaseCounts
    bundle : BundleId
    grade : Grade or None
        None where nothing was graded.
    sources : tuple of SourceImage
        The images of the fields that were looked at; at least one.
    annotations : tuple of ObjectRef
        The annotation objects of the same version.
    replaces : ObjectRef or None
        The report of the version before.
    comments : tuple of str
        What else is to be told, in words, such as what the person who signed said.
    """

    counts: CaseCounts
    bundle: BundleId
    sources: tuple[SourceImage, ...]
    annotations: tuple[ObjectRef, ...] = ()
    grade: Grade | None = None
    replaces: ObjectRef | None = None
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DicomObject:
    """An object that was built, as a file (PS3.10) with frozen bytes.

    Attributes
    ----------
    kind : ObjectKind
    ref : ObjectRef
    transfer_syntax_uid : str
    body : bytes
        Holds personal data, hence not in the `repr`.
    """

    kind: ObjectKind
    ref: ObjectRef
    transfer_syntax_uid: str
    body: bytes = field(repr=False)
