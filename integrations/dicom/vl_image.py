"""A field that came as a plain image, as a VL Microscopic Image (PS3.3 A.32.2; SOP class ...77.1.2).

Annotations and reports refer to SOP instances; a JPEG, PNG or TIFF is none. It is archived with the pixels it came with: a
baseline JPEG as it is, everything else uncompressed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

from integrations.dicom.codes import BLOOD, SMEAR
from integrations.dicom.document import ACCESSION_LENGTH, CHARACTER_SET, add_patient, add_study, finish
from integrations.dicom.evidence import (
    VL_MICROSCOPIC,
    DicomObject,
    ObjectKind,
    ObjectRef,
    Origin,
    Software,
    SourceImage,
    Subject,
)
from integrations.dicom.jpeg import baseline_frame
from integrations.dicom.uids import derive_uid

SERIES_NUMBER = 9100


@dataclass(frozen=True, slots=True, eq=False)
class PlainField:
    """A field that came as a plain image.

    Attributes
    ----------
    number : int
        From 1, in the order the fields of the case came.
    sha256 : str
        Of the file it came in.
    frame : int
        Page of that file, from 0.
    pixels : ndarray of uint8, shape (rows, columns, 3)
        RGB as stored, upright.
    jpeg : bytes or None
        The file, where it is a JPEG.
    pixel_aspect : float
        Display width over height of one stored pixel.
    um_per_pixel : float or None
        In true proportion.
    """

    number: int
    sha256: str
    frame: int
    pixels: NDArray[np.uint8]
    jpeg: bytes | None = None
    pixel_aspect: float = 1.0
    um_per_pixel: float | None = None


def plain_source(case_id: str, sha256: str, frame: int, rows: int, columns: int, study: Origin) -> SourceImage:
    """How other objects refer to a plain field once it is archived; the same for every version of the case.

    Parameters
    ----------
    case_id, sha256, frame
        Of the field.
    rows, columns : int
        As stored, upright.
    study : Origin
        `made` is when the case began: the date and time of its study.
    """
    study_uid = derive_uid(case_id, "study")
    ref = ObjectRef(
        VL_MICROSCOPIC, derive_uid(case_id, "image", sha256, frame), derive_uid(case_id, "images"), study_uid
    )
    made = study.made
    return SourceImage(ref, rows, columns, study_date=made.strftime("%Y%m%d"), study_time=made.strftime("%H%M%S"))


def build_image(
    field: PlainField, source: SourceImage, subject: Subject, origin: Origin, *, software: Software
) -> DicomObject:
    """Make the object that `plain_source` names.

    Parameters
    ----------
    field : PlainField
    source : SourceImage
        Of `plain_source`.
    subject : Subject
    origin : Origin
        `made`: when the case began, not when it was reported, so that a later version makes the same bytes.
    software : Software

    Raises
    ------
    ObjectRefused
        A text does not fit its attribute, which is named.
    """
    image = Dataset()
    image.SpecificCharacterSet = CHARACTER_SET
    image.SOPClassUID, image.SOPInstanceUID = source.ref.sop_class_uid, source.ref.sop_instance_uid
    image.SeriesInstanceUID, image.SeriesNumber = source.ref.series_uid, SERIES_NUMBER
    image.Modality = "GM"  # general microscopy
    image.PatientOrientation = ""  # a smear has none
    image.InstanceNumber = field.number
    image.SeriesDescription = "Microscope fields that came as plain images"
    image.InstanceCreationDate = image.ContentDate = image.InstanceCreationTime = image.ContentTime = ""
    image.AcquisitionContextSequence = []
    add_patient(image, subject)
    add_study(image, subject, source)
    _add_equipment(image, software)
    _add_specimen(image, subject, origin)
    _add_pixels(image, field)
    return finish(image, ObjectKind.IMAGE, replace(origin, revision=1))


def _add_equipment(image: Dataset, software: Software) -> None:
    # Which microscope it was is not known: the equipment is what made the object.
    image.Manufacturer, image.ManufacturerModelName = software.manufacturer, software.model
    image.DeviceSerialNumber, image.SoftwareVersions = software.serial, software.version
    if software.institution:
        image.InstitutionName = software.institution


def _add_specimen(image: Dataset, subject: Subject, origin: Origin) -> None:
    """The Specimen module (PS3.3 C.7.6.22): the container is the slide, known by the accession number or by our case."""
    identifier = subject.accession if 0 < len(subject.accession) <= ACCESSION_LENGTH else origin.case_id
    image.ContainerIdentifier = identifier
    image.IssuerOfTheContainerIdentifierSequence = []
    image.ContainerTypeCodeSequence = []
    specimen = Dataset()
    specimen.SpecimenIdentifier = identifier
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenUID = derive_uid(origin.case_id, "specimen")
    specimen.SpecimenTypeCodeSequence = [SMEAR.coded]
    specimen.SpecimenPreparationSequence = []
    specimen.PrimaryAnatomicStructureSequence = [BLOOD.coded]
    image.SpecimenDescriptionSequence = [specimen]


def _add_pixels(image: Dataset, field: PlainField) -> None:
    rows, columns = field.pixels.shape[:2]
    image.ImageType = ["ORIGINAL", "PRIMARY"]
    image.SamplesPerPixel = 3
    image.PlanarConfiguration = 0
    image.Rows, image.Columns = rows, columns
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    if field.um_per_pixel:
        image.PixelSpacing = [f"{each:.10g}" for each in spacing_mm(field.um_per_pixel, field.pixel_aspect)]
    elif field.pixel_aspect != 1.0:
        # (0028,0034) is height over width of a pixel, in whole numbers.
        ratio = Fraction(1 / field.pixel_aspect).limit_denominator(10_000)
        image.PixelAspectRatio = [ratio.numerator, ratio.denominator]
    jpeg = baseline_frame(field.jpeg) if field.jpeg else None
    if field.jpeg and jpeg and (jpeg.rows, jpeg.columns) == (rows, columns):
        image.PhotometricInterpretation = jpeg.photometric
        image.LossyImageCompression = "01"
        image.LossyImageCompressionRatio = f"{rows * columns * 3 / len(field.jpeg):.3f}"
        image.LossyImageCompressionMethod = "ISO_10918_1"
        image.PixelData = encapsulate([field.jpeg])
        image["PixelData"].VR = "OB"
        image["PixelData"].is_undefined_length = True
        syntax: UID = JPEGBaseline8Bit
    else:
        image.PhotometricInterpretation = "RGB"
        # Whether the pixels went through a lossy compression before is known for JPEG only.
        image.LossyImageCompression = "01" if field.jpeg else "00"
        raw = np.ascontiguousarray(field.pixels).tobytes()
        image.PixelData = raw + b"\0" * (len(raw) % 2)
        image["PixelData"].VR = "OB"
        syntax = ExplicitVRLittleEndian
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax


def spacing_mm(um_per_pixel: float, pixel_aspect: float) -> tuple[float, float]:
    """Distances of stored rows and columns in mm, from the scale in true proportion (see `sphero_core.image.true_size`)."""
    mm = um_per_pixel / 1000
    # A field is never enlarged: above 1 its height was divided by the aspect, below 1 its width multiplied.
    return (mm / pixel_aspect, mm) if pixel_aspect >= 1.0 else (mm, mm * pixel_aspect)
