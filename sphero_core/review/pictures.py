"""The pictures of a review: what a reading shows, and, once the key may be opened, what stands at each kind of place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.review.places import Stratum
from sphero_core.review.sampling import Key, Shown
from sphero_core.review.sheets import LAYOUT, Layout, draw_field, draw_sheet, draw_tile

Picture = NDArray[np.uint8]


def reading_pictures(
    key: Key, reading: int, pixels: Mapping[str, Picture], layout: Layout = LAYOUT
) -> Iterator[tuple[str, Picture]]:
    """The sheets and fields of a reading, with the name of each.

    Parameters
    ----------
    key : Key
    reading : int
        1 or 2.
    pixels : mapping
        Each field in true proportion by its name, RGB.
    layout : Layout
    """
    tiles = [_tile(key, shown, pixels, layout) for shown in key.tiles[reading - 1]]
    for number, start in enumerate(range(0, len(tiles), layout.tiles), start=1):
        part = tiles[start : start + layout.tiles]
        captions = [str(tile) for tile in range(start + 1, start + len(part) + 1)]
        yield f"sheet-{number:02d}", draw_sheet(part, captions, layout)
    for number, shown in enumerate(key.whole_fields[reading - 1], start=1):
        name = key.fields[shown.index]
        dotted = [p for p in key.places if p.field == name and p.stratum is not Stratum.CLEAR]
        yield f"field-{number:02d}", draw_field(pixels[name], dotted, shown)


def judged_pictures(
    key: Key, rows: Sequence[Mapping[str, Any]], pixels: Mapping[str, Picture], layout: Layout = LAYOUT
) -> Iterator[tuple[str, Picture]]:
    """Sheets of each stratum, its tiles in the order of what was said of them, with both judgements beside the number.

    Parameters
    ----------
    key : Key
    rows : sequence of mapping
        Of `sphero_core.review.scoring.tile_rows`.
    pixels, layout
        As of `reading_pictures`.
    """
    for stratum in Stratum:
        of_it = [row for row in rows if row["labels_and_model"] == str(stratum)]
        of_it.sort(key=lambda row: (row["first"], row["second"], row["reading_1"]))
        for number, start in enumerate(range(0, len(of_it), layout.tiles), start=1):
            part = of_it[start : start + layout.tiles]
            tiles = [_tile(key, key.tiles[0][row["reading_1"] - 1], pixels, layout) for row in part]
            captions = [f"{row['reading_1']}  {_said(row['first'], row['second'])}" for row in part]
            yield f"{stratum.name.lower().replace('_', '-')}-{number:02d}", draw_sheet(tiles, captions, layout)


def _said(first: str, second: str) -> str:
    return first if first == second else f"{first} / {second}"


def _tile(key: Key, shown: Shown, pixels: Mapping[str, Picture], layout: Layout) -> Picture:
    place = key.places[shown.index]
    diameter = key.diameters[key.fields.index(place.field)]
    return draw_tile(pixels[place.field], place, diameter, shown, layout)
