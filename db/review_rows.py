"""Which class people gave to cells, as rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.review_schema import CellReviewRow
from sphero_core.types import CellClass

CHUNK = 500
"""Analyses in one query; SQLite takes 32,766 parameters, older builds 999."""


def latest_reviews(session: Session, analysis_ids: Sequence[int]) -> dict[tuple[int, int], CellClass]:
    """Return the class that the latest review gave, by analysis and number of the cell from 0."""
    table, found = CellReviewRow, {}
    for start in range(0, len(analysis_ids), CHUNK):
        latest = (
            select(func.max(table.sequence))
            .where(table.analysis_id.in_(analysis_ids[start : start + CHUNK]))
            .group_by(table.analysis_id, table.number)
        )
        query = select(table.analysis_id, table.number, table.cell_class).where(table.sequence.in_(latest))
        found.update({(analysis_id, number): given for analysis_id, number, given in session.execute(query)})
    return found
