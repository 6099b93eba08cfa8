"""What the model found: analyses with their cells.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, func, insert, select
from sqlalchemy.orm import Session

from db import masks, schema
from db.context import Context, canonical_json
from db.errors import FindingsRemoved, NotFound
from db.fields import field_view
from db.measures import insert_measures, read_measures
from db.removal_schema import RemovalRow
from db.review_rows import latest_reviews
from db.states import FIELD_MOVES, FieldState, Removable, check_move
from db.views import FieldResult
from sphero_core.types import BundleId, Cell, CellClass, CellMeasures, FieldFindings, Quality

# Plain rows: thousands of mapped objects would cost more than the query.
_CELLS = cast("Table", schema.CellRow.__table__)


class Analyses:
    """The analyses within one transaction (`UnitOfWork.analyses`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def record(self, field_id: str, bundle: BundleId, findings: FieldFindings) -> int:
        """Record the findings of one bundle in one field and move the field to analysed.

        The first findings of a bundle in a field stand: called again, nothing is written.

        Returns
        -------
        int
            The number of the analysis.

        Raises
        ------
        IllegalMove
            The field is quarantined.
        NotFound
        """
        case_id = self._session.scalar(select(schema.Field.case_id).where(schema.Field.field_id == field_id))
        if case_id is None:
            raise NotFound(f"no field has the id {field_id}")
        self._context.lock_case(case_id)
        row = self._session.get_one(schema.Field, field_id, populate_existing=True)
        table = schema.Analysis
        known = self._session.scalar(
            select(table.analysis_id).where(table.field_id == field_id, table.bundle_sha256 == bundle.sha256)
        )
        if known is not None:
            return known
        if row.state is not FieldState.ANALYSED:
            check_move(FIELD_MOVES, row.state, FieldState.ANALYSED)
            row.state = FieldState.ANALYSED
        analysis = table(
            field_id=field_id,
            bundle_name=bundle.name,
            bundle_version=bundle.version,
            bundle_sha256=bundle.sha256,
            width=findings.width,
            height=findings.height,
            cell_diameter_px=findings.cell_diameter_px,
            passes=findings.passes,
            seconds=findings.seconds,
            saturated=findings.saturated,
            quality_accepted=findings.quality.accepted,
            quality_reasons=canonical_json(findings.quality.reasons),
            at=self._context.clock(),
        )
        self._session.add(analysis)
        self._session.flush()
        rows = [_cell_values(analysis.analysis_id, number, cell) for number, cell in enumerate(findings.cells)]
        if rows:
            self._session.execute(insert(_CELLS), rows)
            insert_measures(self._session, analysis.analysis_id, findings.cells)
        self._context.audit(
            "field analysed",
            case_id,
            field=field_id,
            bundle=bundle.sha256,
            cells=len(rows),
            quality_accepted=findings.quality.accepted,
        )
        return analysis.analysis_id

    def results_of(self, case_id: str) -> tuple[FieldResult, ...]:
        """Return the latest findings in each analysed field of a case, in the order the fields came.

        A cell to which a person gave a class has it, and the model's call beside it. Masks and measures are those that were recorded, bit for bit (but that SQLite forgets the sign of a zero); what is relative to the case is reckoned anew by
        `sphero_core.morphology.relate_to_case`.

        Raises
        ------
        DamagedRecord
            A mask cannot be restored.
        FindingsRemoved
            The retention policy took the cells away; counting what is left would be wrong.
        """
        require_cells(self._session, case_id)
        field, analysis = schema.Field, schema.Analysis
        latest = (
            select(func.max(analysis.analysis_id)).join(field).where(field.case_id == case_id).group_by(field.field_id)
        )
        query = (
            select(field, schema.StoredFile, analysis)
            .join(schema.StoredFile, schema.StoredFile.sha256 == field.sha256)
            .join(analysis, analysis.field_id == field.field_id)
            .where(analysis.analysis_id.in_(latest), field.state == FieldState.ANALYSED)
            .order_by(field.number)
        )
        found = self._session.execute(query).all()
        cells = self._cells([row.analysis_id for _, _, row in found])
        return tuple(
            FieldResult(
                field_view(field_row, file),
                row.analysis_id,
                BundleId(row.bundle_name, row.bundle_version, row.bundle_sha256),
                _findings(row, cells[row.analysis_id]),
            )
            for field_row, file, row in found
        )

    def bundles_of(self, case_id: str) -> frozenset[str]:
        """Return the hashes of the bundles that any field of the case was analysed with."""
        query = select(schema.Analysis.bundle_sha256).join(schema.Field).where(schema.Field.case_id == case_id)
        return frozenset(self._session.scalars(query))

    def last_at(self, case_id: str) -> datetime | None:
        """Return when the latest analysis of a field of the case was recorded; None without any."""
        query = select(func.max(schema.Analysis.at)).join(schema.Field).where(schema.Field.case_id == case_id)
        return self._session.scalar(query)

    def _cells(self, analysis_ids: list[int]) -> dict[int, list[Cell]]:
        cells: dict[int, list[Cell]] = defaultdict(list)
        reviewed = latest_reviews(self._session, analysis_ids)
        measured = read_measures(self._session, analysis_ids)
        for analysis_id in analysis_ids:
            measures = measured[analysis_id]
            query = select(_CELLS).where(_CELLS.c.analysis_id == analysis_id).order_by(_CELLS.c.number)
            cells[analysis_id] = [
                _cell(row, measures.get(row["number"]), reviewed.get((analysis_id, row["number"])))
                for row in self._session.execute(query).mappings()
            ]
        return cells


def require_cells(session: Session, case_id: str) -> None:
    """Raise `FindingsRemoved` where the retention policy took the cells of a case away."""
    row = session.get(RemovalRow, (case_id, Removable.CELLS))
    if row is not None:
        raise FindingsRemoved(
            f"the cells of case {case_id} were removed on {row.begun_at:%Y-%m-%d}, as [retention] says; its results stand "
            "in its reports, and no new version can be made of it"
        )


def _findings(row: schema.Analysis, cells: list[Cell]) -> FieldFindings:
    return FieldFindings(
        cells=tuple(cells),
        width=row.width,
        height=row.height,
        cell_diameter_px=row.cell_diameter_px,
        passes=row.passes,
        seconds=row.seconds,
        saturated=row.saturated,
        quality=Quality(row.quality_accepted, tuple(json.loads(row.quality_reasons))),
    )


def _cell_values(analysis_id: int, number: int, cell: Cell) -> dict[str, Any]:
    x, y, width, height = cell.box
    return {
        "analysis_id": analysis_id,
        "number": number,
        "cell_class": cell.cell_class,
        # The detector hands over NumPy's own numbers, which a driver may refuse or store as bytes.
        "score": float(cell.score),
        "red_cell_score": float(cell.red_cell_score),
        "x": int(x),
        "y": int(y),
        "width": width,
        "height": height,
        "mask": masks.pack(cell.mask),
        "touches_border": bool(cell.touches_border),
        "overlaps": bool(cell.overlaps),
    }


def _cell(row: Any, measures: CellMeasures | None, by_person: CellClass | None) -> Cell:
    machine = row["cell_class"]
    return Cell(
        cell_class=by_person or machine,
        score=row["score"],
        red_cell_score=row["red_cell_score"],
        x=row["x"],
        y=row["y"],
        mask=masks.unpack(row["mask"], row["height"], row["width"]),
        touches_border=row["touches_border"],
        overlaps=row["overlaps"],
        measures=measures,
        machine_class=machine if by_person not in (None, machine) else None,
    )
