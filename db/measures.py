"""Measures of cells as rows, and back; for thousands at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import fields
from typing import Any, cast

from sqlalchemy import Double, Table, bindparam, insert, null, select, type_coerce
from sqlalchemy.orm import Session

from db.measure_schema import CellMeasuresRow
from sphero_core.measures import DEFINITIONS
from sphero_core.types import Cell, CellMeasures

TABLE = cast("Table", CellMeasuresRow.__table__)
KEPT = tuple(definition.name for definition in DEFINITIONS if not definition.of_case)

#: Where each measure of `CellMeasures`, in its order, is read from; the density is the cell's own until the case is known.
_COLUMNS = tuple({"relative_density": "optical_density"}.get(each.name, each.name) for each in fields(CellMeasures))
_READ = select(
    TABLE.c.analysis_id,
    TABLE.c.number,
    *(
        (type_coerce(TABLE.c[name], Double) if name in KEPT else null()).label(f"measure_{place}")
        for place, name in enumerate(_COLUMNS)
    ),
).where(TABLE.c.analysis_id.in_(bindparam("analyses", expanding=True)))


def insert_measures(session: Session, analysis_id: int, cells: Iterable[Cell]) -> None:
    """Keep the measures of an analysis; a cell that was not measured has no row."""
    rows = [
        {"analysis_id": analysis_id, "number": number, **_values(cell.measures)}
        for number, cell in enumerate(cells)
        if cell.measures is not None
    ]
    if rows:
        session.execute(insert(TABLE), rows)


def read_measures(session: Session, analysis_ids: Collection[int]) -> dict[int, dict[int, CellMeasures]]:
    """The measures of analyses: of each by number of the cell, from 0, not yet related to a case.

    One query over the primary key, and plain columns: a case has thousands of cells, and people wait for it.
    """
    found: dict[int, dict[int, CellMeasures]] = {analysis: {} for analysis in analysis_ids}
    for analysis, number, *values in session.execute(_READ, {"analyses": list(found)}):
        found[analysis][number] = CellMeasures(*[math.nan if value is None else value for value in values])
    return found


def _values(measures: CellMeasures) -> dict[str, Any]:
    # The detector hands over NumPy's own numbers, which a driver may refuse or store as bytes.
    return {name: float(getattr(measures, name)) for name in KEPT}
