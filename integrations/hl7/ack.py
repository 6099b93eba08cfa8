"""Acknowledgements: read, built, and what each means for the message that was sent.

The reader is our own few lines rather than hl7apy: it has to look at bytes a stranger chose, and needs four fields of
them. hl7apy would build the whole tree first (20 ms for a small message, 46 s for one of 20,000 segments).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from integrations.errors import AckUnreadable
from integrations.hl7.er7 import Segment, read_separators, split_segments

MAX_ACK_BYTES = 64 * 1024
MAX_ACK_SEGMENTS = 100


class AckCode(StrEnum):
    """MSA-1, HL7 table 0008: the first three of the original mode, the last three of the enhanced mode's commit."""

    AA = "AA"
    AE = "AE"
    AR = "AR"
    CA = "CA"
    CE = "CE"
    CR = "CR"


class Decision(StrEnum):
    """What becomes of a message after an attempt."""

    DELIVERED = "delivered"
    AWAIT = "await"  # committed by the receiver; its application acknowledgement is still to come
    PARK = "park"  # a person must look; only this message's own order key is blocked
    RETRY = "retry"  # a few times, spending attempts, then park
    RESEND = "resend"  # the same bytes and control id, spending attempts up to a cap, then park
    BACKOFF = "backoff"  # nothing was sent: wait longer each time, spending no attempts


class Outcome(StrEnum):
    """How an attempt to deliver ended, seen from the wire."""

    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledgement.

    Attributes
    ----------
    code : AckCode
    control_id : str
        MSA-2: the control id of the message it answers; may be empty.
    text : str
        MSA-3 or the first user message of ERR, still escaped. It may repeat personal data: for the database and a
        person's screen, not for logs, and so not in the `repr`.
    """

    code: AckCode
    control_id: str
    text: str = field(default="", repr=False)

    @property
    def outcome(self) -> Outcome:
        """Whether the receiver took the message."""
        return Outcome.ACKNOWLEDGED if self.code in (AckCode.AA, AckCode.CA) else Outcome.REJECTED


# What each answer means; AWAIT is for a profile that asks for an application acknowledgement.
_BY_CODE: Mapping[AckCode, Decision] = MappingProxyType(
    {
        AckCode.AA: Decision.DELIVERED,
        AckCode.AE: Decision.PARK,
        AckCode.AR: Decision.RETRY,
        AckCode.CA: Decision.DELIVERED,
        AckCode.CE: Decision.PARK,
        AckCode.CR: Decision.RETRY,
    }
)


@dataclass(frozen=True, slots=True)
class AckPolicy:
    """How one destination's answers are read.

    Attributes
    ----------
    wants_application_ack : bool
        Whether a commit acknowledgement (CA) is not yet the end (enhanced mode).
    overrides : mapping of AckCode to Decision
        Where the site's receiver means something else than the table.
    """

    wants_application_ack: bool = False
    overrides: Mapping[AckCode, Decision] = field(default_factory=dict)

    def decide(self, outcome: Outcome, code: AckCode | None = None) -> Decision:
        """Say what becomes of the message.

        Parameters
        ----------
        outcome : Outcome
        code : AckCode or None
            Needed when the receiver answered.
        """
        if outcome is Outcome.REFUSED:
            return Decision.BACKOFF
        if outcome is Outcome.UNKNOWN or code is None:
            return Decision.RESEND
        if code in self.overrides:
            return self.overrides[code]
        if code is AckCode.CA and self.wants_application_ack:
            return Decision.AWAIT
        return _BY_CODE[code]


def read_ack(body: bytes, max_bytes: int = MAX_ACK_BYTES) -> Ack:
    """Read an acknowledgement out of the bytes of one MLLP block.

    Any message with an MSA segment is taken for one, whatever MSH-9 says; lines may end in CR, LF or both.

    Raises
    ------
    AckUnreadable
        If it is too large, no HL7, without MSA, or with an unknown code. The content is never quoted.
    """
    if len(body) > max_bytes:
        raise AckUnreadable(f"the acknowledgement has {len(body)} bytes, more than {max_bytes}")
    # Only ASCII matters here; a wrong guess at the character set must not lose an AA.
    text = body.decode("utf-8", errors="replace")
    try:
        segments = split_segments(text, MAX_ACK_SEGMENTS)
    except ValueError as error:
        raise AckUnreadable(f"the acknowledgement {error}") from None
    msa = next((segment for segment in segments if segment.name == "MSA"), None)
    if msa is None:
        raise AckUnreadable("the acknowledgement has no MSA segment")
    try:
        code = AckCode(msa.field(1).strip())
    except ValueError:
        raise AckUnreadable("the acknowledgement's MSA-1 is none of AA, AE, AR, CA, CE, CR") from None
    return Ack(code, msa.field(2).strip(), msa.field(3) or _error_text(segments))


def _error_text(segments: tuple[Segment, ...]) -> str:
    for segment in segments:
        if segment.name == "ERR":
            return segment.field(8) or segment.field(3) or segment.field(1)
    return ""


def build_ack(message: bytes, code: AckCode, *, control_id: str, now: datetime, answers: str | None = None) -> bytes:
    """Build the acknowledgement of a received message (ACK, 2.5.1).

    Parameters
    ----------
    message : bytes
        What was received; its sender becomes the receiver. Need not be HL7.
    code : AckCode
    control_id : str
        MSH-10 of the acknowledgement itself.
    now : datetime
        With its zone.
    answers : str or None
        MSA-2; None for the received message's own control id.
    """
    header = _header(message)
    sender, receiver = (header.field(3), header.field(4)), (header.field(5), header.field(6))
    event = "^".join(["ACK", *header.field(9).split("^")[1:2], "ACK"]) if header.field(9) else "ACK"
    fields = ["MSH", "^~\\&", *receiver, *sender, now.strftime("%Y%m%d%H%M%S%z"), "", event, control_id]
    fields += [header.field(11) or "P", "2.5.1"]
    msa = ["MSA", code.value, header.field(10) if answers is None else answers]
    return ("|".join(fields) + "\r" + "|".join(msa) + "\r").encode("utf-8", errors="replace")


def _header(message: bytes) -> Segment:
    first = message[:4096].replace(b"\n", b"\r").split(b"\r", 1)[0].decode("utf-8", errors="replace")
    try:
        separators = read_separators(first)
    except ValueError:
        return Segment("MSH", ("MSH",))
    if (separators.field, separators.component) != ("|", "^"):
        return Segment("MSH", ("MSH",))
    return Segment("MSH", ("MSH", "|", *first.split("|")[1:]))


def control_id_of(message: bytes) -> str:
    """MSH-10 of a message's bytes; empty when there is none."""
    return _header(message).field(10)
