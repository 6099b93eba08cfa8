"""What monitoring asks the tables: how things stand, and what happened since it last asked.

What happened is read from the audit log: its numbers have no gaps and come in the order of the commits, so that nothing is
counted twice or left out, whichever process did it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute

from db import schema
from db.context import Context
from db.instance_schema import Instance
from db.order_schema import InboundMessage
from db.schema import UNFINISHED
from db.states import CaseState, FieldState, HoldReason, InboundState, InstanceState, MessageState
from db.watch_views import AnalysedField, CaseFigures, DestinationFigures, Happened, Standing, TriedMessage

State = TypeVar("State", bound=StrEnum)

STRETCH = 500
"""Audit events that are looked at with one question."""

_FIELD_ANALYSED = "field analysed"
_QUARANTINED = ("field quarantined", "file quarantined")
_OUTCOMES = (MessageState.DELIVERED, MessageState.RETRY, MessageState.UNKNOWN, MessageState.PARKED)
_TRIED = {f"message {state}": state for state in _OUTCOMES}


class Watch:
    """Monitoring within one transaction that reads (`UnitOfWork.watch`)."""

    def __init__(self, context: Context) -> None:
        self._session = context.session

    # ---------------------------------------------------------------------------------------------------- how it stands
    def standing(self) -> Standing:
        """Return counts and ages of what is there."""
        case = schema.Case
        by_state = select(case.state, func.count(), func.min(case.last_arrival_at)).group_by(case.state)
        found = {state: CaseFigures(count, oldest) for state, count, oldest in self._session.execute(by_state)}
        nothing = CaseFigures(0, None)
        return Standing(
            cases={state: found.get(state, nothing) for state in CaseState},
            held=self._counts(schema.CaseHold.reason, HoldReason),
            fields=self._counts(schema.Field.state, FieldState),
            instances=self._counts(Instance.state, InstanceState),
            inbound=self._counts(InboundMessage.state, InboundState),
            outbox=self._outbox(),
        )

    def spherocyte_percents(self, most: int) -> tuple[float, ...]:
        """Return the spherocyte percentage of the latest report of each case that has one, the latest first, up to `most`."""
        report, later = schema.Report, schema.Report.__table__.alias("later")
        has_later = (
            select(later.c.report_id)
            .where(later.c.case_id == report.case_id, later.c.revision > report.revision)
            .exists()
        )
        query = (
            select(report.spherocyte_percent)
            .where(report.spherocyte_percent.is_not(None), ~has_later)
            .order_by(report.created_at.desc(), report.report_id.desc())
            .limit(most)
        )
        return tuple(percent for percent in self._session.scalars(query) if percent is not None)

    def _counts(self, column: InstrumentedAttribute[State], states: type[State]) -> dict[State, int]:
        counted = self._session.execute(select(column, func.count()).group_by(column)).all()
        return dict.fromkeys(states, 0) | {row[0]: row[1] for row in counted}

    def _outbox(self) -> dict[str, DestinationFigures]:
        message = schema.Message
        query = (
            select(message.destination, message.state, func.count(), func.min(message.created_at))
            .where(UNFINISHED)
            .group_by(message.destination, message.state)
        )
        found: dict[str, list[Any]] = {}
        for row in self._session.execute(query):
            found.setdefault(row[0], []).append(row)
        return {
            destination: DestinationFigures(
                counts={state: count for _, state, count, _ in rows}, oldest_at=min(oldest for *_, oldest in rows)
            )
            for destination, rows in found.items()
        }

    # ----------------------------------------------------------------------------------------------------- what happened
    def last(self) -> int:
        """Return the number of the last audit event; 0 before the first."""
        return self._session.scalar(select(func.max(schema.AuditRow.sequence))) or 0

    def since(self, after: int, most: int = STRETCH) -> Happened:
        """Return what happened in the events after the number `after`, of which up to `most` are looked at.

        Ask again with `until` as long as that moves on.
        """
        row = schema.AuditRow
        query = select(row.sequence, row.action, row.detail).where(row.sequence > after).order_by(row.sequence)
        events = self._session.execute(query.limit(most)).all()
        analysed = [json.loads(detail) for _, action, detail in events if action == _FIELD_ANALYSED]
        tried = [(_TRIED[action], json.loads(detail)) for _, action, detail in events if action in _TRIED]
        return Happened(
            until=events[-1].sequence if events else after,
            fields=self._analysed(analysed),
            messages=self._tried([(state, detail) for state, detail in tried if detail.get("spent")]),
            quarantined=sum(action in _QUARANTINED for _, action, _ in events),
        )

    def _analysed(self, details: Sequence[dict[str, Any]]) -> tuple[AnalysedField, ...]:
        if not details:
            return ()
        analysis, field = schema.Analysis, schema.Field
        wanted = {(detail["field"], detail["bundle"]) for detail in details}
        query = (
            select(analysis, field.received_at).join(field).where(_any_of(field.field_id, [key for key, _ in wanted]))
        )
        return tuple(
            AnalysedField(
                seconds=row.seconds,
                passes=row.passes,
                waited_seconds=max(0.0, (row.at - received_at).total_seconds()),
                refused_for=tuple(json.loads(row.quality_reasons)) if not row.quality_accepted else (),
            )
            for row, received_at in self._session.execute(query)
            if (row.field_id, row.bundle_sha256) in wanted
        )

    def _tried(self, moves: Sequence[tuple[MessageState, dict[str, Any]]]) -> tuple[TriedMessage, ...]:
        message = schema.Message
        delivered = [detail["message"] for state, detail in moves if state is MessageState.DELIVERED]
        query = select(message.message_id, message.ack_seconds).where(_any_of(message.message_id, delivered))
        seconds = {row.message_id: row.ack_seconds for row in self._session.execute(query)} if delivered else {}
        return tuple(
            TriedMessage(detail["destination"], state, seconds.get(detail["message"]))
            if state is MessageState.DELIVERED
            else TriedMessage(detail["destination"], state, None)
            for state, detail in moves
        )


def _any_of(column: InstrumentedAttribute[str], values: Sequence[str]) -> ColumnElement[bool]:
    return column.in_(sorted(set(values)))
