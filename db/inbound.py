"""Received messages as they came: kept before anybody acts on them, with the answer that each was given.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import select

from db.context import Context
from db.errors import NotFound
from db.order_schema import InboundMessage
from db.order_views import InboundView, Received
from db.states import INBOUND_MOVES, InboundState, check_move

_TAKEN = (InboundState.RECEIVED, InboundState.APPLIED)


class Inbound:
    """The received messages within one transaction (`UnitOfWork.inbound`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def receive(self, sender: str, control_id: str, kind: str, body: bytes) -> Received:
        """Keep a message, once however often it comes.

        The same bytes are found again. Other bytes under a control id that this sender used for a message that was taken
        are kept as refused: one of the two is not what it says it is. A message that was refused may be sent corrected
        under its old control id.

        Parameters
        ----------
        sender, control_id, kind : str
            As the message names itself; empty where it does not.
        """
        table, sha256 = InboundMessage, hashlib.sha256(body).hexdigest()
        query = select(table).where(table.sender == sender, table.control_id == control_id)
        before = self._session.scalars(query.order_by(table.position.desc())).all()
        same = next((row for row in before if row.sha256 == sha256), None)
        if same is not None:
            self._context.audit("message repeated", None, message=same.message_id)
            return Received(inbound_view(same), known=True)
        clash = control_id != "" and any(row.state in _TAKEN for row in before)
        row = table(
            message_id=self._context.new_id(),
            sender=sender,
            control_id=control_id,
            kind=kind,
            body=body,
            sha256=sha256,
            state=InboundState.REFUSED if clash else InboundState.RECEIVED,
            received_at=self._context.clock(),
        )
        self._session.add(row)
        self._session.flush()
        self._context.audit("message received", None, message=row.message_id, sha256=sha256)
        return Received(inbound_view(row), clash=clash)

    def settle(
        self, message_id: str, state: InboundState, *, answer_code: str, answer: bytes, reason: str | None = None
    ) -> None:
        """Say what became of a message, and what its sender is told.

        Parameters
        ----------
        state : InboundState
        answer_code : str
            MSA-1.
        answer : bytes
            The whole acknowledgement.
        reason : str or None
            Why it was not applied; places, never contents.

        Raises
        ------
        IllegalMove
        NotFound
        """
        query = select(InboundMessage).where(InboundMessage.message_id == message_id).with_for_update()
        row = self._session.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            raise NotFound("no received message has this id")
        if row.state is not state:
            check_move(INBOUND_MOVES, row.state, state)
        row.state, row.reason = state, reason
        row.answer_code, row.answer, row.settled_at = answer_code, answer, self._context.clock()
        detail = {} if reason is None else {"reason": reason}
        self._context.audit(f"message {state}", None, message=message_id, answer=answer_code, **detail)

    def unsettled(self) -> tuple[InboundView, ...]:
        """Return the messages that were kept and not acted on, in the order they came; their senders have no answer."""
        query = select(InboundMessage).where(InboundMessage.state == InboundState.RECEIVED)
        return tuple(inbound_view(row) for row in self._session.scalars(query.order_by(InboundMessage.position)))

    def is_overtaken(self, message: InboundView) -> bool:
        """Whether a later message of the same sender was applied."""
        table = InboundMessage
        query = select(table.position).where(
            table.sender == message.sender, table.position > message.position, table.state == InboundState.APPLIED
        )
        return self._session.scalar(query.limit(1)) is not None

    def get(self, message_id: str) -> InboundView:
        """Return one received message.

        Raises
        ------
        NotFound
        """
        row = self._session.scalar(select(InboundMessage).where(InboundMessage.message_id == message_id))
        if row is None:
            raise NotFound("no received message has this id")
        return inbound_view(row)

    def find(self, control_id: str) -> tuple[InboundView, ...]:
        """Return the received messages with a control id, the latest first."""
        query = select(InboundMessage).where(InboundMessage.control_id == control_id)
        return tuple(inbound_view(row) for row in self._session.scalars(query.order_by(InboundMessage.position.desc())))

    def list(self, state: InboundState | None = None, *, limit: int = 1000) -> tuple[InboundView, ...]:
        """Return received messages in one state (None: in any), the latest first."""
        query = select(InboundMessage).order_by(InboundMessage.position.desc()).limit(limit)
        if state is not None:
            query = query.where(InboundMessage.state == state)
        return tuple(inbound_view(row) for row in self._session.scalars(query))


def inbound_view(row: InboundMessage) -> InboundView:
    """From a row to a value."""
    return InboundView(
        message_id=row.message_id,
        position=row.position,
        sender=row.sender,
        control_id=row.control_id,
        kind=row.kind,
        body=row.body,
        sha256=row.sha256,
        state=row.state,
        reason=row.reason,
        answer_code=row.answer_code,
        answer=row.answer,
        received_at=row.received_at,
        settled_at=row.settled_at,
    )
