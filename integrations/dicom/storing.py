"""How an attempt to store an object at an archive ended, whatever the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class StoreOutcome(StrEnum):
    """What is known after an attempt."""

    ACCEPTED = "accepted"  # the archive says that it has it
    REFUSED = "refused"  # the archive does not take this object, now or later: a person must look
    BUSY = "busy"  # the archive takes nothing at present; nothing was stored
    NOT_SENT = "not sent"  # the archive could not be reached, or does not know us
    UNKNOWN = "unknown"  # bytes left, and no answer came: the same bytes are to be sent again


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """One attempt.

    Attributes
    ----------
    outcome : StoreOutcome
    code : str
        What the archive answered, such as ``0xA700`` or ``HTTP 409, 0x0122``; empty without an answer.
    reason : str
        In words, without content.
    seconds : float
        From the call to its end.
    """

    outcome: StoreOutcome
    code: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FrozenObject:
    """An object's file (PS3.10) as it was frozen.

    Attributes
    ----------
    path : Path
    sop_class_uid, sop_instance_uid, transfer_syntax_uid : str
        As its file meta group says.
    size_bytes : int
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    size_bytes: int


SLOWEST_BYTES_PER_SECOND = 64 * 1024
"""Slower than this nothing is sent: with it the time that an attempt may take is known beforehand."""

_SUCCESS = 0x0000
_DUPLICATE = 0x0111
_WARNINGS = frozenset({0x0001, 0xB000, 0xB006, 0xB007})  # PS3.7 annex C.1, PS3.4 table B.2-1: stored, with remarks
_WORDS = {
    0x0110: "it failed to process it",
    0x0117: "it does not accept its SOP instance UID",
    0x0122: "it does not store objects of this class",
    0x0124: "we are not allowed to store this there",
    0x0210: "it has seen this message before",
    0x0211: "it does not know the operation",
}


def outcome_of(status: int) -> tuple[StoreOutcome, str]:
    """What a C-STORE status, or the failure reason of STOW-RS, means (PS3.4 table B.2-1, PS3.7 annex C).

    Returns
    -------
    tuple
        The outcome and why, in words.
    """
    if status == _SUCCESS:
        return StoreOutcome.ACCEPTED, "the archive stored it"
    if status in _WARNINGS:
        return StoreOutcome.ACCEPTED, f"the archive stored it, with the warning 0x{status:04X}"
    if status == _DUPLICATE:
        # The UID is ours, and whatever is sent under it has the same bytes.
        return StoreOutcome.ACCEPTED, "the archive has it already"
    if status & 0xFF00 == 0xA700:
        return StoreOutcome.BUSY, "the archive is out of resources"
    if status & 0xFF00 == 0xA900:
        return StoreOutcome.REFUSED, "the archive says that it does not match its class"
    if status & 0xF000 == 0xC000:
        return StoreOutcome.REFUSED, "the archive cannot understand it"
    return StoreOutcome.REFUSED, "the archive refused it: " + _WORDS.get(status, "it does not say why")


def longest_attempt(timeout_seconds: float, size_bytes: int) -> float:
    """Seconds that an attempt may take."""
    return 2 * timeout_seconds + size_bytes / SLOWEST_BYTES_PER_SECOND
