"""The outbox: messages with frozen bytes, each with its fate.

Messages of one order key at one destination leave one after the other; one that is parked or waits for its next attempt
holds back those behind it, and no others. A sender takes a message with a lease. When the lease runs out nobody knows
whether the message arrived: the next sender sends the same bytes with the same control id again.

Every method can be called twice with the same effect. Each that records an outcome takes the sender's name: what a sender
says after it lost its lease counts only if the message was delivered.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select

from db.context import Context
from db.errors import NotFound
from db.queue import message_view, next_due
from db.schema import UNFINISHED, Message
from db.states import MESSAGE_MOVES, MessageState, check_move
from db.views import MessageView, OutboxSummary

MAX_ATTEMPTS = 10


class Outbox:
    """The outbox within one transaction (`UnitOfWork.outbox`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def enqueue(
        self, case_id: str, revision: int, destination: str, *, order_key: str, control_id: str, body: bytes
    ) -> MessageView:
        """Freeze a message and queue it.

        The first message for a case, revision and destination stands: called again it is returned as it is, whatever
        the new bytes are.

        Parameters
        ----------
        order_key : str
            Messages with the same key reach the destination in the order in which they were queued.
        control_id : str
            MSH-10 of `body`, unique.

        Raises
        ------
        NotFound
            There is no such case.
        """
        self._context.lock_case(case_id)
        known = self._session.scalar(
            select(Message).where(
                Message.case_id == case_id, Message.revision == revision, Message.destination == destination
            )
        )
        if known is not None:
            return message_view(known)
        row = Message(
            message_id=self._context.new_id(),
            case_id=case_id,
            revision=revision,
            destination=destination,
            order_key=order_key,
            control_id=control_id,
            body=body,
            sha256=hashlib.sha256(body).hexdigest(),
            state=MessageState.WAITING,
            attempts=0,
            created_at=self._context.clock(),
        )
        self._session.add(row)
        self._session.flush()
        self._audit("message queued", row, revision=revision, sha256=row.sha256)
        return message_view(row)

    def claim_due(
        self, destination: str, owner: str, lease_seconds: float, *, max_attempts: int = MAX_ATTEMPTS
    ) -> MessageView | None:
        """Take the next message that is due at a destination, or None.

        A message whose bytes are not those that were frozen, or whose attempts are spent, is parked instead.

        Parameters
        ----------
        owner : str
            Unique to the sender's run.
        lease_seconds : float
            Longer than the longest attempt may take.
        """
        while (row := self._next(destination)) is not None:
            if row.state is MessageState.SENDING:
                # Its sender died or hangs; whether the message arrived is not known.
                self._move(row, MessageState.UNKNOWN, reason="the sender's lease ran out", spends_attempt=True)
            if hashlib.sha256(row.body).hexdigest() != row.sha256:
                self._move(row, MessageState.PARKED, reason="its bytes are not those that were frozen")
            elif row.attempts >= max_attempts:
                self._move(row, MessageState.PARKED, reason=f"{row.attempts} attempts without success")
            else:
                self._move(row, MessageState.SENDING, reason=row.reason, owner=owner)
                row.lease_owner = owner
                row.lease_expires_at = self._context.clock() + timedelta(seconds=lease_seconds)
                return message_view(row)
        return None

    def renew(self, message_id: str, owner: str, lease_seconds: float) -> bool:
        """Prolong a lease; False when `owner` does not hold it any more and must stop."""
        row = self._lock(message_id)
        if not _sends(row, owner):
            return False
        row.lease_expires_at = self._context.clock() + timedelta(seconds=lease_seconds)
        return True

    def delivered(self, message_id: str, owner: str, *, ack_code: str, ack: bytes) -> bool:
        """Record that the receiver accepted the message; true even after the lease was lost.

        Returns
        -------
        bool
            Whether the message is delivered now; False where a person skipped it or queued it anew since.

        Raises
        ------
        NotFound
        """
        row = self._lock(message_id)
        if row.state is MessageState.DELIVERED:
            return True
        if (row.state, MessageState.DELIVERED) not in MESSAGE_MOVES:
            self._audit("late answer", row, ack_code=ack_code, owner=owner)
            return False
        row.ack_code, row.ack, row.delivered_at = ack_code, ack, self._context.clock()
        self._move(row, MessageState.DELIVERED, ack_code=ack_code, spends_attempt=row.state is MessageState.SENDING)
        return True

    def retry(self, message_id: str, owner: str, *, at: datetime, reason: str, spends_attempt: bool) -> bool:
        """Record that the message did not arrive and is to be sent again at `at`.

        Parameters
        ----------
        at : datetime
            Aware.
        reason : str
            In words, without personal data.
        spends_attempt : bool
            False where the receiver could not even be reached.

        Returns
        -------
        bool
            False where `owner` does not hold the lease; then nothing is written.

        Raises
        ------
        NotFound
        """
        return self._outcome(message_id, owner, MessageState.RETRY, reason, at=at, spends_attempt=spends_attempt)

    def unknown(
        self,
        message_id: str,
        owner: str,
        *,
        at: datetime,
        reason: str,
        ack_code: str | None = None,
        ack: bytes | None = None,
    ) -> bool:
        """Record that nobody knows whether the message arrived; the same bytes go out again at `at`.

        See `retry`; an attempt is always spent.
        """
        return self._outcome(message_id, owner, MessageState.UNKNOWN, reason, at=at, answer=(ack_code, ack))

    def park(
        self, message_id: str, owner: str, *, reason: str, ack_code: str | None = None, ack: bytes | None = None
    ) -> bool:
        """Record that the receiver refused the message; a person has to see to it. See `retry`."""
        return self._outcome(message_id, owner, MessageState.PARKED, reason, answer=(ack_code, ack))

    def resend(self, message_id: str) -> None:
        """Queue a parked, skipped or delivered message again: the same bytes, in its old place, with fresh attempts.

        Nothing happens where it is waiting already.

        Raises
        ------
        IllegalMove
            It is being sent, or will be by itself.
        NotFound
        """
        row = self._lock(message_id)
        if row.state is MessageState.WAITING:
            return
        self._move(row, MessageState.WAITING, reason=None)
        row.attempts = 0
        row.ack_code = row.ack = row.delivered_at = None

    def skip(self, message_id: str, reason: str) -> None:
        """Give up a message for good, so that those behind it can go.

        Raises
        ------
        IllegalMove
            It is being sent, or was delivered.
        NotFound
        """
        row = self._lock(message_id)
        if row.state is not MessageState.SKIPPED:
            self._move(row, MessageState.SKIPPED, reason=reason)

    def release_leases(self, owner_prefix: str) -> int:
        """End every lease whose owner's name begins so; for recovery when those senders are known to be dead.

        Whether their messages arrived is not known: they go out again at once, with an attempt spent.

        Returns
        -------
        int
            How many were ended.
        """
        query = select(Message).where(
            Message.state == MessageState.SENDING, Message.lease_owner.startswith(owner_prefix, autoescape=True)
        )
        rows = self._session.scalars(query.order_by(Message.position).with_for_update()).all()
        for row in rows:
            self._move(row, MessageState.UNKNOWN, reason="the sender ended while it was sending", spends_attempt=True)
        return len(rows)

    def get(self, message_id: str) -> MessageView:
        """Return one message.

        Raises
        ------
        NotFound
        """
        row = self._session.scalar(select(Message).where(Message.message_id == message_id))
        if row is None:
            raise NotFound(f"no message has the id {message_id}")
        return message_view(row)

    def of_case(self, case_id: str) -> tuple[MessageView, ...]:
        """Return the messages of a case, in the order in which they were queued."""
        return self._views(select(Message).where(Message.case_id == case_id))

    def list(self, state: MessageState | None = None, *, limit: int = 1000) -> tuple[MessageView, ...]:
        """Return the messages in one state (None: in any), in the order in which they were queued."""
        query = select(Message).limit(limit)
        return self._views(query if state is None else query.where(Message.state == state))

    def summary(self, destination: str | None = None) -> OutboxSummary:
        """Return counts by state and the age of the oldest message that is not done, for one destination or all."""
        chosen = [] if destination is None else [Message.destination == destination]
        by_state = select(Message.state, func.count()).where(*chosen).group_by(Message.state)
        counts = dict.fromkeys(MessageState, 0) | dict(self._session.execute(by_state).all())
        oldest = self._session.scalar(
            select(Message.created_at).where(UNFINISHED, *chosen).order_by(Message.position).limit(1)
        )
        return OutboxSummary(counts, oldest)

    def next_due_at(self, destination: str) -> datetime | None:
        """Return when the next planned attempt or the next end of a lease is due, or None where nothing is planned.

        A message that waits is due at once; one that is held back by another may be named too early, never too late.
        """
        now = self._context.clock()
        rows = self._session.execute(
            select(Message.state, func.min(Message.next_attempt_at), func.min(Message.lease_expires_at))
            .where(UNFINISHED, Message.destination == destination, Message.state != MessageState.PARKED)
            .group_by(Message.state)
        )
        times = [
            now if state is MessageState.WAITING else lease if state is MessageState.SENDING else planned
            for state, planned, lease in rows
        ]
        return min((time for time in times if time is not None), default=None)

    def _next(self, destination: str) -> Message | None:
        query = next_due(destination, self._context.clock()).with_for_update(skip_locked=True, of=Message)
        return self._session.scalar(query.execution_options(populate_existing=True))

    def _outcome(
        self,
        message_id: str,
        owner: str,
        target: MessageState,
        reason: str,
        *,
        at: datetime | None = None,
        spends_attempt: bool = True,
        answer: tuple[str | None, bytes | None] = (None, None),
    ) -> bool:
        row = self._lock(message_id)
        if not _sends(row, owner):
            return False
        row.ack_code, row.ack = answer
        self._move(row, target, reason=reason, at=at, spends_attempt=spends_attempt)
        return True

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
        self._audit(f"message {target}", row, came_from=current, why=reason or why, attempts=row.attempts, **detail)

    def _lock(self, message_id: str) -> Message:
        query = select(Message).where(Message.message_id == message_id).with_for_update()
        row = self._session.scalar(query.execution_options(populate_existing=True))
        if row is None:
            raise NotFound(f"no message has the id {message_id}")
        return row

    def _audit(self, action: str, row: Message, **detail: Any) -> None:
        self._context.audit(
            action,
            row.case_id,
            message=row.message_id,
            destination=row.destination,
            control_id=row.control_id,
            **detail,
        )

    def _views(self, query: Select[Message]) -> tuple[MessageView, ...]:
        return tuple(message_view(row) for row in self._session.scalars(query.order_by(Message.position)))


def _sends(row: Message, owner: str) -> bool:
    return row.state is MessageState.SENDING and row.lease_owner == owner
