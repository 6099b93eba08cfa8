"""What the judge looks at: numbered tiles on contact sheets, and whole fields with a dot on everything that is asked about elsewhere.

Four thin corners stand about what is meant and nothing on it, since a central pallor is to be seen. They look the same for a label, a detection and
a control. Pixels are enlarged but neither sharpened nor stretched in contrast; beyond the field's edge the tile is hatched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sphero_core.review.places import Place
from sphero_core.review.sampling import Shown

_INK = (30, 30, 30)
_MARK = (0, 90, 178)
_NUMBER_PX, _GAP_PX = 16, 6


@dataclass(frozen=True, slots=True)
class Layout:
    """How a sheet is laid out.

    Attributes
    ----------
    columns, rows : int
    tile_px : int
        Side of a tile on the sheet.
    context : float
        Side of what a tile shows, in median cell diameters.
    """

    columns: int = 6
    rows: int = 5
    tile_px: int = 240
    context: float = 2.6

    @property
    def tiles(self) -> int:
        """Tiles on one sheet."""
        return self.columns * self.rows


LAYOUT = Layout()


def draw_tile(
    pixels: NDArray[np.uint8], place: Place, diameter: float, shown: Shown, layout: Layout = LAYOUT
) -> NDArray[np.uint8]:
    """One tile.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The field in true proportion, RGB.
    place : Place
    diameter : float
        Median cell diameter in pixels.
    shown : Shown
        How it is turned.
    layout : Layout

    Returns
    -------
    ndarray of uint8, shape (tile_px, tile_px, 3)
    """
    x, y, w, h = place.box
    side = max(layout.context * diameter, 1.3 * max(w, h))
    scale = layout.tile_px / side
    left, top = x + w / 2 - side / 2, y + h / 2 - side / 2
    # OpenCV counts from a pixel's centre, boxes from its corner.
    move = np.array([[scale, 0, -left * scale + (scale - 1) / 2], [0, scale, -top * scale + (scale - 1) / 2]])
    shape = (layout.tile_px, layout.tile_px)
    enlarged = cv2.warpAffine(pixels, move, shape, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    tile = np.ascontiguousarray(enlarged, np.uint8)
    inside = cv2.warpAffine(np.ones(pixels.shape[:2], np.uint8), move, shape, flags=cv2.INTER_NEAREST)
    across, down = np.indices(shape)
    hatched = np.where((across + down) % 12 < 2, 150, 215).astype(np.uint8)
    tile[inside == 0] = hatched[inside == 0][:, None]
    _corners(tile, ((x - left) * scale, (y - top) * scale, w * scale, h * scale))
    return turned(tile, shown)


def draw_sheet(
    tiles: Sequence[NDArray[np.uint8]], captions: Sequence[str], layout: Layout = LAYOUT
) -> NDArray[np.uint8]:
    """Tiles with a caption above each."""
    rows = -(-len(tiles) // layout.columns)
    step = layout.tile_px + _GAP_PX
    height = layout.tile_px + _NUMBER_PX + _GAP_PX
    sheet = np.full((rows * height + _GAP_PX, layout.columns * step + _GAP_PX, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // layout.columns * height + _NUMBER_PX + _GAP_PX, index % layout.columns * step + _GAP_PX
        sheet[top : top + layout.tile_px, left : left + layout.tile_px] = tile
    picture = Image.fromarray(sheet)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for index, caption in enumerate(captions):
        row, column = divmod(index, layout.columns)
        pen.text((column * step + _GAP_PX, row * height + _GAP_PX - 2), caption, _INK, font)
    return np.asarray(picture)


def draw_field(
    pixels: NDArray[np.uint8], places: Sequence[Place], shown: Shown, width: int = 1400
) -> NDArray[np.uint8]:
    """A whole field with a dot at each of `places`; RGB."""
    scale = width / pixels.shape[1]
    size = (width, round(pixels.shape[0] * scale))
    picture = np.ascontiguousarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    for place in places:
        x, y, w, h = place.box
        # A cell that the edge cuts has its dot where it can be seen.
        at = (
            min(max(5, round((x + w / 2) * scale)), size[0] - 6),
            min(max(5, round((y + h / 2) * scale)), size[1] - 6),
        )
        cv2.circle(picture, at, 6, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, at, 4, _MARK, cv2.FILLED, cv2.LINE_AA)
    return turned(picture, shown)


def turned(picture: NDArray[np.uint8], shown: Shown) -> NDArray[np.uint8]:
    """A picture as a reading shows it."""
    picture = np.rot90(picture, shown.turns)
    return np.ascontiguousarray(picture[:, ::-1] if shown.mirrored else picture)


def _corners(tile: NDArray[np.uint8], box: tuple[float, float, float, float]) -> None:
    x, y, w, h = box
    last = tile.shape[0] - 2
    left, right = (int(np.clip(round(v), 1, last)) for v in (x, x + w))
    top, bottom = (int(np.clip(round(v), 1, last)) for v in (y, y + h))
    reach = max(6, round(0.14 * min(w, h)))
    for cx, sx in ((left, 1), (right, -1)):
        for cy, sy in ((top, 1), (bottom, -1)):
            cv2.line(tile, (cx, cy), (cx + sx * reach, cy), _MARK, 1, cv2.LINE_AA)
            cv2.line(tile, (cx, cy), (cx, cy + sy * reach), _MARK, 1, cv2.LINE_AA)
