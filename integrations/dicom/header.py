"""What is read of a DICOM object beside its pixels, as one frozen value.

It holds personal data; `repr` shows none of it. It travels from the sandbox as JSON.

Sources: PS3.3 C.7.1.1 (patient), C.7.2.1 (study), C.7.5.1 (equipment), C.7.6.3 (pixels), C.7.6.22 (specimen), C.8.12.5
(optical path), C.7.6.16.2.1 (pixel measures), table 10-17 (issuers).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

UM_PER_MM = 1_000.0
SHARPEST_UM, COARSEST_UM = 0.005, 5.0
"""Micrometres per pixel that a microscope's image can have; other spacings are no measures of the specimen."""


@dataclass(frozen=True, slots=True)
class Issued:
    """An identifier with who issued it: without the issuer it names nothing for sure.

    Attributes
    ----------
    value : str
    issuer : str or None
        The namespace, or else the universal identifier; None where the object names no issuer.
    """

    value: str = field(repr=False)
    issuer: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Specimen:
    """One specimen of a Specimen Description Sequence (0040,0560).

    Attributes
    ----------
    identifier : Issued or None
        (0040,0551) with (0040,0562).
    uid : str or None
        (0040,0554).
    """

    identifier: Issued | None
    uid: str | None


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose image it is; all optional.

    Attributes
    ----------
    identifier : Issued or None
        (0010,0020) with (0010,0021) or (0010,0024).
    family, given : str or None
        Of the alphabetic representation of (0010,0010).
    birth_date : str or None
        ISO 8601.
    sex : str or None
        M, F or O.
    """

    identifier: Issued | None = None
    family: str | None = field(default=None, repr=False)
    given: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Pixels:
    """The Image Pixel Module (PS3.3 C.7.6.3).

    Attributes
    ----------
    rows, columns, frames : int
    samples : int
        Per pixel.
    photometric : str
    bits_allocated, bits_stored : int
    signed : bool
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Header:
    """One DICOM object without its pixels.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid, transfer_syntax_uid, study_uid, series_uid : str
    study_date, study_time, study_id : str or None
        (0008,0020), (0008,0030) and (0020,0010), where they are what DICOM calls so: what we add to the study tells the same.
    frame_of_reference_uid : str or None
    modality : str or None
    pixels : Pixels
    accession : Issued or None
        (0008,0050) with (0008,0051).
    container : Issued or None
        (0040,0512) with (0040,0513).
    specimens : tuple of Specimen
    patient : Patient
    acquired : str or None
        ISO 8601 without zone unless the object names one.
    row_spacing_mm, column_spacing_mm : float or None
        Between the centres of two rows, of two columns (0028,0030).
    pixel_aspect : float
        Display width over height of one stored pixel, of the spacings or else of (0028,0034).
    objective_power : float or None
        (0048,0112).
    manufacturer, model, serial : str or None
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_uid: str
    series_uid: str
    study_date: str | None = field(repr=False)
    study_time: str | None = field(repr=False)
    study_id: str | None = field(repr=False)
    frame_of_reference_uid: str | None
    modality: str | None
    pixels: Pixels
    accession: Issued | None
    container: Issued | None
    specimens: tuple[Specimen, ...]
    patient: Patient
    acquired: str | None = field(repr=False)
    row_spacing_mm: float | None
    column_spacing_mm: float | None
    pixel_aspect: float
    objective_power: float | None
    manufacturer: str | None
    model: str | None
    serial: str | None

    @property
    def um_per_pixel(self) -> float | None:
        """Micrometres per pixel after un-stretching, which shrinks the denser direction; None where it is not told."""
        if self.row_spacing_mm is None or self.column_spacing_mm is None:
            return None
        coarser = UM_PER_MM * max(self.row_spacing_mm, self.column_spacing_mm)
        return coarser if SHARPEST_UM < coarser < COARSEST_UM else None

    def to_json(self) -> dict[str, Any]:
        """As values of JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """From `to_json`.

        Raises
        ------
        TypeError, KeyError
            It is something else.
        """
        patient = values["patient"]
        told = {
            "pixels": Pixels(**values["pixels"]),
            "accession": _issued(values["accession"]),
            "container": _issued(values["container"]),
            "specimens": tuple(Specimen(_issued(one["identifier"]), one["uid"]) for one in values["specimens"]),
            "patient": Patient(**{**patient, "identifier": _issued(patient["identifier"])}),
        }
        return cls(**{**values, **told})


def _issued(values: dict[str, Any] | None) -> Issued | None:
    return None if values is None else Issued(**values)
