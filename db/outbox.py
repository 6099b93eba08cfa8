"""The outbox: messages with frozen bytes, each with its fate.

Messages of one order key at one destination leave one after the other; one that is parked or waits for its next attempt
holds back those behind it, and no others. How they leave stands in `db.deliveries`.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import func, select, update

from db.deliveries import MAX_ATTEMPTS, Deliveries
from db.errors import IllegalMove
from db.object_schema import Commitment
from db.queue import message_view
from db.schema import Message
from db.states import DONE_MESSAGES, CommitmentState, MessageState
from db.views import MessageView

__all__ = ["MAX_ATTEMPTS", "Outbox"]

SETTLED = DONE_MESSAGES | {MessageState.PARKED}
"""States in which a message waits for nothing but a person."""


class Outbox(Deliveries):
    """The outbox within one transaction (`UnitOfWork.outbox`)."""

    def enqueue(
        self,
        case_id: str,
        revision: int,
        destination: str,
        *,
        order_key: str,
        control_id: str,
        body: bytes,
        part: str = "",
    ) -> MessageView:
        """Freeze a message and queue it.

        The first message for a case, revision, destination and part stands: called again it is returned as it is, whatever
        the new bytes are.

        Parameters
        ----------
        order_key : str
            Messages with the same key reach the destination in the order in which they were queued.
        control_id : str
            MSH-10 of `body`, unique.
        part : str
            SOP instance UID of the DICOM object that `body` names; empty for HL7.

        Raises
        ------
        NotFound
            There is no such case.
        """
        self._context.lock_case(case_id)
        known = self._session.scalar(
            select(Message).where(
                Message.case_id == case_id,
                Message.revision == revision,
                Message.destination == destination,
                Message.part == part,
                Message.edition == 1,
            )
        )
        if known is not None:
            return message_view(known)
        row = Message(
            case_id=case_id,
            revision=revision,
            destination=destination,
            part=part,
            edition=1,
            order_key=order_key,
            control_id=control_id,
            body=body,
        )
        return self._add(row)

    def resend(self, message_id: str) -> None:
        """Queue a parked, skipped or delivered message again: the same bytes, in its old place, with fresh attempts.

        Nothing happens where it is waiting already.

        Raises
        ------
        IllegalMove
            It is being sent, or will be by itself; or another message superseded it.
        NotFound
        """
        row = self._lock(message_id)
        if row.state is MessageState.WAITING:
            return
        if row.state not in SETTLED:
            raise IllegalMove(f"message {row.control_id} is {row.state}: it is being sent, or will be by itself")
        successor = self._successor(row)
        if successor is not None:
            raise IllegalMove(f"message {row.control_id} was superseded by {successor.control_id}; send that one")
        self._move(row, MessageState.WAITING, reason=None)
        row.attempts = 0
        row.ack_code = row.ack = row.ack_seconds = row.delivered_at = row.batch = None
        asked = update(Commitment).where(Commitment.message_id == message_id)
        self._session.execute(asked.values(state=CommitmentState.DUE, requests=0, reason=None, settled_at=None))

    def uncommitted(self, message_id: str, reason: str) -> None:
        """Record that an archive took the message's object and does not keep it; nothing happens where it waits again.

        Raises
        ------
        NotFound
        """
        row = self._lock(message_id)
        if row.state is MessageState.DELIVERED:
            self._move(row, MessageState.PARKED, reason=reason)
            row.delivered_at = None

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

    def supersede(self, message_id: str, *, control_id: str, body: bytes) -> MessageView:
        """Queue a corrected message in place of a parked one, which is skipped and kept with its history.

        Parameters
        ----------
        control_id : str
            MSH-10 of `body`; another than the parked message's.

        Raises
        ------
        IllegalMove
            The message is not parked, or a later one of its order key waits behind it or has left: the corrected one would
            come after that.
        NotFound
        """
        row = self._lock(message_id)
        successor = self._successor(row)
        if successor is not None and successor.control_id == control_id:
            return message_view(successor)
        if row.state is not MessageState.PARKED:
            raise IllegalMove(f"only a parked message is edited; {row.control_id} is {row.state}")
        if self._has_later(row):
            raise IllegalMove(
                f"a later message of the same case follows {row.control_id}; skip this one, and edit the later one if needed"
            )
        self._move(row, MessageState.SKIPPED, reason=f"superseded by {control_id}")
        corrected = Message(
            case_id=row.case_id,
            revision=row.revision,
            destination=row.destination,
            part=row.part,
            edition=row.edition + 1,
            supersedes=row.message_id,
            order_key=row.order_key,
            control_id=control_id,
            body=body,
        )
        return self._add(corrected, supersedes=row.message_id)

    def _add(self, row: Message, **detail: str) -> MessageView:
        row.message_id = self._context.new_id()
        row.sha256 = hashlib.sha256(row.body).hexdigest()
        row.state = MessageState.WAITING
        row.attempts = 0
        row.created_at = self._context.clock()
        self._session.add(row)
        self._session.flush()
        self._audit("message queued", row, revision=row.revision, sha256=row.sha256, **detail)
        return message_view(row)

    def _successor(self, row: Message) -> Message | None:
        return self._session.scalar(select(Message).where(Message.supersedes == row.message_id))

    def _has_later(self, row: Message) -> bool:
        query = select(func.count()).where(
            Message.case_id == row.case_id,
            Message.destination == row.destination,
            Message.order_key == row.order_key,
            Message.position > row.position,
            Message.state != MessageState.SKIPPED,
        )
        return bool(self._session.scalar(query))
