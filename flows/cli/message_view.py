"""A message on the screen: each field with its name, on as many columns as the terminal has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from integrations.hl7.reading import ReadComponent, ReadSegment

LONGEST = 300
"""Characters of a value without blanks that are shown; the rest of an embedded picture helps nobody."""


def show(message: bytes, *, raw: bool = False, components: bool = False, console: Console | None = None) -> None:
    """Print a message.

    Parameters
    ----------
    raw : bool
        One segment a line, nothing decoded or shortened.
    components : bool
        Each component gets its own line, with its name.
    """
    from integrations.hl7.reading import read_message, text_of

    console = console or Console(highlight=False)
    try:
        segments = () if raw else read_message(message)
    except ValueError as error:
        console.print(Text(f"as it came, for it cannot be taken apart: {error}", "dim"))
        segments = ()
    if not segments:
        for line in text_of(message).replace("\n", "\r").split("\r"):
            if line:
                console.print(Text("".join(_visible(line))), soft_wrap=True)
    for segment in segments:
        console.print(Text.assemble((segment.name, "bold"), f"  {segment.title}"))
        console.print(_table(segment, components=components))


def as_data(message: bytes) -> list[dict[str, Any]] | None:
    """The same for programs, nothing shortened; None for what cannot be taken apart."""
    from integrations.hl7.reading import read_message

    try:
        segments = read_message(message)
    except ValueError:
        return None
    return [
        {
            "segment": segment.name,
            "title": segment.title,
            "fields": [
                {
                    "place": field.place,
                    "name": field.name,
                    "meaning": field.meaning,
                    "components": [_component(each) for each in field.components if any(each.parts)],
                }
                for field in segment.fields
            ],
        }
        for segment in segments
    ]


def _component(component: ReadComponent) -> dict[str, Any]:
    value = component.parts[0] if len(component.parts) == 1 else component.parts
    return {"place": component.place, "name": component.name, "value": value}


def _table(segment: ReadSegment, *, components: bool) -> Table:
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(min_width=11, no_wrap=True)
    table.add_column(width=36, style="cyan")
    table.add_column(overflow="fold", ratio=1)
    for field in segment.fields:
        if components and len(field.components) > 1:
            table.add_row(f"  {field.place}", field.name, "")
            for each in field.components:
                if any(each.parts):
                    table.add_row(f"    {each.place}", f"  {each.name}", _joined([each.parts], ""))
        else:
            parts = [component.parts for component in field.components]
            table.add_row(f"  {field.place}", field.name, _joined(parts, field.meaning))
    return table


def _joined(components: list[tuple[str, ...]], meaning: str) -> Text:
    """Components with their separators, set apart from the same characters in a text."""
    text = Text()
    for number, parts in enumerate(components):
        if number:
            _separate(text, "^", before=any(components[number - 1]), after=any(parts))
        for place, part in enumerate(parts):
            if place:
                _separate(text, "&", before=bool(parts[place - 1]), after=bool(part))
            text.append("".join(_visible(_shortened(part))))
    if meaning:
        text.append(f"  {meaning}", "dim italic")
    return text


def _separate(text: Text, separator: str, *, before: bool, after: bool) -> None:
    text.append(f"{' ' if before else ''}{separator}{' ' if after else ''}", "dim")


def _shortened(part: str) -> str:
    if len(part) <= LONGEST or " " in part:
        return part
    return f"{part[:60]}... ({len(part):,} characters)"


def _visible(text: str) -> Iterator[str]:
    """Control characters and line breaks as pictures: none of them may steer the terminal."""
    for char in text:
        code = ord(char)
        if code < 0x20:
            yield chr(0x2400 + code)
        elif 0x7F <= code < 0xA0 or char in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
            yield f"<U+{code:04X}>"
        else:
            yield char
