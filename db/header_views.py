"""What DICOM instances say of themselves, as frozen values; their `repr` hides personal data."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHeaderView:
    """One instance's header.

    Attributes
    ----------
    study_uid, series_uid : str
    study_date, study_time, study_id : str or None
        As DICOM writes them (DA, TM, SH).
    frame_of_reference_uid, modality : str or None
    rows, columns, frames : int
        Of the stored pixels.
    accession, accession_issuer : str or None
        (0008,0050), (0008,0051). An issuer is its namespace, or else its universal identifier.
    container, container_issuer : str or None
        (0040,0512), (0040,0513).
    specimen, specimen_issuer, specimen_uid : str or None
        (0040,0551), (0040,0562), (0040,0554) of the first specimen.
    specimens : int
        How many specimens the instance names.
    patient_id, patient_issuer, family, given, birth_date, sex : str or None
        As `db.views.Identity`.
    acquired : str or None
        ISO 8601.
    row_spacing_mm, column_spacing_mm : float or None
        Between the centres of two rows, of two columns.
    um_per_pixel : float or None
        After un-stretching.
    pixel_aspect : float
        Display width over height of one stored pixel.
    objective_power : float or None
    manufacturer, model, serial : str or None
    """

    study_uid: str
    series_uid: str
    study_date: str | None = field(default=None, repr=False)
    study_time: str | None = field(default=None, repr=False)
    study_id: str | None = field(default=None, repr=False)
    frame_of_reference_uid: str | None = None
    modality: str | None = None
    rows: int
    columns: int
    frames: int
    accession: str | None = field(default=None, repr=False)
    accession_issuer: str | None = field(default=None, repr=False)
    container: str | None = field(default=None, repr=False)
    container_issuer: str | None = field(default=None, repr=False)
    specimen: str | None = field(default=None, repr=False)
    specimen_issuer: str | None = field(default=None, repr=False)
    specimen_uid: str | None = field(default=None, repr=False)
    specimens: int = 0
    patient_id: str | None = field(default=None, repr=False)
    patient_issuer: str | None = field(default=None, repr=False)
    family: str | None = field(default=None, repr=False)
    given: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)
    acquired: str | None = field(default=None, repr=False)
    row_spacing_mm: float | None = None
    column_spacing_mm: float | None = None
    um_per_pixel: float | None = None
    pixel_aspect: float = 1.0
    objective_power: float | None = None
    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class FieldSourceView:
    """The instance from which a field comes.

    Attributes
    ----------
    field_id : str
    instance_id : str
    sop_class_uid, sop_instance_uid, transfer_syntax_uid : str
    frame : int
        From 0; DICOM counts frames from 1.
    header : InstanceHeaderView
    calling_ae : str or None
        AE title of the sender of a C-STORE.
    """

    field_id: str
    instance_id: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    frame: int
    header: InstanceHeaderView
    calling_ae: str | None = None
