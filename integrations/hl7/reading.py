r"""A message taken apart for people: segments, fields and components with their names, escapes decoded.

It reads what anybody sent, and refuses only what is no HL7 at all: a receiver's acknowledgement, a file from an interface
engine, versions from 2.1 on. It judges nothing; that is the work of `conformance` and `received`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from integrations.hl7.er7 import Segment, Separators, read_separators, split_segments
from integrations.hl7.header import decode_message
from integrations.hl7.names import MEANINGS, SEGMENTS, FieldName, component_names, field_names

MAX_BYTES = 32 * 1024 * 1024
MAX_SEGMENTS = 20_000
_FRAME = b"\x0b\x1c"
_MESSAGE = re.compile(rb"(?:^|[\r\n])(?=MSH)")
_AROUND = re.compile(r"^(?:FHS|BHS|BTS|FTS)\b")


@dataclass(frozen=True, slots=True)
class ReadComponent:
    """A component.

    Attributes
    ----------
    place : str
        Such as ``PID-5.1``; of a field without components, the field's.
    name : str
        Empty where nobody knows it.
    parts : tuple of str
        Its subcomponents, decoded; usually one.
    """

    place: str
    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadField:
    """One repetition of a field.

    Attributes
    ----------
    place : str
        Such as ``PID-5``, or ``PID-3[2]`` from the second repetition on.
    name : str
    components : tuple of ReadComponent
        Empty ones included.
    meaning : str
        What its code means; empty where that is not known.
    """

    place: str
    name: str
    components: tuple[ReadComponent, ...]
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class ReadSegment:
    """A segment with the fields that hold something."""

    name: str
    title: str
    fields: tuple[ReadField, ...]


def messages_in(data: bytes) -> tuple[bytes, ...]:
    """The messages in a file: one or more, framed for MLLP, as a batch (FHS, BHS), or one after the other.

    Raises
    ------
    ValueError
        There is none, or the file is too large.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    plain = data.removeprefix(b"\xef\xbb\xbf").translate(None, _FRAME)
    found = [part.strip() + b"\r" for part in _MESSAGE.split(plain) if part.strip().startswith(b"MSH")]
    if not found:
        raise ValueError("it holds no HL7 message: no line begins with MSH")
    return tuple(found)


def read_message(message: bytes) -> tuple[ReadSegment, ...]:
    """Take a message apart.

    Raises
    ------
    ValueError
        It has no usable header, or too many segments. Nothing of it is quoted.
    """
    text = text_of(message)
    separators = read_separators(text)
    segments = split_segments(text, MAX_SEGMENTS)
    version = segments[0].field(12).split(separators.component)[0].strip()
    return tuple(_segment(segment, separators, version) for segment in segments if not _AROUND.match(segment.name))


def text_of(message: bytes) -> str:
    """The text of a message by its own character set, as far as it can be read."""
    try:
        return decode_message(message)
    except ValueError:
        # A set we do not know, or a wrong one named: what can be read is worth more than nothing.
        return message.decode("utf-8", errors="replace")


def _segment(segment: Segment, separators: Separators, version: str) -> ReadSegment:
    names = field_names(version, segment.name)
    fields: list[ReadField] = []
    for number in range(1, len(segment.fields)):
        raw = segment.field(number)
        if not raw:
            continue
        name = names[number - 1] if number <= len(names) else FieldName("", "", ())
        if segment.name == "OBX" and number == 5:
            name = FieldName(name.name, name.data_type, component_names(version, segment.field(2)))
        place = f"{segment.name}-{number}"
        if segment.name == "MSH" and number <= 2:
            fields.append(ReadField(place, name.name, (ReadComponent(place, name.name, (raw,)),)))
            continue
        for repetition, value in enumerate(raw.split(separators.repetition), start=1):
            fields.append(_field(place if repetition == 1 else f"{place}[{repetition}]", value, name, separators))
    return ReadSegment(segment.name, SEGMENTS.get(segment.name, ""), tuple(fields))


def _field(place: str, value: str, name: FieldName, separators: Separators) -> ReadField:
    raw = value.split(separators.component)
    components = []
    for number, component in enumerate(raw, start=1):
        parts = tuple(decode(part, separators) for part in component.split(separators.subcomponent))
        known = name.components[number - 1] if number <= len(name.components) else ""
        is_whole = len(raw) == 1
        components.append(
            ReadComponent(place if is_whole else f"{place}.{number}", name.name if is_whole else known, parts)
        )
    meaning = MEANINGS.get(place.split("[", maxsplit=1)[0], {}).get(value, "")
    return ReadField(place, name.name, tuple(components), meaning)


def decode(value: str, separators: Separators) -> str:
    r"""Decode the escape sequences of a value: F S T R E, ``.br`` and the like, ``X..``; what is unknown stays.

    Sequences that highlight (``H``, ``N``) are dropped.
    """
    mark = re.escape(separators.escape)
    plain = {
        "F": separators.field,
        "S": separators.component,
        "T": separators.subcomponent,
        "R": separators.repetition,
        "E": separators.escape,
        "H": "",
        "N": "",
        ".br": "\n",
        ".sp": "\n",
    }

    def decoded(match: re.Match[str]) -> str:
        sequence = match.group(1)
        if sequence in plain:
            return plain[sequence]
        if re.fullmatch("X(?:[0-9A-Fa-f]{2})+", sequence):
            return bytes.fromhex(sequence[1:]).decode("utf-8", errors="replace")
        return match.group()

    return re.sub(f"{mark}([^{mark}]{{0,40}}){mark}", decoded, value)
