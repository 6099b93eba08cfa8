"""Foreground without a label: regions that training must take neither for a cell of some class nor for background.

Public labels are not exhaustive. A red cell that nobody labelled is still a red cell: taken for background, it teaches the
network to overlook cells. What is darker than the background and belongs to no label becomes an outline in
`LabelledImage.ignored`, whatever it is: cell, platelet, stain or scale bar.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.masks import BoxMask, masks_from_boxes, outline_of, stained
from sphero_core.scale import FEWEST_CELLS, measure_cell_diameters
from sphero_core.types import FieldImage

#: Pieces below this share of a usual cell's area are specks: background that a network should learn to pass over.
SMALLEST_PIECE = 0.02
#: Width, in cell diameters, below which what is left beside a labelled cell is that cell's rim.
RIM = 0.06
#: Widest break, in cell diameters, through which a pallor still counts as enclosed by its rim.
BREAK = 0.12
#: A hole larger than this share of a usual cell, or less convex, is a gap between cells and no pallor.
LARGEST_PALLOR, CONVEX_PALLOR = 0.6, 0.78
#: The same where a labelled centre lies in the hole: the ring of a pale cell that is larger than the usual one.
LARGEST_POINTED = 1.4
#: Largest inscribed radius of a hole over the root of its area: 0.39 for the gap of three touching discs, less for crescents.
THIN = 0.3
#: Of a piece, the share within labelled boxes above which the piece belongs to them.
COVERED = 0.6


def with_ignored(image: LabelledImage, field: FieldImage) -> LabelledImage:
    """The same labels, and an outline for all foreground that no label covers.

    Parameters
    ----------
    image : LabelledImage
        With boxes or masks; regions that are ignored already stay.
    field : FieldImage
        The same image, read in true proportion.

    Returns
    -------
    LabelledImage
    """
    fx, fy = field.to_stored
    boxes = image.boxes / np.array([fx, fy, fx, fy])
    diameter = usual_diameter(field.pixels)
    whole = cell_foreground(field.pixels, diameter)
    free = whole.copy()
    covered = np.zeros_like(whole)
    for box, part in zip(boxes, masks_from_boxes(field.pixels, boxes), strict=True):
        height, width = part.mask.shape
        free[part.y : part.y + height, part.x : part.x + width] &= ~part.mask
        x, y, w, h = box
        covered[max(0, round(y)) : max(0, round(y + h)), max(0, round(x)) : max(0, round(x + w))] = True
    left = [piece for piece in pieces(without_rims(free, diameter), diameter) if _share(piece, covered) < COVERED]
    outlines = tuple(outline_of(piece.mask, piece.x, piece.y) * np.array([fx, fy]) for piece in left)
    return replace(image, ignored=image.ignored + outlines)


def usual_diameter(rgb: NDArray[np.uint8]) -> float:
    """Median diameter of the red cells of a field in pixels; from its deepest places where none stands alone.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
    """
    sizes = measure_cell_diameters(rgb)
    if len(sizes) >= FEWEST_CELLS:
        return float(np.median(sizes))
    depth = np.asarray(cv2.distanceTransform(stained(rgb), cv2.DIST_L2, 5), np.float32)
    summits = depth[(depth >= cv2.dilate(depth, np.ones((9, 9), np.uint8))) & (depth > 4)]
    return 2.0 * float(np.quantile(summits, 0.75)) if len(summits) else min(rgb.shape[:2]) / 10.0


def cell_foreground(
    rgb: NDArray[np.uint8], diameter: float, places: NDArray[np.float64] | None = None
) -> NDArray[np.bool_]:
    """Every pixel that belongs to a cell, pallor included, but not the gaps that touching cells enclose.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
    diameter : float
        Of the usual cell, in pixels.
    places : ndarray of float, shape (n, 2), optional
        ``x, y`` within cells: a hole around one is a pallor, whatever its form.
    """
    dark = stained(rgb)
    # A rim that the light breaks at one place still encloses its pallor, and so does the rim of a cell that the edge cuts.
    # Wide breaks are closed only about labelled centres: elsewhere that would make pallors of the gaps in a crowd.
    found = _pallors(dark, dark, diameter, places) | _pallors(dark, _closed(dark, RIM * diameter), diameter, places)
    if places is not None:
        found |= _pallors(dark, _closed(dark, BREAK * diameter), diameter, places, pointed=True)
    return np.asarray(dark | found, np.bool_)


def _closed(dark: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.morphologyEx(dark, cv2.MORPH_CLOSE, _disc(width)), np.uint8)


def _disc(width: float) -> NDArray[np.uint8]:
    side = 2 * max(1, round(width / 2)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _pallors(
    dark: NDArray[np.uint8],
    enclosing: NDArray[np.uint8],
    diameter: float,
    places: NDArray[np.float64] | None,
    *,
    pointed: bool = False,
) -> NDArray[np.uint8]:
    """The pale centres that are holes of `enclosing`, which is `dark` or a closing of it; with what closed their rims."""
    pallor = np.zeros_like(dark)
    framed = np.pad(enclosing, 1, constant_values=1)
    contours, hierarchy = cv2.findContours(framed, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(-1, -1))
    for contour, links in zip(contours, hierarchy[0], strict=True):
        hole = np.asarray(contour, np.int32)
        if links[3] < 0 or (pointed and not (_is_convex(hole) and _holds(hole, places))):
            continue
        outline = _pallor(hole, diameter, places)
        if outline is not None:
            cv2.drawContours(pallor, [outline], 0, 1, cv2.FILLED)
    near = np.asarray(cv2.dilate(pallor, _disc(4 * RIM * diameter)), np.uint8)
    return np.asarray(pallor | (enclosing & near), np.uint8)


def _is_convex(hole: NDArray[np.int32]) -> bool:
    return bool(cv2.contourArea(hole) > CONVEX_PALLOR * cv2.contourArea(cv2.convexHull(hole)))


def _pallor(hole: NDArray[np.int32], diameter: float, places: NDArray[np.float64] | None) -> NDArray[np.int32] | None:
    """The outline of the pale centre that a hole in the foreground belongs to; None for a gap between cells."""
    usual = np.pi / 4 * diameter**2
    area, hull = cv2.contourArea(hole), np.asarray(cv2.convexHull(hole), np.int32)
    if area > LARGEST_PALLOR * usual:
        inside = places is not None and area < LARGEST_POINTED * usual
        return hole if inside and _holds(hole, places) else None
    if area < 0.02 * usual or _is_convex(hole) or _holds(hole, places):
        return hole
    # The ring about the dark middle of a target cell, or a crescent: long and thin, which no gap is.
    x, y, width, height = cv2.boundingRect(hole)
    drawn = np.zeros((height + 2, width + 2), np.uint8)
    cv2.drawContours(drawn, [hole - np.array([x - 1, y - 1], np.int32)], 0, 1, cv2.FILLED)
    thin = float(cv2.distanceTransform(drawn, cv2.DIST_L2, 5).max()) < THIN * np.sqrt(area)
    return hull if thin and cv2.contourArea(hull) < LARGEST_PALLOR * usual else None


def _holds(hole: NDArray[np.int32], places: NDArray[np.float64] | None) -> bool:
    if places is None:
        return False
    return any(cv2.pointPolygonTest(hole, (float(x), float(y)), False) >= 0 for x, y in places)


def without_rims(free: NDArray[np.bool_], diameter: float) -> NDArray[np.bool_]:
    """What is left of foreground when everything thinner than a rim is taken away."""
    return np.asarray(cv2.morphologyEx(free.astype(np.uint8), cv2.MORPH_OPEN, _disc(RIM * diameter)), np.bool_)


def pieces(free: NDArray[np.bool_], diameter: float) -> list[BoxMask]:
    """The connected pieces of a mask, specks left out; `diameter` is that of the usual cell in pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(free.astype(np.uint8), connectivity=4)
    smallest = SMALLEST_PIECE * np.pi / 4 * diameter**2
    found = []
    for index in range(1, count):
        x, y, width, height, area = (int(v) for v in stats[index])
        if area >= smallest:
            found.append(BoxMask(x, y, labels[y : y + height, x : x + width] == index))
    return found


def _share(piece: BoxMask, covered: NDArray[np.bool_]) -> float:
    height, width = piece.mask.shape
    return float(covered[piece.y : piece.y + height, piece.x : piece.x + width][piece.mask].mean())
