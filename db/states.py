"""The state machines of cases, fields, messages, orders, instances and the like, each as one table of legal moves with the reason for each.

Whatever is not in a table is illegal. Staying in a state is no move: the methods that call these machines do nothing
when what they are asked for is already so.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from db.errors import IllegalMove


class CaseState(StrEnum):
    """Where a case stands. Delivery is the state of its messages, not of the case."""

    OPEN = "open"
    COMPLETE = "complete"
    ANALYSED = "analysed"
    REPORTED = "reported"
    SIGNED = "signed"
    HELD = "held"
    REJECTED = "rejected"


class FieldState(StrEnum):
    """Where a field stands; every accepted field ends in exactly one of the other two."""

    ACCEPTED = "accepted"
    ANALYSED = "analysed"
    QUARANTINED = "quarantined"


class MessageState(StrEnum):
    """Where an outbound message stands."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    RETRY = "retry"
    UNKNOWN = "unknown"
    PARKED = "parked"
    SKIPPED = "skipped"


class CommitmentState(StrEnum):
    """What an archive said about keeping an object."""

    DUE = "due"
    ASKED = "asked"
    COMMITTED = "committed"
    FAILED = "failed"


class OrderState(StrEnum):
    """Where an order of the LIS stands."""

    ORDERED = "ordered"
    CANCELLED = "cancelled"


class InboundState(StrEnum):
    """Where a received message stands."""

    RECEIVED = "received"
    APPLIED = "applied"
    REFUSED = "refused"
    FAILED = "failed"


class InstanceState(StrEnum):
    """Where an accepted DICOM instance stands."""

    RECEIVED = "received"
    ASSEMBLED = "assembled"
    REFUSED = "refused"
    CONFLICT = "conflict"


class ReportStatus(StrEnum):
    """Status of a report, HL7 table 0123 (W: table 0085). Which may follow which stands in `db.release_moves`."""

    PRELIMINARY = "P"
    FINAL = "F"
    CORRECTED = "C"
    NOT_OBTAINED = "X"
    WRONG_PATIENT = "W"


class Removable(StrEnum):
    """What a retention policy may take away of a case."""

    IMAGES = "images"
    CELLS = "cells"
    REPORTS = "reports"


class PledgeState(StrEnum):
    """Where a request stands that we commit ourselves to keep instances."""

    WAITING = "waiting"
    ANSWERED = "answered"
    GIVEN_UP = "given-up"


class HoldReason(StrEnum):
    """Why a case is held; a case may be held for several reasons at once."""

    NO_PATIENT = "no-patient"
    UNMATCHED_ORDER = "unmatched-order"
    CANCELLED_ORDER = "cancelled-order"
    CONFLICT = "conflict"
    FAILED_QUALITY = "failed-quality"
    ATTEMPTS = "attempts"
    UNSENDABLE = "unsendable"
    RESTORED = "restored"


_CASE = CaseState
CASE_MOVES: Mapping[tuple[CaseState, CaseState], str] = {
    (_CASE.OPEN, _CASE.COMPLETE): "every expected field is there, or none came for the configured time",
    (_CASE.OPEN, _CASE.HELD): "held before it was complete",
    (_CASE.OPEN, _CASE.REJECTED): "a person rejected it",
    (_CASE.COMPLETE, _CASE.OPEN): "a late field",
    (_CASE.COMPLETE, _CASE.ANALYSED): "every field has its outcome",
    (_CASE.COMPLETE, _CASE.HELD): "held before it was analysed",
    (_CASE.COMPLETE, _CASE.REJECTED): "a person rejected it",
    (_CASE.ANALYSED, _CASE.COMPLETE): "analysed anew with another model",
    (_CASE.ANALYSED, _CASE.OPEN): "a late field",
    (_CASE.ANALYSED, _CASE.REPORTED): "a report and its messages are committed",
    (_CASE.ANALYSED, _CASE.SIGNED): "a person signed what was held back until then",
    (_CASE.ANALYSED, _CASE.HELD): "held before it was reported",
    (_CASE.ANALYSED, _CASE.REJECTED): "a person rejected it",
    (_CASE.REPORTED, _CASE.COMPLETE): "analysed anew with another model: a new version follows",
    (_CASE.REPORTED, _CASE.OPEN): "a late field: a new version follows",
    (_CASE.REPORTED, _CASE.SIGNED): "a person signed the report",
    (_CASE.REPORTED, _CASE.HELD): "doubt arose after the preliminary report",
    (_CASE.REPORTED, _CASE.REJECTED): "a person rejected it",
    (
        _CASE.SIGNED,
        _CASE.COMPLETE,
    ): "analysed anew with another model: nothing leaves until a person signs the correction",
    (_CASE.SIGNED, _CASE.OPEN): "a late field: nothing leaves until a person signs the correction",
    (_CASE.SIGNED, _CASE.HELD): "doubt arose after the signature",
    (_CASE.SIGNED, _CASE.REJECTED): "a person withdrew it: it was reported for the wrong patient",
    (_CASE.HELD, _CASE.OPEN): "released to where it was",
    (_CASE.HELD, _CASE.COMPLETE): "released to where it was",
    (_CASE.HELD, _CASE.ANALYSED): "released to where it was",
    (_CASE.HELD, _CASE.REPORTED): "released to where it was",
    (_CASE.HELD, _CASE.SIGNED): "released to where it was",
    (_CASE.HELD, _CASE.REJECTED): "a person rejected it",
}
"""Legal moves of a case. From `HELD` a case leaves only to the state it came from, or to `REJECTED`."""

FIELD_MOVES: Mapping[tuple[FieldState, FieldState], str] = {
    (FieldState.ACCEPTED, FieldState.ANALYSED): "the model's findings are recorded",
    (FieldState.ACCEPTED, FieldState.QUARANTINED): "it could not be read or analysed; the file is kept",
}
"""Legal moves of a field."""

_SENT = MessageState
MESSAGE_MOVES: Mapping[tuple[MessageState, MessageState], str] = {
    (_SENT.WAITING, _SENT.SENDING): "a sender has taken it",
    (_SENT.WAITING, _SENT.PARKED): "its bytes are not those that were frozen, or its attempts are spent",
    (_SENT.WAITING, _SENT.SKIPPED): "a person skipped it",
    (_SENT.SENDING, _SENT.WAITING): "it was given back without having been sent",
    (_SENT.SENDING, _SENT.DELIVERED): "the receiver accepted it",
    (_SENT.SENDING, _SENT.RETRY): "it did not arrive, or is to be tried again",
    (_SENT.SENDING, _SENT.UNKNOWN): "no valid answer came: the same bytes go out again",
    (_SENT.SENDING, _SENT.PARKED): "the receiver refused it",
    (_SENT.RETRY, _SENT.SENDING): "its time has come",
    (_SENT.RETRY, _SENT.DELIVERED): "the answer to an earlier attempt came late",
    (_SENT.RETRY, _SENT.PARKED): "its bytes are not those that were frozen, or its attempts are spent",
    (_SENT.RETRY, _SENT.SKIPPED): "a person skipped it",
    (_SENT.UNKNOWN, _SENT.SENDING): "its time has come",
    (_SENT.UNKNOWN, _SENT.DELIVERED): "the answer to an earlier attempt came late",
    (_SENT.UNKNOWN, _SENT.PARKED): "its bytes are not those that were frozen, or its attempts are spent",
    (_SENT.UNKNOWN, _SENT.SKIPPED): "a person skipped it",
    (_SENT.PARKED, _SENT.WAITING): "a person sends it again",
    (_SENT.PARKED, _SENT.DELIVERED): "the answer to an earlier attempt came late",
    (_SENT.PARKED, _SENT.SKIPPED): "a person skipped it",
    (_SENT.DELIVERED, _SENT.WAITING): "a person sends it again",
    (_SENT.DELIVERED, _SENT.PARKED): "the archive took it and does not commit itself to keep it",
    (_SENT.SKIPPED, _SENT.WAITING): "a person sends it again",
}
"""Legal moves of a message. `WAITING` never becomes `DELIVERED`: it was not sent."""

ORDER_MOVES: Mapping[tuple[OrderState, OrderState], str] = {
    (OrderState.ORDERED, OrderState.CANCELLED): "the LIS cancelled it or holds it back",
    (OrderState.CANCELLED, OrderState.ORDERED): "the LIS ordered it again",
}
"""Legal moves of an order. A change to a cancelled order does not order it again."""

INBOUND_MOVES: Mapping[tuple[InboundState, InboundState], str] = {
    (InboundState.RECEIVED, InboundState.APPLIED): "what it tells is recorded",
    (InboundState.RECEIVED, InboundState.REFUSED): "it cannot be used, and its sender is told why",
    (InboundState.RECEIVED, InboundState.FAILED): "a fault on our side, and its sender is told so",
    (InboundState.FAILED, InboundState.APPLIED): "it came again",
    (InboundState.FAILED, InboundState.REFUSED): "it came again, and cannot be used",
}
"""Legal moves of a received message."""

INSTANCE_MOVES: Mapping[tuple[InstanceState, InstanceState], str] = {
    (InstanceState.RECEIVED, InstanceState.ASSEMBLED): "its fields joined a case",
    (InstanceState.RECEIVED, InstanceState.REFUSED): "it cannot be used; the file is kept",
}
"""Legal moves of an instance. A conflict is one from the start and for ever."""

PLEDGE_MOVES: Mapping[tuple[PledgeState, PledgeState], str] = {
    (PledgeState.WAITING, PledgeState.ANSWERED): "its requester took the answer",
    (PledgeState.WAITING, PledgeState.GIVEN_UP): "its requester was not to be reached for too long",
    (PledgeState.ANSWERED, PledgeState.WAITING): "it was asked again",
    (PledgeState.GIVEN_UP, PledgeState.WAITING): "it was asked again",
}
"""Legal moves of a request for commitment."""

CLOSED_CASES: frozenset[CaseState] = frozenset({CaseState.REJECTED})
"""States in which no field joins a case any more; the next one under its accession begins a new case."""

DONE_MESSAGES: frozenset[MessageState] = frozenset({MessageState.DELIVERED, MessageState.SKIPPED})
"""States in which a message lets those behind it in its order key go."""

State = TypeVar("State", CaseState, FieldState, MessageState, OrderState, InboundState, InstanceState, PledgeState)


def check_move(moves: Mapping[tuple[State, State], str], current: State, target: State) -> str:
    """Return the reason for a legal move.

    Raises
    ------
    IllegalMove
        The table has no such move.
    """
    reason = moves.get((current, target))
    if reason is None:
        legal = ", ".join(sorted(end for start, end in moves if start == current)) or "nothing"
        message = f"no move leads from {current} to {target}; from {current} it may go to: {legal}"
        raise IllegalMove(message)
    return reason


def check_case_move(current: CaseState, target: CaseState, return_state: CaseState | None) -> str:
    """Return the reason for a legal move of a case, which from `HELD` depends on where the case came from.

    Parameters
    ----------
    return_state : CaseState or None
        Where a held case came from; None for a case that is not held.

    Raises
    ------
    IllegalMove
        The table has no such move, or the case was held in another state than `target`.
    """
    reason = check_move(CASE_MOVES, current, target)
    if current is CaseState.HELD and target not in (return_state, CaseState.REJECTED):
        message = f"a case that was held at {return_state} is released to it, not to {target}"
        raise IllegalMove(message)
    return reason
