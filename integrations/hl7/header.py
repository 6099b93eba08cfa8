"""The header of a message (MSH): what has to be known before anything else looks at the bytes.

The header is read as ISO 8859-1, in which every byte is a character: what is echoed from it goes back byte for byte,
whatever the sender's character set.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from integrations.hl7.er7 import Segment, Separators, read_separators
from integrations.hl7.escape import Charset

MAX_HEADER_BYTES = 4096

# MSH-18 as it is met, in capitals: table 0211, and what senders write instead.
_CHARSETS = {
    "ASCII": Charset.ASCII,
    "UNICODE UTF-8": Charset.UTF_8,
    "UTF-8": Charset.UTF_8,
    "UTF8": Charset.UTF_8,
    "8859/1": Charset.LATIN_1,
    "ISO-8859-1": Charset.LATIN_1,
    "ISO8859-1": Charset.LATIN_1,
    "ISO_8859-1": Charset.LATIN_1,
}


class When(StrEnum):
    """When an acknowledgement is asked for: MSH-15 and MSH-16, HL7 table 0155."""

    ALWAYS = "AL"
    NEVER = "NE"
    ON_ERROR = "ER"
    ON_SUCCESS = "SU"

    def asks(self, *, success: bool) -> bool:
        """Whether an acknowledgement of success, or of failure, is asked for."""
        return self is When.ALWAYS or self is (When.ON_SUCCESS if success else When.ON_ERROR)


@dataclass(frozen=True, slots=True)
class Header:
    """MSH of a message.

    Attributes
    ----------
    separators : Separators
    segment : Segment
        Its fields as ISO 8859-1, still escaped.
    """

    separators: Separators
    segment: Segment

    def field(self, number: int) -> str:
        """MSH-`number`, empty when absent."""
        return self.segment.field(number)

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.field(10)

    @property
    def message_type(self) -> str:
        """MSH-9.1, such as ``OML``."""
        return self.field(9).split(self.separators.component)[0].strip()

    @property
    def is_acknowledgement(self) -> bool:
        """Whether it answers a message; answering it in turn would never end."""
        return self.message_type in ("ACK", "MCF")

    @property
    def is_enhanced(self) -> bool:
        """Whether the sender asks for the enhanced acknowledgement mode (HL7 2.5.1, 2.9.2)."""
        return bool(self.field(15).strip() or self.field(16).strip())

    @property
    def commit_ack(self) -> When:
        """MSH-15; what the enhanced mode leaves empty or no table knows is never."""
        return _when(self.field(15))

    @property
    def application_ack(self) -> When:
        """MSH-16, as `commit_ack`."""
        return _when(self.field(16))


def read_header(message: bytes) -> Header:
    """Read MSH at the begin of a message; lines may end in CR, LF or both.

    Raises
    ------
    ValueError
        If the bytes do not begin with a usable MSH segment. They are not quoted.
    """
    first = message[:MAX_HEADER_BYTES].replace(b"\n", b"\r").split(b"\r", 1)[0].decode("iso-8859-1")
    separators = read_separators(first)
    name, *fields = first.split(separators.field)
    return Header(separators, Segment(name, (name, separators.field, *fields)))


def charset_of(header: Header, default: Charset = Charset.UTF_8) -> Charset:
    """The character set a message announces.

    Parameters
    ----------
    header : Header
    default : Charset
        What an empty MSH-18 means at this site; the standard says ASCII, of which all three are supersets.

    Raises
    ------
    ValueError
        If MSH-18 names another than UTF-8, ISO 8859-1 or ASCII.
    """
    name = header.field(18).split(header.separators.repetition)[0].strip().upper()
    if not name:
        return default
    if name not in _CHARSETS:
        raise ValueError("MSH-18 names a character set other than UNICODE UTF-8, 8859/1 and ASCII")
    return _CHARSETS[name]


def decode_message(message: bytes, default: Charset = Charset.UTF_8) -> str:
    """Decode a received message by its MSH-18.

    Raises
    ------
    ValueError
        If it has no usable header, the set is not known, or the bytes are not of this set. They are not quoted.
    """
    charset = charset_of(read_header(message), default)
    try:
        return message.decode(charset.codec)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not of the character set {charset}") from None


def _when(value: str) -> When:
    try:
        return When(value.strip())
    except ValueError:
        return When.NEVER
