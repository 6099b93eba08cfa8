"""Measures of cells as rows, and back; for thousands at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session

from db.measure_schema import CellMeasuresRow
from sphero_core.measures import DEFINITIONS
from sphero_core.types import Cell, CellMeasures

TABLE = cast("Table", CellMeasuresRow.__table__)
KEPT = tuple(definition.name for definition in DEFINITIONS if not definition.of_case)


def insert_measures(session: Session, analysis_id: int, cells: Iterable[Cell]) -> None:
    """Keep the measures of an analysis; a cell that was not measured has no row."""
    rows = [
        {"analysis_id": analysis_id, "number": number, **_values(cell.measures)}
        for number, cell in enumerate(cells)
        if cell.measures is not None
    ]
    if rows:
        session.execute(insert(TABLE), rows)


def read_measures(session: Session, analysis_id: int) -> dict[int, CellMeasures]:
    """The measures of an analysis by number of the cell, from 0, not yet related to a case."""
    columns = [TABLE.c.number, *(TABLE.c[name] for name in KEPT)]
    query = select(*columns).where(TABLE.c.analysis_id == analysis_id)
    return {number: _measures(values) for number, *values in session.execute(query)}


def _values(measures: CellMeasures) -> dict[str, Any]:
    # The detector hands over NumPy's own numbers, which a driver may refuse or store as bytes.
    return {name: float(getattr(measures, name)) for name in KEPT}


def _measures(values: list[float]) -> CellMeasures:
    kept = dict(zip(KEPT, values, strict=True))
    return CellMeasures(**kept, relative_density=kept["optical_density"], relative_diameter=math.nan)
