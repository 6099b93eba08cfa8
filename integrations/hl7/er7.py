"""The few lines of ER7 syntax (HL7 2.5.1, 2.5 and 2.6) that checking and acknowledging need.

Not a parser of messages: it knows no data types and no structure. It is bounded, and never fails on hostile bytes
other than by `ValueError`, without quoting them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SEGMENT_BREAK = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Separators:
    """The separators a message announces in MSH-1 and MSH-2."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment, its fields numbered as HL7 does: ``segment.field(3)`` of MSH is MSH-3.

    Attributes
    ----------
    name : str
    fields : tuple of str
        Still escaped; index 0 is the name.
    """

    name: str
    fields: tuple[str, ...]

    def field(self, number: int) -> str:
        """The field's text as it stands, empty when absent."""
        return self.fields[number] if number < len(self.fields) else ""


def read_separators(text: str) -> Separators:
    """Read MSH-1 and MSH-2.

    Raises
    ------
    ValueError
        If the text does not begin with a usable MSH segment.
    """
    header = text[:9]
    if len(header) < 9 or not header.startswith("MSH"):
        raise ValueError("does not begin with MSH")
    separators = header[3:8]
    if len(set(separators)) != 5 or any(char.isalnum() or char.isspace() for char in separators):
        raise ValueError("MSH-1 and MSH-2 announce unusable separators")
    if header[8] != separators[0] and not (header[8] == "#" and text[9:10] == separators[0]):
        raise ValueError("MSH-2 has not four characters")
    return Separators(*separators)


def split_segments(text: str, limit: int) -> tuple[Segment, ...]:
    """Split a message into segments and fields; blank lines are skipped.

    Parameters
    ----------
    text : str
    limit : int
        Most segments that are accepted.

    Raises
    ------
    ValueError
        If the text is no message or has more segments.
    """
    separators = read_separators(text)
    lines = _SEGMENT_BREAK.split(text, limit + 1)
    if len(lines) > limit + 1:
        raise ValueError(f"has more than {limit} segments")
    segments = []
    for line in lines:
        if not line.strip():
            continue
        fields = line.split(separators.field)
        if fields[0] == "MSH":
            fields.insert(1, separators.field)
        segments.append(Segment(fields[0], tuple(fields)))
    return tuple(segments)
