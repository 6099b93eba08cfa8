"""Acknowledgements: read, built, and what each means for the message that was sent.

The reader is our own few lines rather than hl7apy: it has to look at bytes a stranger chose, and needs four fields of
them. hl7apy would build the whole tree first (20 ms for a small message, 46 s for one of 20,000 segments).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from types import MappingProxyType

from integrations.errors import AckUnreadable
from integrations.hl7.er7 import Segment, Separators, split_segments
from integrations.hl7.header import Header, read_header

MAX_ACK_BYTES = 64 * 1024
MAX_ACK_SEGMENTS = 100
_NO_HEADER = Header(Separators("|", "^", "~", "\\", "&"), Segment("MSH", ("MSH",)))
_CONTROL = re.compile("[\x00-\x1f]")
_VERSION = re.compile(r"2\.\d(\.\d)?")


class AckCode(StrEnum):
    """MSA-1, HL7 table 0008: the first three of the original mode, the last three of the enhanced mode's commit."""

    AA = "AA"
    AE = "AE"
    AR = "AR"
    CA = "CA"
    CE = "CE"
    CR = "CR"


class ErrorCode(IntEnum):
    """ERR-3, HL7 table 0357; 104 is of version 2.7, and understood as a number by all."""

    SEGMENT_SEQUENCE_ERROR = 100
    REQUIRED_FIELD_MISSING = 101
    DATA_TYPE_ERROR = 102
    TABLE_VALUE_NOT_FOUND = 103
    VALUE_TOO_LONG = 104
    UNSUPPORTED_MESSAGE_TYPE = 200
    UNSUPPORTED_EVENT_CODE = 201
    UNSUPPORTED_PROCESSING_ID = 202
    UNSUPPORTED_VERSION_ID = 203
    UNKNOWN_KEY_IDENTIFIER = 204
    DUPLICATE_KEY_IDENTIFIER = 205
    APPLICATION_RECORD_LOCKED = 206
    APPLICATION_INTERNAL_ERROR = 207


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


@dataclass(frozen=True, slots=True)
class AckError:
    """One thing that is wrong with a received message: an ERR segment.

    Attributes
    ----------
    code : ErrorCode
    text : str
        For a person at the sender; without content of the message.
    segment : str
        Where, such as ``PID``; empty for the message as a whole.
    field : int
        Its number, from 1; 0 for the segment as a whole.
    sequence : int
        Which of the segments of that name, from 1.
    """

    code: ErrorCode
    text: str
    segment: str = ""
    field: int = 0
    sequence: int = 1


def build_ack(
    message: bytes,
    code: AckCode,
    *,
    control_id: str,
    now: datetime,
    answers: str | None = None,
    errors: Sequence[AckError] = (),
) -> bytes:
    """Build the acknowledgement of a received message (ACK), in its version, separators and character set.

    Parameters
    ----------
    message : bytes
        What was received, or its begin; its sender becomes the receiver. Need not be HL7.
    code : AckCode
    control_id : str
        MSH-10 of the acknowledgement itself.
    now : datetime
        With its zone.
    answers : str or None
        MSA-2; None for the received message's own control id.
    errors : sequence of AckError
        One ERR segment each; the first one's text stands in MSA-3, too. Their texts are made ASCII.
    """
    try:
        header = read_header(message)
    except ValueError:
        header = _NO_HEADER
    version = header.field(12).split(header.separators.component)[0].strip()
    version = version if _VERSION.fullmatch(version) else "2.5.1"
    separators = header.separators
    component = separators.component
    events = header.field(9).split(component)[1:2]
    event = component.join(["ACK", *events, "ACK"]) if header.field(9) else "ACK"
    marks = component + separators.repetition + separators.escape + separators.subcomponent
    fields = ["MSH", marks, header.field(5), header.field(6), header.field(3), header.field(4)]
    fields += [now.strftime("%Y%m%d%H%M%S%z"), "", event, control_id, header.field(11) or "P", version]
    if header.field(18):
        fields += ["", "", "", "", "", header.field(18)]
    msa = ["MSA", code.value, header.control_id if answers is None else answers]
    if errors:
        msa.append(_escaped(errors[0].text, separators))
    lines = [fields, msa, *(_err(error, separators, version) for error in errors)]
    # A control character that is echoed would break the segment, or the block the answer is sent in.
    text = "".join(_CONTROL.sub("", separators.field.join(line)) + "\r" for line in lines)
    return text.encode("iso-8859-1", errors="replace")


def _err(error: AckError, separators: Separators, version: str) -> list[str]:
    place = [error.segment, str(error.sequence), *([str(error.field)] if error.field else [])] if error.segment else []
    coded = [str(error.code.value), error.code.name.capitalize().replace("_", " "), "HL70357"]
    if tuple(int(part) for part in version.split(".")) < (2, 5):
        # Until 2.4 all of it is one component structure in ERR-1.
        place += [""] * (3 - len(place))
        return ["ERR", separators.component.join([*place, separators.subcomponent.join(coded)])]
    text = _escaped(error.text, separators)
    return ["ERR", "", separators.component.join(place), separators.component.join(coded), "E", "", "", "", text]


def _escaped(text: str, separators: Separators) -> str:
    names = {
        separators.field: "F",
        separators.component: "S",
        separators.repetition: "R",
        separators.escape: "E",
        separators.subcomponent: "T",
    }
    plain = text.encode("ascii", errors="replace").decode("ascii")
    return "".join(
        f"{separators.escape}{names[char]}{separators.escape}" if char in names else char if char.isprintable() else " "
        for char in plain
    )


def control_id_of(message: bytes) -> str:
    """MSH-10 of a message's bytes; empty when there is none."""
    try:
        return read_header(message).control_id
    except ValueError:
        return ""
