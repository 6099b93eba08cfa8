"""The sender's side of the outbox: messages taken with a lease, and what became of them.

A sender takes several messages at once, each the first of its order key, and all of them are *sending* in the database
before the first byte leaves. When a lease runs out nobody knows whether the message arrived: the next sender sends the same
bytes with the same control id again. What was tried before is taken alone, so that a message which ends its sender each
time spends no attempts but its own.

Each method that records an outcome takes the sender's name: what a sender says after it lost its lease counts only if the
message was delivered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select

from db.message_rows import MessageRows
from db.queue import is_due, message_view
from db.schema import Message
from db.states import MESSAGE_MOVES, MessageState
from db.views import MessageView

MAX_ATTEMPTS = 10
CLAIM_BYTES = 4 * 1024 * 1024
"""Most bytes of messages that are taken at once; one message may have more."""


class Deliveries(MessageRows):
    """What a sender does in one transaction."""

    def claim_due(
        self,
        destination: str,
        owner: str,
        lease_seconds: float,
        *,
        most: int = 1,
        in_one_file: bool = False,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> tuple[MessageView, ...]:
        """Take the next messages that are due at a destination.

        A message whose bytes are not those that were frozen, or whose attempts are spent, is parked instead.

        Parameters
        ----------
        owner : str
            Unique to the sender's run.
        lease_seconds : float
            Longer than the longest attempt may take.
        most : int
            At most so many at once; no two of one order key.
        in_one_file : bool
            Whether they leave together: they get the number of a file, and after a crash the same ones are taken again.

        Returns
        -------
        tuple of MessageView
            In the order of the queue: those that are *sending* now, and those that were parked.
        """
        moved: list[Message] = []
        while rows := self._next(destination, most, in_one_file=in_one_file):
            for row in rows:
                self._take(row, owner, lease_seconds, max_attempts)
            moved += rows
            taken = [row for row in rows if row.state is MessageState.SENDING]
            if taken:
                if in_one_file:
                    self._number(destination, taken)
                break
            self._session.flush()
        return tuple(message_view(row) for row in moved)

    def lock(self, message_ids: Sequence[str]) -> None:
        """Lock messages whose outcomes follow in this transaction: one question to the database instead of one each."""
        self._lock_all(message_ids)

    def renew(self, message_id: str, owner: str, lease_seconds: float) -> bool:
        """Prolong a lease; False when `owner` does not hold it any more and must stop."""
        row = self._lock(message_id)
        if not _sends(row, owner):
            return False
        row.lease_expires_at = self._context.clock() + timedelta(seconds=lease_seconds)
        return True

    def give_back(self, message_id: str, owner: str, *, reason: str) -> bool:
        """Give back a message of which not one byte left; no attempt is spent. See `retry` for what is returned."""
        row = self._lock(message_id)
        if not _sends(row, owner):
            return False
        row.batch = None
        tried = row.attempts > 0
        self._move(
            row,
            MessageState.RETRY if tried else MessageState.WAITING,
            reason=reason,
            at=self._context.clock() if tried else None,
        )
        return True

    def delivered(
        self,
        message_id: str,
        owner: str,
        *,
        ack_code: str | None,
        ack: bytes | None,
        seconds: float | None = None,
        reason: str | None = None,
    ) -> bool:
        """Record that the receiver accepted the message; true even after the lease was lost.

        Parameters
        ----------
        ack_code, ack
            None where the way there knows no answers.
        seconds : float or None
            How long the answer took.
        reason : str or None
            Where the message went, for a way without answers.

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
        row.ack_code, row.ack, row.ack_seconds, row.delivered_at = ack_code, ack, seconds, self._context.clock()
        self._move(
            row,
            MessageState.DELIVERED,
            reason=reason,
            ack_code=ack_code,
            spends_attempt=row.state is MessageState.SENDING,
        )
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

    # ----------------------------------------------------------------------------------------------------------- inside
    def _next(self, destination: str, most: int, *, in_one_file: bool) -> Sequence[Message]:
        """Lock and load what is taken together: first ones of their order keys, by their place in the queue."""
        due = select(Message.position, Message.state, Message.attempts, Message.batch, func.length(Message.body))
        due = due.where(is_due(destination, self._context.clock())).order_by(Message.position)
        first = self._session.execute(due.limit(most).with_for_update(skip_locked=True, of=Message)).all()
        if in_one_file and first and first[0].batch is not None:
            same_file = due.where(Message.batch == first[0].batch)
            first = self._session.execute(same_file.with_for_update(skip_locked=True, of=Message)).all()
            positions = [position for position, *_ in first]
        elif in_one_file:
            positions = _fitting([(position, size) for position, _, _, batch, size in first if batch is None])
        else:
            fresh = [
                (position, size)
                for position, state, attempts, _, size in first
                if attempts == 0 and state is not MessageState.SENDING
            ]
            if first and (not fresh or fresh[0][0] != first[0].position):
                fresh = [(first[0].position, 0)]
            positions = _fitting(fresh)
        if not positions:
            return []
        rows = select(Message).where(Message.position.in_(positions)).order_by(Message.position)
        return self._session.scalars(rows.execution_options(populate_existing=True)).all()

    def _take(self, row: Message, owner: str, lease_seconds: float, max_attempts: int) -> None:
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

    def _number(self, destination: str, rows: Sequence[Message]) -> None:
        """Give what leaves in one file the file's number; one that was begun before keeps its own."""
        number = rows[0].batch
        if number is None:
            known = select(func.max(Message.batch)).where(
                Message.destination == destination, Message.batch.is_not(None)
            )
            number = (self._session.scalar(known) or 0) + 1
        for row in rows:
            row.batch = number

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


def _sends(row: Message, owner: str) -> bool:
    return row.state is MessageState.SENDING and row.lease_owner == owner


def _fitting(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """The first positions whose messages together are not too large; at least one."""
    positions: list[int] = []
    total = 0
    for position, size in sizes:
        total += size
        if positions and total > CLAIM_BYTES:
            break
        positions.append(position)
    return positions
