"""What monitoring is told: counts and ages, and what happened since it last asked; nothing that names a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from db.states import CaseState, FieldState, HoldReason, InboundState, InstanceState, MessageState


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """Cases in one state.

    Attributes
    ----------
    count : int
    oldest_at : datetime or None
        When the last image came of the case for which that is longest ago; None without any case.
    """

    count: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class DestinationFigures:
    """Messages of one destination that are not done.

    Attributes
    ----------
    counts : mapping
        By state; done ones are left out.
    oldest_at : datetime or None
        Since when the oldest waits, parked ones included.
    """

    counts: Mapping[MessageState, int]
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand.

    Attributes
    ----------
    cases : mapping
        Every state.
    held : mapping
        Cases by the reason for which they are held; a case may be held for several.
    fields, instances, inbound : mapping
        Fields, received DICOM instances and received HL7 messages by state; every state.
    outbox : mapping
        By destination; those with messages that are not done.
    """

    cases: Mapping[CaseState, CaseFigures]
    held: Mapping[HoldReason, int]
    fields: Mapping[FieldState, int]
    instances: Mapping[InstanceState, int]
    inbound: Mapping[InboundState, int]
    outbox: Mapping[str, DestinationFigures]


@dataclass(frozen=True, slots=True)
class AnalysedField:
    """A field that was analysed.

    Attributes
    ----------
    seconds : float
        Of the model process, all passes together.
    passes : int
    waited_seconds : float
        From its arrival to its findings.
    refused_for : tuple of str
        Why it is not counted; empty where it is.
    """

    seconds: float
    passes: int
    waited_seconds: float
    refused_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TriedMessage:
    """A message that was tried.

    Attributes
    ----------
    outcome : MessageState
        Delivered, retry (rejected for now), unknown (no valid answer) or parked (refused).
    ack_seconds : float or None
        Until the answer; of delivered ones.
    """

    destination: str
    outcome: MessageState
    ack_seconds: float | None


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in a stretch of the audit log.

    Attributes
    ----------
    until : int
        Number of the last event that was looked at.
    quarantined : int
        Fields that could not be analysed, and files that never became one.
    """

    until: int
    fields: tuple[AnalysedField, ...]
    messages: tuple[TriedMessage, ...]
    quarantined: int
