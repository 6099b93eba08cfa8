"""The overlay a technologist looks at: thin contours over the field, and a legend beside it, never on it.

Colours are of the Okabe-Ito palette (Okabe & Ito, 2008, "Color Universal Design"), which stays apart in every common
kind of colour blindness. Class is never told by colour alone: spherocytes also have the thickest line with a pale
casing, and cells cut by the field's edge, which do not count, are dashed.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sphero_core.types import Cell, CellClass, FieldFindings, FieldImage

_Colour = tuple[int, int, int]

_SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 pixel
_LARGEST_ENLARGEMENT = 2.0
_SMOOTHING_PX = 1.6  # sigma along the outline, in mask pixels: hides the stairs of the mask, keeps its shape
_EDGE_PX = 3.0
_LETTER_PX = 8  # mean advance of the legend's font, rounded up
_PAPER: _Colour = (255, 255, 255)
_INK: _Colour = (45, 45, 45)
_FAINT_INK: _Colour = (110, 110, 110)


@dataclass(frozen=True, slots=True)
class _Look:
    """How the contour of a class is drawn; widths in pixels of the overlay."""

    colour: _Colour
    width: int
    opacity: float
    label: str
    casing: bool = False


# In drawing order: what matters most comes last and lies on top.
_LOOKS: dict[CellClass, _Look] = {
    CellClass.RBC: _Look((40, 40, 40), 1, 0.6, "Other red cells"),
    CellClass.PLATELET: _Look((0, 158, 115), 1, 0.9, "Platelets"),
    CellClass.WBC: _Look((230, 159, 0), 2, 0.9, "White cells"),
    CellClass.SPHEROCYTE: _Look((0, 90, 178), 2, 1.0, "Spherocytes", casing=True),
}
_LEGEND_ORDER = (CellClass.SPHEROCYTE, CellClass.RBC, CellClass.PLATELET, CellClass.WBC)


def draw_overlay(
    image: FieldImage,
    findings: FieldFindings,
    *,
    longest_side: int = 1280,
    title: str | None = None,
    legend: bool = True,
    um_per_pixel: float | None = None,
) -> NDArray[np.uint8]:
    """Draw the findings over their field.

    Parameters
    ----------
    image : FieldImage
    findings : FieldFindings
        Of that field; its size need not be that of `image`.
    longest_side : int
        Of the picture without legend, in pixels; small fields are enlarged at most twice.
    title : str or None
        A line above the legend's counts; must hold no personal data.
    legend : bool
        Whether a strip with counts is put below the picture.
    um_per_pixel : float or None
        Micrometres per pixel of the field in true proportion; with it the legend has a scale bar.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.
    """
    scale = min(longest_side / max(image.width, image.height), _LARGEST_ENLARGEMENT)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    shrinking = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.ascontiguousarray(cv2.resize(image.pixels, size, interpolation=shrinking), dtype=np.uint8)
    of_findings = scale * image.width / findings.width
    for cell_class, look in _LOOKS.items():
        _draw_class(picture, [cell for cell in findings.cells if cell.cell_class is cell_class], look, of_findings)
    if not legend:
        return picture
    um_per_shown_pixel = None if um_per_pixel is None else um_per_pixel * image.reduction / scale
    return np.vstack([picture, _legend(findings, picture.shape[1], title, um_per_shown_pixel)])


def _draw_class(picture: NDArray[np.uint8], cells: list[Cell], look: _Look, scale: float) -> None:
    if not cells:
        return
    whole, cut = [], []
    for cell in cells:
        lines = [(line * scale + (scale - 1) / 2) for line in _outlines(cell)]
        if cell.touches_border:
            cut += [dash for line in lines for dash in _dashes(line, picture.shape[1], picture.shape[0])]
        else:
            whole += lines
    if look.casing:
        _draw_lines(picture, whole, _PAPER, look.width + 2, 0.75, closed=True)
        _draw_lines(picture, cut, _PAPER, look.width + 2, 0.75, closed=False)
    _draw_lines(picture, whole, look.colour, look.width, look.opacity, closed=True)
    _draw_lines(picture, cut, look.colour, look.width, look.opacity, closed=False)


def _draw_lines(
    picture: NDArray[np.uint8],
    lines: list[NDArray[np.float64]],
    colour: _Colour,
    width: int,
    opacity: float,
    *,
    closed: bool,
) -> None:
    if not lines:
        return
    fixed = [np.rint(line * (1 << _SUBPIXEL_BITS)).astype(np.int32).reshape(-1, 1, 2) for line in lines]
    target = picture if opacity == 1 else picture.copy()
    cv2.polylines(target, fixed, closed, colour, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    if opacity < 1:
        cv2.addWeighted(target, opacity, picture, 1 - opacity, 0, dst=picture)


def _outlines(cell: Cell) -> Iterator[NDArray[np.float64]]:
    """Outer outlines of a mask in field coordinates, smoothed along their length, shape (points, 2)."""
    padded = cv2.copyMakeBorder(cell.mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    contours, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    reach = int(3 * _SMOOTHING_PX)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SMOOTHING_PX) ** 2)
    kernel /= kernel.sum()
    for contour in contours:
        points = contour[:, 0, :].astype(np.float64) + np.array([cell.x - 1, cell.y - 1])
        if len(points) > 2 * reach:
            ring = np.concatenate([points[-reach:], points, points[:reach]])
            points = np.column_stack([np.convolve(ring[:, axis], kernel, "valid") for axis in (0, 1)])
        yield _grow(points)


def _grow(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move a closed line half a pixel outwards: it was traced through the middle of the mask's outermost pixels."""
    ahead, behind = np.roll(points, -1, axis=0), np.roll(points, 1, axis=0)
    along = ahead - behind
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    twice_area = np.sum(points[:, 0] * ahead[:, 1] - ahead[:, 0] * points[:, 1])
    outwards = np.column_stack([along[:, 1], -along[:, 0]]) / length[:, None]
    grown: NDArray[np.float64] = points + (0.5 if twice_area > 0 else -0.5) * outwards
    return grown


def _dashes(line: NDArray[np.float64], width: int, height: int, dash: float = 8.0) -> list[NDArray[np.float64]]:
    """Cut a closed line into dashes with gaps of the same length, but for what runs along the picture's edge."""
    closed = np.vstack([line, line[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    count = max(round(along[-1] / (2 * dash)), 1)
    ends = np.linspace(0, along[-1], 2 * count + 1)
    pieces = []
    for start, end in zip(ends[:-1:2], ends[1::2], strict=True):
        steps = np.linspace(start, end, max(int((end - start) / 1.5), 2))
        piece = np.column_stack([np.interp(steps, along, closed[:, axis]) for axis in (0, 1)])
        near = np.minimum(piece, (width - 1, height - 1) - piece) < _EDGE_PX
        if not near.all(axis=0).any():
            pieces.append(piece)
    return pieces


def _legend(
    findings: FieldFindings, width: int, title: str | None, um_per_shown_pixel: float | None
) -> NDArray[np.uint8]:
    """Draw the strip below the picture; entries wrap when the picture is narrow."""
    font = ImageFont.load_default(15)
    margin, gap, swatch, line_height = 14, 26, 22, 24
    entries = _entries(findings)
    places: list[tuple[int, int]] = []
    x, row = margin, 0
    right = width - margin - (_bar_width(um_per_shown_pixel, width)[0] + 70 if um_per_shown_pixel else 0)
    for _, _, text in entries:
        needed = swatch + 8 + round(font.getlength(text))
        if x > margin and x + needed > right:
            x, row = margin, row + 1
        places.append((x, row))
        x += needed + gap
    said = [*([title] if title else []), *_remarks(findings)]
    lines = [line for text in said for line in textwrap.wrap(text, max((width - 2 * margin) // _LETTER_PX, 10))]
    top = 10 + line_height * len(lines)
    strip = Image.new("RGB", (width, top + line_height * (row + 1) + 8), _PAPER)
    pen = ImageDraw.Draw(strip)
    for number, text in enumerate(lines):
        pen.text((margin, 10 + line_height * number), text, _INK, font)
    for (left, line), (look, dashed, text) in zip(places, entries, strict=True):
        middle = top + line * line_height + 10
        _draw_swatch(pen, left, middle, swatch, look, dashed)
        pen.text((left + swatch + 8, middle), text, _INK if look is not None else _FAINT_INK, font, anchor="lm")
    if um_per_shown_pixel:
        _draw_scale_bar(pen, width - margin, top + 10, font, _bar_width(um_per_shown_pixel, width))
    pen.line([(0, 0), (width, 0)], (215, 215, 215))
    return np.asarray(strip)


def _entries(findings: FieldFindings) -> list[tuple[_Look | None, bool, str]]:
    """Look (None: grey), whether dashed, and text of each legend entry; cells cut by the edge are counted apart."""
    whole = Counter(cell.cell_class for cell in findings.cells if not cell.touches_border)
    red = sum(count for name, count in whole.items() if name.is_red_cell)
    entries: list[tuple[_Look | None, bool, str]] = []
    for name in _LEGEND_ORDER:
        text = f"{_LOOKS[name].label} {whole[name]}"
        if name is CellClass.SPHEROCYTE and red:
            text += f" ({100 * whole[name] / red:.1f} % of {red})"
        entries.append((_LOOKS[name], False, text))
    cut = sum(cell.touches_border for cell in findings.cells)
    if cut:
        entries.append((None, True, f"Cut by the edge, not counted {cut}"))
    return entries


def _remarks(findings: FieldFindings) -> list[str]:
    if findings.quality.accepted:
        return []
    return ["Field not counted: " + "; ".join(findings.quality.reasons)]


def _draw_swatch(pen: ImageDraw.ImageDraw, x: int, y: int, length: int, look: _Look | None, dashed: bool) -> None:
    colour = _FAINT_INK if look is None else look.colour
    width = 2 if look is None else look.width + 1
    if dashed:
        for start in range(x, x + length, 9):
            pen.line([(start, y), (min(start + 4, x + length), y)], colour, width)
    else:
        pen.line([(x, y), (x + length, y)], colour, width)


def _bar_width(um_per_shown_pixel: float, width: int) -> tuple[int, str]:
    """Length in pixels and label of the longest round scale bar within a sixth of the picture."""
    fitting = [um for um in (1, 2, 5, 10, 20, 50, 100, 200, 500) if um / um_per_shown_pixel <= width / 6]
    micrometres = fitting[-1] if fitting else 1
    return max(round(micrometres / um_per_shown_pixel), 1), f"{micrometres} um"  # the font has no micro sign


def _draw_scale_bar(
    pen: ImageDraw.ImageDraw,
    right: int,
    y: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    bar: tuple[int, str],
) -> None:
    length, label = bar
    left = right - length
    pen.line([(left, y), (right, y)], _INK, 2)
    for end in (left, right):
        pen.line([(end, y - 4), (end, y + 4)], _INK, 2)
    pen.text((left - 8, y), label, _INK, font, anchor="rm")
