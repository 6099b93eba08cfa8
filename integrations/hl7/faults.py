"""How a receiving system may misbehave: the 17 faults of the simulator, each a few lines.

An answer takes the peer and the received message, and returns whether the connection stays open.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from integrations.hl7.ack import MAX_ACK_BYTES, AckCode
from integrations.hl7.framing import frame


class Fault(StrEnum):
    """What the simulator does wrong; `does` says it in words."""

    REFUSE = "refuse"
    RESET = "reset"
    SILENT = "silent"
    HALF_OPEN = "half-open"
    SLOW = "slow"
    SPLIT_ACK = "split-ack"
    DOUBLE_ACK = "double-ack"
    WRONG_ID = "wrong-id"
    AE = "ae"
    AR = "ar"
    CR = "cr"
    GARBAGE = "garbage"
    HUGE_ACK = "huge-ack"
    LATE_ACK = "late-ack"
    LF_LINES = "lf-lines"
    CLOSE_AFTER_RECEIPT = "close-after-receipt"
    ONE_SESSION = "one-session"

    @property
    def does(self) -> str:
        """What a peer notices of it."""
        return _DOES[self]


_DOES: Mapping[Fault, str] = MappingProxyType(
    {
        Fault.REFUSE: "nobody listens: connecting fails",
        Fault.RESET: "the connection is reset once the message is there",
        Fault.SILENT: "takes messages and never answers",
        Fault.HALF_OPEN: "accepts, then neither reads nor closes",
        Fault.SLOW: "the acknowledgement comes byte by byte",
        Fault.SPLIT_ACK: "the acknowledgement comes in three pieces",
        Fault.DOUBLE_ACK: "every acknowledgement comes twice",
        Fault.WRONG_ID: "acknowledges another message",
        Fault.AE: "answers every message AE: application error",
        Fault.AR: "answers every message AR: rejected",
        Fault.CR: "answers every message CR: not committed (enhanced mode)",
        Fault.GARBAGE: "a block that is no HL7",
        Fault.HUGE_ACK: "a valid acknowledgement of many times the allowed size",
        Fault.LATE_ACK: "each acknowledgement comes only when the next message is there",
        Fault.LF_LINES: "segments end in LF",
        Fault.CLOSE_AFTER_RECEIPT: "the message is kept, the connection closed, no answer",
        Fault.ONE_SESSION: "a second connection is closed at once while the first is open",
    }
)


class Peer(Protocol):
    """What an answer can do."""

    @property
    def socket(self) -> socket.socket:
        """The connection."""
        ...

    def ack(self, message: bytes, code: AckCode = AckCode.AA, answers: str | None = None) -> bytes:
        """Build an acknowledgement."""
        ...

    def pause(self) -> bool:
        """Wait a little; False when the simulator is being stopped."""
        ...

    def swap_late(self, answer: bytes) -> bytes:
        """Keep this answer for the next message, and return the one kept before (or nothing)."""
        ...


Answer = Callable[[Peer, bytes], bool]


def _properly(peer: Peer, message: bytes) -> bool:
    peer.socket.sendall(frame(peer.ack(message)))
    return True


def _with_code(code: AckCode) -> Answer:
    def answer(peer: Peer, message: bytes) -> bool:
        peer.socket.sendall(frame(peer.ack(message, code)))
        return True

    return answer


def _reset(peer: Peer, _message: bytes) -> bool:
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def _silent(_peer: Peer, _message: bytes) -> bool:
    return True


def _slow(peer: Peer, message: bytes) -> bool:
    block = frame(peer.ack(message))
    for position in range(len(block)):
        peer.socket.sendall(block[position : position + 1])
        if not peer.pause():
            return False
    return True


def _split(peer: Peer, message: bytes) -> bool:
    block = frame(peer.ack(message))
    for piece in (block[:5], block[5:-1], block[-1:]):
        peer.socket.sendall(piece)
        if not peer.pause():
            return False
    return True


def _twice(peer: Peer, message: bytes) -> bool:
    peer.socket.sendall(frame(peer.ack(message)) * 2)
    return True


def _wrong_id(peer: Peer, message: bytes) -> bool:
    peer.socket.sendall(frame(peer.ack(message, answers="NOTYOURS")))
    return True


def _garbage(peer: Peer, _message: bytes) -> bool:
    peer.socket.sendall(frame(bytes(byte for byte in range(256) if byte not in (0x0B, 0x1C))))
    return True


def _huge(peer: Peer, message: bytes) -> bool:
    peer.socket.sendall(frame(peer.ack(message) + b"NTE|1||" + b"x" * (64 * MAX_ACK_BYTES) + b"\r"))
    return True


def _late(peer: Peer, message: bytes) -> bool:
    peer.socket.sendall(peer.swap_late(frame(peer.ack(message))))
    return True


def _lf_lines(peer: Peer, message: bytes) -> bool:
    peer.socket.sendall(frame(peer.ack(message).replace(b"\r", b"\n")))
    return True


def _close(_peer: Peer, _message: bytes) -> bool:
    return False


_ANSWERS: Mapping[Fault, Answer] = MappingProxyType(
    {
        Fault.RESET: _reset,
        Fault.SILENT: _silent,
        Fault.SLOW: _slow,
        Fault.SPLIT_ACK: _split,
        Fault.DOUBLE_ACK: _twice,
        Fault.WRONG_ID: _wrong_id,
        Fault.AE: _with_code(AckCode.AE),
        Fault.AR: _with_code(AckCode.AR),
        Fault.CR: _with_code(AckCode.CR),
        Fault.GARBAGE: _garbage,
        Fault.HUGE_ACK: _huge,
        Fault.LATE_ACK: _late,
        Fault.LF_LINES: _lf_lines,
        Fault.CLOSE_AFTER_RECEIPT: _close,
    }
)


def answer_for(fault: Fault | None) -> Answer:
    """The answer under a fault; a proper AA for none, and for those that act on connections instead."""
    return _properly if fault is None else _ANSWERS.get(fault, _properly)
