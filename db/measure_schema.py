"""The table of measures: one row a cell that was measured, one column a measure.

The measures are those of `sphero_core.measures`, by name; what is relative to a case changes with each further field and is not kept.
"""

from __future__ import annotations

from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import Measure
from db.schema import Base


class CellMeasuresRow(Base):
    """The measures of one cell of an analysis; NULL is NaN, a measure that cannot be had."""

    __tablename__ = "cell_measures"
    __table_args__ = (
        ForeignKeyConstraint(["analysis_id", "number"], ["cells.analysis_id", "cells.number"]),
        {"sqlite_with_rowid": False},
    )

    analysis_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    area_px: Mapped[float | None] = mapped_column(Measure)
    equivalent_diameter_px: Mapped[float | None] = mapped_column(Measure)
    perimeter_px: Mapped[float | None] = mapped_column(Measure)
    circularity: Mapped[float | None] = mapped_column(Measure)
    eccentricity: Mapped[float | None] = mapped_column(Measure)
    axis_ratio: Mapped[float | None] = mapped_column(Measure)
    solidity: Mapped[float | None] = mapped_column(Measure)
    convexity: Mapped[float | None] = mapped_column(Measure)
    pallor_index: Mapped[float | None] = mapped_column(Measure)
    pallor_area_share: Mapped[float | None] = mapped_column(Measure)
    optical_density: Mapped[float | None] = mapped_column(Measure)
    density_deviation: Mapped[float | None] = mapped_column(Measure)
    texture_contrast: Mapped[float | None] = mapped_column(Measure)
    mean_red: Mapped[float | None] = mapped_column(Measure)
    mean_green: Mapped[float | None] = mapped_column(Measure)
    mean_blue: Mapped[float | None] = mapped_column(Measure)
