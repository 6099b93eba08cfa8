r"""Texts made safe for HL7, before they reach the message builder.

hl7apy does not escape components, subcomponents or the escape character, and takes a carriage return inside a value
for a new segment. So every text goes through here first: F, S, T, R and E are escaped (HL7 2.5.1, 2.7.1), line breaks
become separate lines or a space, other control characters are refused, and the characters are held against the
message's character set (MSH-18).

hl7apy leaves these five sequences as they are. ``\X..\`` and ``\.br\`` it would escape a second time: they are not used.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

from integrations.errors import TextRefused

FIELD, COMPONENT, REPETITION, ESCAPE, SUBCOMPONENT = "|", "^", "~", "\\", "&"

_SEQUENCES = {
    FIELD: "\\F\\",
    COMPONENT: "\\S\\",
    SUBCOMPONENT: "\\T\\",
    REPETITION: "\\R\\",
    ESCAPE: "\\E\\",
}
_TO_ESCAPED = str.maketrans(_SEQUENCES)
_FROM_ESCAPED = {sequence: char for char, sequence in _SEQUENCES.items()}
_SEQUENCE = re.compile(r"\\[FSTRE]\\")

# Line breaks of any origin: some receivers split at the Unicode ones too.
_LINE_BREAK = re.compile("\r\n|[\r\n\u0085\u2028\u2029]")


class Charset(StrEnum):
    """Character sets a message may be sent in; the values are those of MSH-18 (HL7 table 0211)."""

    UTF_8 = "UNICODE UTF-8"
    LATIN_1 = "8859/1"
    ASCII = "ASCII"

    @property
    def codec(self) -> str:
        """The name Python knows it by."""
        return {Charset.UTF_8: "utf-8", Charset.LATIN_1: "iso-8859-1", Charset.ASCII: "ascii"}[self]


def escape_lines(text: str, field: str, charset: Charset = Charset.UTF_8) -> tuple[str, ...]:
    """Split a text into its lines, each escaped and fit for one HL7 value.

    Parameters
    ----------
    text : str
        Anything a person or a file may have supplied.
    field : str
        Where it will stand, for the error message.
    charset : Charset
        The message's character set.

    Returns
    -------
    tuple of str
        The lines that are not blank, without blanks at their ends.

    Raises
    ------
    TextRefused
        For control characters, characters the set does not have, and the HL7 null (two quotation marks).
    """
    lines = (_checked(line, field, charset) for line in _LINE_BREAK.split(text))
    return tuple(line.translate(_TO_ESCAPED) for line in lines if line)


def escape_text(text: str, field: str, charset: Charset = Charset.UTF_8) -> str:
    """Escape a text for a place where only one line is possible: line breaks become spaces.

    Raises and parameters as in `escape_lines`; the result may be empty.
    """
    lines = (_checked(line, field, charset) for line in _LINE_BREAK.split(text))
    return _not_null(" ".join(line for line in lines if line), field).translate(_TO_ESCAPED)


def unescape(value: str) -> str:
    """Turn the five escape sequences of a value back; anything else stays as it is."""
    return _SEQUENCE.sub(lambda match: _FROM_ESCAPED[match.group()], value)


def _checked(line: str, field: str, charset: Charset) -> str:
    for char in line:
        if unicodedata.category(char) in ("Cc", "Cs"):
            raise TextRefused(
                field, f"holds the control character U+{ord(char):04X}, which cannot be sent; remove it at its source"
            )
    try:
        line.encode(charset.codec)
    except UnicodeEncodeError as error:
        raise TextRefused(
            field,
            f"holds U+{ord(line[error.start]):04X}, which the character set {charset} of this destination does not "
            "have; send in UNICODE UTF-8 or correct the text",
        ) from None
    return _not_null(line.strip(), field)


def _not_null(line: str, field: str) -> str:
    if line == '""':
        raise TextRefused(
            field, "is two quotation marks, which tells a receiver to delete what it has; correct the text"
        )
    return line
