"""DICOM objects for tests: synthetic smears as a microscope would send them, uncompressed.

UIDs follow from what they stand for, so that the same call writes the same object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from sphero_core.synthetic import draw_smear, random_style

MICROMETRES = 1e-3  # in millimetres


class Kind(Enum):
    """Which object: SOP class and modality."""

    MICROSCOPIC = ("1.2.840.10008.5.1.4.1.1.77.1.2", "GM")
    SLIDE_MICROSCOPIC = ("1.2.840.10008.5.1.4.1.1.77.1.3", "SM")
    PHOTOGRAPHIC = ("1.2.840.10008.5.1.4.1.1.77.1.4", "XC")
    SECONDARY_CAPTURE = ("1.2.840.10008.5.1.4.1.1.7", "OT")
    MULTI_FRAME_TRUE_COLOR = ("1.2.840.10008.5.1.4.1.1.7.4", "OT")

    @property
    def sop_class(self) -> str:
        """UID of the SOP class."""
        return self.value[0]

    @property
    def modality(self) -> str:
        """Modality (0008,0060)."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Specimen:
    """The case an object belongs to, as a scanner tells it.

    Attributes
    ----------
    accession : str
    issuer : str
        Of the accession number (0008,0051) and of the patient identifier (0010,0021); empty for none.
    um_per_pixel : float
        Micrometres a pixel.
    study : str
        Part of the study's UID: another one makes another study.
    """

    accession: str = "24H-001234"
    issuer: str = "LAB"
    patient_id: str = "P-4711"
    family_name: str = "Canary^Test"
    birth_date: str = "19700101"
    sex: str = "F"
    taken: date = date(2026, 11, 25)
    um_per_pixel: float = 0.1
    study: str = "1"

    def on(self, day: date) -> Self:
        """The same, taken on another day."""
        return replace(self, taken=day)

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return generate_uid(entropy_srcs=["study", self.accession, self.study])


def make_object(
    pixels: NDArray[np.uint8],
    *,
    specimen: Specimen | None = None,
    number: int = 1,
    kind: Kind = Kind.MICROSCOPIC,
    series: str = "1",
) -> Dataset:
    """An object that holds an RGB picture, or several as its frames.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3) or (frames, height, width, 3)
    specimen : Specimen or None
        What it shows; `Specimen()` by default.
    number : int
        Instance number; another one makes another object.
    series : str
        Part of the series' UID.
    """
    specimen = specimen or Specimen()
    dataset = Dataset()
    _add_identity(dataset, specimen)
    dataset.SOPClassUID, dataset.Modality = kind.sop_class, kind.modality
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", specimen.study_uid, kind.name, series])
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", dataset.SeriesInstanceUID, str(number)])
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.DeviceSerialNumber = "Synthetic", "Smear", "1"
    dataset.LossyImageCompression, dataset.BurnedInAnnotation = "00", "NO"
    if kind is Kind.SECONDARY_CAPTURE or kind is Kind.MULTI_FRAME_TRUE_COLOR:
        dataset.ConversionType = "DI"
    else:
        _add_specimen(dataset, specimen)
    _add_pixels(dataset, pixels, specimen.um_per_pixel * MICROMETRES)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _add_identity(dataset: Dataset, specimen: Specimen) -> None:
    day = specimen.taken.strftime("%Y%m%d")
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = specimen.family_name, specimen.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = specimen.birth_date, specimen.sex
    dataset.AccessionNumber, dataset.StudyID = specimen.accession, "1"
    if specimen.issuer:
        dataset.IssuerOfPatientID = specimen.issuer
        dataset.IssuerOfAccessionNumberSequence = [_issuer(specimen.issuer)]
    dataset.StudyInstanceUID = specimen.study_uid
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = dataset.AcquisitionDate = day
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "101500"
    dataset.AcquisitionDateTime = f"{day}101500"
    dataset.ReferringPhysicianName = ""


def _issuer(name: str) -> Dataset:
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = name
    return issuer


def _add_specimen(dataset: Dataset, specimen: Specimen) -> None:
    dataset.ContainerIdentifier, dataset.IssuerOfTheContainerIdentifierSequence = specimen.accession, Sequence()
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "433466003", "SCT", "Microscope slide"
    dataset.ContainerTypeCodeSequence = [code]
    description = Dataset()
    description.SpecimenIdentifier = specimen.accession
    description.SpecimenUID = generate_uid(entropy_srcs=["specimen", specimen.accession])
    description.IssuerOfTheSpecimenIdentifierSequence = [_issuer(specimen.issuer)] if specimen.issuer else []
    description.SpecimenPreparationSequence = []
    dataset.SpecimenDescriptionSequence = [description]
    dataset.AcquisitionContextSequence = []


def _add_pixels(dataset: Dataset, pixels: NDArray[np.uint8], millimetres: float) -> None:
    frames = pixels.shape[0] if pixels.ndim == 4 else 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelSpacing = [f"{millimetres:.6g}"] * 2
    if frames > 1 or dataset.SOPClassUID == Kind.MULTI_FRAME_TRUE_COLOR.sop_class:
        dataset.NumberOfFrames = frames
    content = pixels.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)


def write_object(path: Path, dataset: Dataset) -> Path:
    """Write an object as a DICOM file (PS3.10)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@lru_cache(maxsize=8)
def smear(seed: int, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """A small synthetic smear, RGB of shape (height, width, 3); the same for the same seed. Do not change it."""
    rng = np.random.default_rng(seed)
    style = random_style(rng, width=width, height=height)
    pixels = draw_smear(style, rng).pixels
    pixels.setflags(write=False)
    return pixels


def write_study(
    folder: Path,
    *,
    specimen: Specimen | None = None,
    objects: int = 3,
    kind: Kind = Kind.MICROSCOPIC,
    width: int = 320,
    height: int = 240,
    first: int = 1,
) -> list[Path]:
    """Write the fields of one specimen as objects of one series, numbered from `first`."""
    return [
        write_object(
            folder / f"{number}.dcm",
            make_object(smear(number, width, height), specimen=specimen, number=number, kind=kind),
        )
        for number in range(first, first + objects)
    ]
