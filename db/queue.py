"""The order in which messages leave."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, or_, select
from sqlalchemy.orm import aliased

from db.schema import UNFINISHED, Message
from db.states import DONE_MESSAGES, MessageState
from db.views import MessageView

DUE = (MessageState.WAITING, MessageState.RETRY, MessageState.UNKNOWN)


def is_due(destination: str, now: datetime) -> ColumnElement[bool]:
    """Return the condition under which a message may leave now: it is due and has none before it in its order key.

    One whose sender let the lease run out is due as well.
    """
    earlier = aliased(Message)
    # Written out in the statement: with a parameter in its place neither database would use the partial index.
    done: BindParameter[Any] = bindparam("done", sorted(DONE_MESSAGES), expanding=True, literal_execute=True)
    planned = and_(Message.state.in_(DUE), or_(Message.next_attempt_at.is_(None), Message.next_attempt_at <= now))
    abandoned = and_(Message.state == MessageState.SENDING, Message.lease_expires_at <= now)
    held_back = (
        select(earlier.position)
        .where(
            earlier.destination == destination,
            earlier.order_key == Message.order_key,
            earlier.position < Message.position,
            earlier.state.not_in(done),
        )
        .exists()
    )
    return and_(UNFINISHED, Message.destination == destination, or_(planned, abandoned), ~held_back)


def message_view(row: Message) -> MessageView:
    """From a row to a value."""
    return MessageView(
        message_id=row.message_id,
        position=row.position,
        case_id=row.case_id,
        revision=row.revision,
        destination=row.destination,
        part=row.part,
        edition=row.edition,
        supersedes=row.supersedes,
        order_key=row.order_key,
        control_id=row.control_id,
        body=row.body,
        sha256=row.sha256,
        state=row.state,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        lease_owner=row.lease_owner,
        lease_expires_at=row.lease_expires_at,
        reason=row.reason,
        ack_code=row.ack_code,
        ack=row.ack,
        ack_seconds=row.ack_seconds,
        batch=row.batch,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
    )
