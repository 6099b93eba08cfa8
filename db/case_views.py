"""From rows to `CaseView`: three queries for any number of cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import schema
from db.states import FieldState, HoldReason
from db.views import Acquisition, CaseView

CHUNK = 500
"""Cases in one query; SQLite takes 32,766 parameters, older builds 999."""


def read_views(session: Session, rows: Sequence[schema.Case]) -> tuple[CaseView, ...]:
    """Return the views of these rows, in order."""
    views: list[CaseView] = []
    for start in range(0, len(rows), CHUNK):
        views += _read_chunk(session, rows[start : start + CHUNK])
    return tuple(views)


def _read_chunk(session: Session, rows: Sequence[schema.Case]) -> list[CaseView]:
    ids = [row.case_id for row in rows]
    field, file, hold = schema.Field, schema.Quarantined, schema.CaseHold
    by_state = (
        select(field.case_id, field.state, func.count())
        .where(field.case_id.in_(ids))
        .group_by(field.case_id, field.state)
    )
    fields = {(case_id, state): count for case_id, state, count in session.execute(by_state)}
    by_case = select(file.case_id, func.count()).where(file.case_id.in_(ids)).group_by(file.case_id)
    refused = dict(session.execute(by_case).all())
    holds: dict[str, list[HoldReason]] = defaultdict(list)
    for case_id, reason in session.execute(
        select(hold.case_id, hold.reason).where(hold.case_id.in_(ids)).order_by(hold.placed_at, hold.reason)
    ):
        holds[case_id].append(reason)
    return [
        CaseView(
            case_id=row.case_id,
            state=row.state,
            hold_reasons=tuple(holds[row.case_id]),
            return_state=row.return_state,
            revision=row.revision,
            fields_accepted=fields.get((row.case_id, FieldState.ACCEPTED), 0),
            fields_analysed=fields.get((row.case_id, FieldState.ANALYSED), 0),
            fields_quarantined=fields.get((row.case_id, FieldState.QUARANTINED), 0),
            files_quarantined=refused.get(row.case_id, 0),
            created_at=row.created_at,
            last_arrival_at=row.last_arrival_at,
            acquisition=Acquisition(row.expected_fields, row.um_per_pixel, row.pixel_aspect, row.stain),
            attempts=row.attempts,
            lease_owner=row.lease_owner,
            lease_expires_at=row.lease_expires_at,
            flow_run_id=row.flow_run_id,
        )
        for row in rows
    ]
