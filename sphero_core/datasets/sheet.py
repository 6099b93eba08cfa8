"""Contact sheets: labelled images side by side, to be looked at before anyone trains on them.

Each cell's outline is thin, in the colour of its class (as in `sphero_core.render`, with lines that are told apart by width too);
what is ignored is hatched in grey; a labelled centre without a mask is a dot. Images are shown in true proportion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sphero_core.datasets.coco import corners_of
from sphero_core.datasets.layout import DataImage, Label
from sphero_core.image import read_image
from sphero_core.types import CellClass

_Colour = tuple[int, int, int]

_PAPER: _Colour = (255, 255, 255)
_INK: _Colour = (45, 45, 45)
_IGNORED: _Colour = (120, 120, 120)
_COLOURS: dict[CellClass, tuple[_Colour, int]] = {
    CellClass.RBC: ((40, 40, 40), 1),
    CellClass.PLATELET: ((0, 158, 115), 1),
    CellClass.WBC: ((230, 159, 0), 2),
    CellClass.SPHEROCYTE: ((0, 90, 178), 2),
}
_TITLE_PX, _GAP_PX, _LEGEND_PX = 22, 8, 30
_HATCH_PX = 7
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class SheetSize:
    """How a sheet is laid out: tiles across and down, and the width of one tile in pixels."""

    columns: int = 4
    rows: int = 3
    tile_width: int = 640

    @property
    def images(self) -> int:
        """Images on one sheet."""
        return self.columns * self.rows


def draw_sheet(
    images: Sequence[DataImage], *, pixel_aspect: float = 1.0, size: SheetSize = SheetSize()
) -> NDArray[np.uint8]:
    """Draw one contact sheet.

    Parameters
    ----------
    images : sequence of DataImage
        At most as many as fit.
    pixel_aspect : float
        Display width over height of one stored pixel.
    size : SheetSize

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.

    Raises
    ------
    ValueError
        There is no image, or there are more than fit.
    ImageError
    """
    if not 0 < len(images) <= size.images:
        raise ValueError(f"a sheet of {size.columns} x {size.rows} holds 1 to {size.images} images, not {len(images)}")
    tiles = [draw_tile(image, pixel_aspect=pixel_aspect, width=size.tile_width) for image in images]
    columns = min(size.columns, len(tiles))
    rows = -(-len(tiles) // columns)
    height = max(tile.shape[0] for tile in tiles)
    step = size.tile_width + _GAP_PX
    sheet = np.full((rows * (height + _GAP_PX) + _LEGEND_PX, columns * step + _GAP_PX, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * (height + _GAP_PX), index % columns * step + _GAP_PX
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return _with_legend(sheet)


def draw_tile(image: DataImage, *, pixel_aspect: float = 1.0, width: int = 640) -> NDArray[np.uint8]:
    """Draw one image with its labels and a title above it: name, group, counts.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.
    """
    field = read_image(image.path, pixel_aspect=pixel_aspect)
    height = max(1, round(field.height * width / field.width))
    shrinking = cv2.INTER_AREA if width < field.width else cv2.INTER_CUBIC
    picture = np.ascontiguousarray(cv2.resize(field.pixels, (width, height), interpolation=shrinking), np.uint8)
    scale = np.array([width / image.width, height / image.height])
    _hatch(picture, [o * scale for label in image.labels if label.cell_class is None for o in _outlines(label)])
    for cell_class, (colour, line) in _COLOURS.items():
        of_class = [label for label in image.labels if label.cell_class is cell_class]
        _draw(picture, [o * scale for label in of_class for o in _outlines(label)], colour, line)
    for label in image.labels:
        if label.point is not None:
            colour = _IGNORED if label.cell_class is None else _COLOURS[label.cell_class][0]
            x, y = (round(float(v)) for v in np.array(label.point) * scale)
            cv2.circle(picture, (x, y), 4, _PAPER, cv2.FILLED, cv2.LINE_AA)
            cv2.circle(picture, (x, y), 3, colour, cv2.FILLED, cv2.LINE_AA)
    return np.vstack([_title(image, width), picture])


def _outlines(label: Label) -> tuple[NDArray[np.float64], ...]:
    if label.polygons:
        return label.polygons
    return (corners_of(label.box),) if label.box is not None else ()


def _fixed(outlines: Sequence[NDArray[np.float64]]) -> list[NDArray[np.int32]]:
    # Labels count from a pixel's corner, OpenCV from its centre.
    return [np.rint((o - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32).reshape(-1, 1, 2) for o in outlines]


def _draw(picture: NDArray[np.uint8], outlines: Sequence[NDArray[np.float64]], colour: _Colour, width: int) -> None:
    if outlines:
        cv2.polylines(picture, _fixed(outlines), True, colour, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _hatch(picture: NDArray[np.uint8], outlines: Sequence[NDArray[np.float64]]) -> None:
    if not outlines:
        return
    inside = np.zeros(picture.shape[:2], np.uint8)
    for outline in _fixed(outlines):  # one by one: where two overlap, both are inside
        cv2.fillPoly(inside, [outline], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    rows, columns = np.indices(inside.shape)
    lines = (inside > 0) & ((rows + columns) % _HATCH_PX < 2)
    picture[lines] = (0.35 * picture[lines] + 0.65 * np.array(_IGNORED)).astype(np.uint8)
    _draw(picture, outlines, _IGNORED, 1)


def _title(image: DataImage, width: int) -> NDArray[np.uint8]:
    counts = Counter(label.cell_class for label in image.labels)
    said = [f"{counts[name]} {name}" for name in CellClass if counts[name]]
    said += [f"{counts[None]} ignored"] if counts[None] else []
    text = "   ".join([image.name, image.group, ", ".join(said) or "no label"])
    strip = Image.new("RGB", (width, _TITLE_PX), _PAPER)
    font = ImageFont.load_default(14)
    while font.getlength(text) > width - 8 and len(text) > 8:
        text = text[:-4] + "..."
    ImageDraw.Draw(strip).text((2, _TITLE_PX // 2), text, _INK, font, anchor="lm")
    return np.asarray(strip)


def _with_legend(sheet: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = sheet.shape[:2]
    picture = Image.fromarray(sheet)
    pen, font, middle, x = ImageDraw.Draw(picture), ImageFont.load_default(15), height - _LEGEND_PX // 2, _GAP_PX
    for name, (colour, line) in _COLOURS.items():
        pen.line([(x, middle), (x + 22, middle)], colour, line + 1)
        pen.text((x + 28, middle), str(name), _INK, font, anchor="lm")
        x += 28 + round(font.getlength(str(name))) + 24
    for step in range(0, 22, 6):
        pen.line([(x + step, middle + 6), (x + step + 6, middle - 6)], _IGNORED, 2)
    pen.text((x + 34, middle), "ignored: neither cell nor background", _INK, font, anchor="lm")
    drawn = np.asarray(picture)
    return np.ascontiguousarray(drawn[:, :width])
