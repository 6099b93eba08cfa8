"""Rows of the outbox: read, locked, and moved with their audit event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from db.context import Context
from db.errors import NotFound
from db.queue import is_due, message_view
from db.schema import UNFINISHED, Message
from db.states import MESSAGE_MOVES, MessageState, check_move
from db.views import AckLatency, Due, MessageView, OutboxMeasures, OutboxSummary

LATENCY_OF = 1000
"""So many of the latest answers the latency is told from."""


class MessageRows:
    """What the outbox's two sides share: reading, and moving one locked row."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session
        self._locked: dict[str, Message] = {}

    # ------------------------------------------------------------------------------------------------------------- read
    def get(self, message_id: str) -> MessageView:
        """Return one message.

        Raises
        ------
        NotFound
        """
        return message_view(self._locked.get(message_id) or self._row(message_id))

    def find(self, name: str) -> MessageView:
        """Return one message by its id, its control id, or the SOP instance UID of what it brings (the first of several).

        Raises
        ------
        NotFound
        """
        named = or_(
            Message.message_id == name, Message.control_id == name, and_(Message.part == name, Message.part != "")
        )
        row = self._session.scalars(select(Message).where(named).order_by(Message.position).limit(1)).first()
        if row is None:
            raise NotFound("no message has this id, control id or SOP instance UID")
        return message_view(row)

    def of_case(self, case_id: str) -> tuple[MessageView, ...]:
        """Return the messages of a case, in the order in which they were queued."""
        return self._views(select(Message).where(Message.case_id == case_id))

    def list(
        self,
        state: MessageState | None = None,
        *,
        destination: str | None = None,
        case_id: str | None = None,
        queued_before: datetime | None = None,
        limit: int = 1000,
    ) -> tuple[MessageView, ...]:
        """Return the messages in one state (None: in any), in the order in which they were queued.

        Parameters
        ----------
        destination, case_id : str or None
            Only of these; None: of any.
        queued_before : datetime or None
            Only what was queued before; aware.
        limit : int
            At most so many, the oldest.
        """
        chosen = {Message.state: state, Message.destination: destination, Message.case_id: case_id}
        query = select(Message).where(*(column == value for column, value in chosen.items() if value is not None))
        if queued_before is not None:
            query = query.where(Message.created_at < queued_before)
        return self._views(query.limit(limit))

    def summary(self, destination: str | None = None) -> OutboxSummary:
        """Return counts by state and the age of the oldest message that is not done, for one destination or all."""
        chosen = [] if destination is None else [Message.destination == destination]
        by_state = select(Message.state, func.count()).where(*chosen).group_by(Message.state)
        counts = dict.fromkeys(MessageState, 0) | dict(self._session.execute(by_state).all())
        return OutboxSummary(counts, self._oldest(destination))

    def measures(self, destination: str) -> OutboxMeasures:
        """Return what is worth watching about one destination; it looks at what is not done, however much is."""
        by_state = (
            select(Message.state, func.count())
            .where(UNFINISHED, Message.destination == destination)
            .group_by(Message.state)
        )
        counts = dict.fromkeys(MessageState, 0) | dict(self._session.execute(by_state).all())
        parked = counts.pop(MessageState.PARKED)
        latest = (
            select(Message.ack_seconds)
            .where(Message.destination == destination, Message.ack_seconds.is_not(None))
            .order_by(Message.position.desc())
            .limit(LATENCY_OF)
        )
        return OutboxMeasures(
            destination=destination,
            depth=sum(counts.values()),
            parked=parked,
            unknown=counts[MessageState.UNKNOWN],
            oldest_unsent_at=self._oldest(destination),
            latency=_latency([seconds for seconds in self._session.scalars(latest) if seconds is not None]),
        )

    def destinations(self) -> tuple[str, ...]:
        """Return the destinations that have messages which are not done."""
        query = select(Message.destination).where(UNFINISHED).distinct().order_by(Message.destination)
        return tuple(self._session.scalars(query))

    def due(self, destination: str, most: int = 1) -> Due:
        """Return how many messages may leave now, counted up to `most`, and since when the first of them waits."""
        query = select(Message.created_at).where(is_due(destination, self._context.clock()))
        waiting = self._session.scalars(query.order_by(Message.position).limit(most)).all()
        return Due(len(waiting), min(waiting, default=None))

    # ----------------------------------------------------------------------------------------------------------- inside
    def _oldest(self, destination: str | None) -> datetime | None:
        query = select(Message.created_at).where(UNFINISHED).order_by(Message.position).limit(1)
        return self._session.scalar(query if destination is None else query.where(Message.destination == destination))

    def _views(self, query: Select[Message]) -> tuple[MessageView, ...]:
        return tuple(message_view(row) for row in self._session.scalars(query.order_by(Message.position)))

    def _row(self, message_id: str) -> Message:
        row = self._session.scalar(select(Message).where(Message.message_id == message_id))
        if row is None:
            raise NotFound(f"no message has the id {message_id}")
        return row

    def _lock(self, message_id: str) -> Message:
        if message_id not in self._locked:
            self._lock_all([message_id])
        if message_id not in self._locked:
            raise NotFound(f"no message has the id {message_id}")
        return self._locked[message_id]

    def _lock_all(self, message_ids: Sequence[str]) -> None:
        """Lock rows, in the order of the queue; they stay locked to the end of the transaction."""
        query = select(Message).where(Message.message_id.in_(message_ids)).order_by(Message.position).with_for_update()
        for row in self._session.scalars(query.execution_options(populate_existing=True)):
            self._locked[row.message_id] = row

    def _move(
        self,
        row: Message,
        target: MessageState,
        *,
        reason: str | None = None,
        at: datetime | None = None,
        spends_attempt: bool = False,
        **detail: Any,
    ) -> None:
        current = row.state
        why = check_move(MESSAGE_MOVES, current, target)
        row.state, row.reason, row.next_attempt_at = target, reason, at
        row.lease_owner = row.lease_expires_at = None
        row.attempts += spends_attempt
        told = {"came_from": current, "why": reason or why, "attempts": row.attempts, "spent": spends_attempt}
        self._audit(f"message {target}", row, **told, **detail)

    def _audit(self, action: str, row: Message, **detail: Any) -> None:
        self._context.audit(
            action,
            row.case_id,
            message=row.message_id,
            destination=row.destination,
            control_id=row.control_id,
            **detail,
        )


def _latency(seconds: Sequence[float]) -> AckLatency | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return AckLatency(len(ordered), ordered[last // 2], ordered[round(last * 0.95)], ordered[last])
