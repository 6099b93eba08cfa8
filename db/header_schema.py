"""The table of what DICOM instances say of themselves. It holds personal data."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from db.schema import Base


class InstanceHeader(Base):
    """One instance's header; `db.header_views.InstanceHeaderView` explains the columns."""

    __tablename__ = "instance_headers"
    __table_args__ = (Index(None, "study_uid"),)

    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.instance_id"), primary_key=True)
    study_uid: Mapped[str] = mapped_column(String(64))
    series_uid: Mapped[str] = mapped_column(String(64))
    study_date: Mapped[str | None] = mapped_column(String(8))
    study_time: Mapped[str | None] = mapped_column(String(16))
    study_id: Mapped[str | None] = mapped_column(String(16))
    frame_of_reference_uid: Mapped[str | None] = mapped_column(String(64))
    modality: Mapped[str | None]
    rows: Mapped[int]
    columns: Mapped[int]
    frames: Mapped[int]
    accession: Mapped[str | None]
    accession_issuer: Mapped[str | None]
    container: Mapped[str | None]
    container_issuer: Mapped[str | None]
    specimen: Mapped[str | None]
    specimen_issuer: Mapped[str | None]
    specimen_uid: Mapped[str | None] = mapped_column(String(64))
    specimens: Mapped[int]
    patient_id: Mapped[str | None]
    patient_issuer: Mapped[str | None]
    family: Mapped[str | None]
    given: Mapped[str | None]
    birth_date: Mapped[str | None]
    sex: Mapped[str | None]
    acquired: Mapped[str | None]
    row_spacing_mm: Mapped[float | None]
    column_spacing_mm: Mapped[float | None]
    um_per_pixel: Mapped[float | None]
    pixel_aspect: Mapped[float]
    objective_power: Mapped[float | None]
    manufacturer: Mapped[str | None]
    model: Mapped[str | None]
    serial: Mapped[str | None]
