r"""A received message read as far as every kind of it is alike: caps, character set, header, values out of fields.

The parser is our own few lines over `er7` and not hl7apy, which builds a tree of everything (46 s for a message of 20,000
OBX), nor python-hl7, which knows no caps. What is wrong is told by segment and field, with the code of HL7 table 0357,
and never with what stands there: problems end in logs, and in acknowledgements that other systems log.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

from integrations.errors import MessageRefused
from integrations.hl7.ack import AckError, ErrorCode
from integrations.hl7.er7 import Segment, split_segments
from integrations.hl7.escape import Charset
from integrations.hl7.header import Header, charset_of, decode_message, read_header

MAX_BYTES = 1024 * 1024
MAX_SEGMENTS = 2000
MAX_TEXT = 200  # characters of an identifier or a name, as in `case.json`
MAX_CONTROL_ID = 199  # HL7 2.7 gives MSH-10 so many, 2.5.1 twenty; many send more than these
EARLIEST_YEAR = 1800
MOST_PROBLEMS = 20

VERSIONS = ("2.3", "2.3.1", "2.4", "2.5", "2.5.1")
PROCESSING_IDS = ("P", "T", "D")

_TIME = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d{2})(?:(?P<day>\d{2})(?:(?P<hour>\d{2})(?:(?P<minute>\d{2})"
    r"(?:(?P<second>\d{2})(?:\.\d{1,6})?)?)?)?)?)?(?P<zone>[+-]\d{4})?",
    re.ASCII,
)
_HEX = re.compile(r"X(?:[0-9A-Fa-f]{2})+")
_NULL = '""'


class Reader:
    """One message: its segments, and what was found wrong while they were read.

    Values come out unescaped, in Unicode's composed form, and trimmed. A value that cannot be used is noted as a problem
    and comes out empty, so that everything wrong is told at once by `finish`.

    Parameters
    ----------
    header : Header
    segments : tuple of Segment
        In their order, MSH first.
    charset : Charset
        Of the message, for what is escaped as hexadecimal.
    zone : tzinfo
        Of times that name none.
    """

    def __init__(self, header: Header, segments: tuple[Segment, ...], charset: Charset, zone: tzinfo) -> None:
        self.header = header
        self.segments = segments
        self._separators = header.separators
        self._codec = charset.codec
        self._zone = zone
        self._problems: list[AckError] = []
        self._occurrences: dict[int, int] = {}
        counts: Counter[str] = Counter()
        for segment in segments:
            counts[segment.name] += 1
            self._occurrences[id(segment)] = counts[segment.name]

    @property
    def trigger(self) -> str:
        """MSH-9.2, such as ``O21``."""
        return [*self.components(self.header.field(9)), ""][1].strip()

    def problem(self, code: ErrorCode, segment: Segment | str, field: int, text: str) -> None:
        """Note what is wrong with a field, 0 for the segment as a whole; a segment that is missing is named."""
        name = segment if isinstance(segment, str) else segment.name
        sequence = 1 if isinstance(segment, str) else self._occurrences[id(segment)]
        place = f"{name}-{field}" if field else name
        self._problems.append(AckError(code, f"{place}: {text}", name, field, sequence))

    def finish(self) -> None:
        """Raise `MessageRefused` where something was wrong."""
        if self._problems:
            raise MessageRefused(tuple(dict.fromkeys(self._problems))[:MOST_PROBLEMS])

    # ----------------------------------------------------------------------------------------------------------- values
    def repetitions(self, segment: Segment, field: int) -> list[str]:
        """The repetitions of a field that are not empty, still escaped."""
        return [part for part in segment.field(field).split(self._separators.repetition) if part.strip()]

    def components(self, value: str) -> list[str]:
        """The components of a repetition, still escaped."""
        return value.split(self._separators.component)

    def subcomponents(self, value: str) -> list[str]:
        """The subcomponents of a component, still escaped."""
        return value.split(self._separators.subcomponent)

    def text(self, value: str, segment: Segment, field: int, limit: int = MAX_TEXT) -> str | None:
        """One value; None where the sender says nothing, empty where it says that there is none (the HL7 null)."""
        raw = value.strip()
        if raw == _NULL:
            return ""
        try:
            clean = " ".join(unicodedata.normalize("NFC", self._unescaped(raw)).split())
        except ValueError as error:
            self.problem(ErrorCode.DATA_TYPE_ERROR, segment, field, str(error))
            return None
        if not clean:
            return None
        if not clean.isprintable() or clean == _NULL:
            self.problem(ErrorCode.DATA_TYPE_ERROR, segment, field, "holds characters that cannot be printed")
        elif len(clean) > limit:
            self.problem(ErrorCode.VALUE_TOO_LONG, segment, field, f"has a part of more than {limit} characters")
        else:
            return clean
        return None

    def component(self, segment: Segment, field: int, number: int = 1) -> str | None:
        """A component of the first repetition of a field, its first subcomponent."""
        found = self.repetitions(segment, field)[:1]
        parts = self.components(found[0]) if found else []
        if number > len(parts):
            return None
        return self.text(self.subcomponents(parts[number - 1])[0], segment, field)

    def moment(self, segment: Segment, field: int) -> datetime | None:
        """A time with its zone; a day alone is its midnight, and a month or a year alone is no time."""
        value = self.component(segment, field)
        if not value:
            return None
        found = _TIME.fullmatch(value)
        if found is None:
            self._not_a_time(segment, field)
            return None
        if found["day"] is None:
            return None
        numbers = [int(found[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")]
        try:
            moment = datetime(*numbers, tzinfo=_offset(found["zone"]) or self._zone)  # type: ignore[arg-type,misc]  # six integers
            moment.astimezone(UTC)
        except (ValueError, OverflowError):
            moment = None
        if moment is None or moment.year < EARLIEST_YEAR:
            self._not_a_time(segment, field)
            return None
        return moment

    def day(self, segment: Segment, field: int) -> str | None:
        """A date as ISO 8601 of the precision it has; None and empty as in `text`."""
        value = self.component(segment, field)
        if not value:
            return value
        found = _TIME.fullmatch(value)
        parts = [found[name] for name in ("year", "month", "day") if found[name]] if found else []
        if not _is_date(parts):
            self._not_a_time(segment, field)
            return None
        return "-".join(parts)

    def _not_a_time(self, segment: Segment, field: int) -> None:
        self.problem(ErrorCode.DATA_TYPE_ERROR, segment, field, f"is no time of HL7, or before {EARLIEST_YEAR}")

    def _unescaped(self, value: str) -> str:
        """Decode the escape sequences of HL7 2.5.1, 2.7; what only formats a text is left out.

        Raises
        ------
        ValueError
            A sequence without its end, one that switches the character set, or hexadecimal that is no text.
        """
        escape, separators = self._separators.escape, self._separators
        parts = value.split(escape)
        if len(parts) % 2 == 0:
            raise ValueError("holds an escape sequence without its end")
        plain = {
            "F": separators.field,
            "S": separators.component,
            "T": separators.subcomponent,
            "R": separators.repetition,
            "E": escape,
        }
        decoded = []
        for number, part in enumerate(parts):
            if number % 2 == 0 or part in plain:
                decoded.append(plain[part] if number % 2 else part)
            elif _HEX.fullmatch(part):
                decoded.append(_from_hex(part[1:], self._codec))
            elif part[:1] in ("C", "M"):
                raise ValueError("switches the character set inside a text, which is not supported")
            else:
                decoded.append(" " if part.startswith(".") else "")
        return "".join(decoded)


def read_message(body: bytes, *, zone: tzinfo, charset: Charset = Charset.UTF_8) -> Reader:
    """Read the bytes of a message up to its segments, and check its header.

    Parameters
    ----------
    body : bytes
        Without framing. Segments end in CR, LF or both.
    zone : tzinfo
        Of times that name none.
    charset : Charset
        Of a message whose MSH-18 is empty.

    Raises
    ------
    MessageRefused
        It is too large, no HL7, not in its character set, of another version, or its header lacks what it needs.
    """
    if len(body) > MAX_BYTES:
        raise rejection(ErrorCode.VALUE_TOO_LONG, "MSH", 0, f"the message has more than {MAX_BYTES} bytes")
    try:
        header = read_header(body)
        charset = charset_of(header, charset)
        segments = split_segments(decode_message(body, charset), MAX_SEGMENTS)
    except ValueError as error:
        raise rejection(ErrorCode.SEGMENT_SEQUENCE_ERROR, "MSH", 0, f"the message cannot be read: {error}") from None
    reader = Reader(header, segments, charset, zone)
    _check_header(reader)
    return reader


def rejection(code: ErrorCode, segment: str, field: int, text: str) -> MessageRefused:
    """Refuse a message as one that is not taken at all."""
    place = f"{segment}-{field}" if field else segment
    return MessageRefused((AckError(code, f"{place}: {text}", segment, field),), rejected=True)


def _check_header(reader: Reader) -> None:
    header, msh = reader.header, reader.segments[0]
    if not header.message_type:
        reader.problem(ErrorCode.REQUIRED_FIELD_MISSING, msh, 9, "the message type is missing")
    control_id = header.control_id.strip()
    if not control_id:
        reader.problem(ErrorCode.REQUIRED_FIELD_MISSING, msh, 10, "the message control id is missing")
    elif len(control_id) > MAX_CONTROL_ID or not control_id.isprintable():
        text = f"the message control id must be at most {MAX_CONTROL_ID} printable characters"
        reader.problem(ErrorCode.DATA_TYPE_ERROR, msh, 10, text)
    version = reader.component(msh, 12)
    if not version:
        reader.problem(ErrorCode.REQUIRED_FIELD_MISSING, msh, 12, "the version is missing")
    if any(segment.name == "MSH" for segment in reader.segments[1:]):
        reader.problem(ErrorCode.SEGMENT_SEQUENCE_ERROR, "MSH", 0, "stands twice: send each message in its own block")
    reader.finish()
    if version not in VERSIONS:
        text = f"versions taken are {', '.join(VERSIONS)}"
        raise rejection(ErrorCode.UNSUPPORTED_VERSION_ID, "MSH", 12, text)
    processing = reader.component(msh, 11)
    if processing and processing not in PROCESSING_IDS:
        text = f"processing ids taken are {', '.join(PROCESSING_IDS)}"
        raise rejection(ErrorCode.UNSUPPORTED_PROCESSING_ID, "MSH", 11, text)


def _is_date(parts: list[str]) -> bool:
    """Whether a year with what follows it of month and day names a date."""
    year, month, day = (int(part) for part in ([*parts, "01", "01"] if parts else ["0", "0", "0"])[:3])
    try:
        return date(year, month, day).year >= EARLIEST_YEAR
    except ValueError:
        return False


def _offset(text: str | None) -> timezone | None:
    """The zone of ``+HHMM``."""
    if text is None:
        return None
    away = timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    return timezone(-away if text[0] == "-" else away)


def _from_hex(digits: str, codec: str) -> str:
    try:
        return bytes.fromhex(digits).decode(codec)
    except UnicodeDecodeError:
        raise ValueError("holds hexadecimal that is no text in its character set") from None
