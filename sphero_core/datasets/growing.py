"""Masks grown from points: what a labelled cell centre and its image tell about the cell's outline.

The foreground (see `sphero_core.datasets.masks`) is cut by a watershed on its distance transform, seeded at every summit, with or
without a point: a cell that nobody labelled would otherwise be swallowed by the labelled one it touches. A basin belongs to
the point in it; where there are several, each pixel to the nearest, since points lie off the summits and the relief would
leave slivers to some of them.

References
----------
Beucher and Lantuéjoul, Use of watersheds in contour detection, 1979; distance transform as the relief is the usual way to part
convex objects that touch.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops
from skimage.segmentation import watershed

from sphero_core.datasets.ignored import cell_foreground, pieces, usual_diameter, without_rims
from sphero_core.datasets.masks import BoxMask

#: Cells are parted in a copy in which the usual cell is no larger than this, in pixels.
WORKING_DIAMETER = 80.0
#: A summit of the distance counts as a cell of its own when it rises by this share of a usual radius above the saddle.
#: Two discs of one size whose centres lie half a diameter apart have a saddle of 0.13 radii.
RISE = 0.12
#: Area of a grown mask over that of the usual cell, outside of which the mask is not believed.
PLAUSIBLE_AREA = (0.12, 2.2)
#: A mask above 1.3 usual cells that fills its convex hull by less than this is two cells, or a cell and dirt.
LARGE, SMALLEST_SOLIDITY = 1.3, 0.9
#: Below this any mask is what is left of a rim.
BROKEN_SOLIDITY = 0.72
#: A mask below this share of a usual cell within a piece that no point claims is the dark middle of a cell, not the cell.
SMALL = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """What grew from the points of one image.

    Attributes
    ----------
    masks : tuple of BoxMask or None, one for each point
        None where no mask can be believed: the point lies on background, or the mask is no cell's by its area or form.
    unclaimed : tuple of BoxMask
        All other foreground: cells without a point, and what grew from points whose mask is not believed.
    diameter : float
        Of the usual red cell, in pixels.
    """

    masks: tuple[BoxMask | None, ...]
    unclaimed: tuple[BoxMask, ...]
    diameter: float


def grow_masks(rgb: NDArray[np.uint8], places: NDArray[np.float64]) -> Grown:
    """Grow a mask from each point.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The image in true proportion.
    places : ndarray of float, shape (n, 2)
        ``x, y`` of one point in each labelled cell, in pixels of that image.

    Returns
    -------
    Grown
    """
    diameter = usual_diameter(rgb)
    whole = cell_foreground(rgb, diameter, places)
    labels = _part(whole, places, diameter)
    masks: list[BoxMask | None] = [None] * len(places)
    # A watershed line is no gap: cells without a point stay apart by their own label.
    left: list[BoxMask] = []
    for region in regionprops(labels):
        top, left_edge = region.slice[0].start, region.slice[1].start
        mask = _believed(region.image, diameter) if region.label <= len(places) else None
        if mask is not None:
            masks[region.label - 1] = BoxMask(left_edge + mask.x, top + mask.y, mask.mask)
            continue
        free = without_rims(np.pad(region.image, 2), diameter)
        left += [BoxMask(left_edge + p.x - 2, top + p.y - 2, p.mask) for p in pieces(free, diameter)]
    for index, mask in enumerate(masks):
        if (
            mask is not None
            and mask.mask.sum() < SMALL * np.pi / 4 * diameter**2
            and any(_is_within(mask, p) for p in left)
        ):
            masks[index] = None
            left.append(mask)
    # What the label meant is unknown where its point lies on background: a cell's size about it is left alone.
    left += [_disc(place, diameter, whole.shape) for place in places if not _at(labels, place)]
    return Grown(tuple(masks), tuple(left), diameter)


def _part(whole: NDArray[np.bool_], places: NDArray[np.float64], diameter: float) -> NDArray[np.int32]:
    """Number the pixels of the foreground by cell: 1 to n for the points, higher for cells without one."""
    basins = _basins(whole, diameter)
    labels: NDArray[np.int32] = np.where(basins > 0, basins + len(places), 0).astype(np.int32)
    owners: dict[int, list[int]] = defaultdict(list)
    for index, place in enumerate(places):
        if basin := _at(basins, place):
            owners[basin].append(index)
    for region in regionprops(basins):
        if region.label in owners:
            indices = owners[region.label]
            rows, columns = region.coords.T
            away = np.linalg.norm(region.coords[:, None, ::-1] + 0.5 - places[indices][None], axis=2)
            labels[rows, columns] = np.array(indices)[away.argmin(axis=1)] + 1
    return labels


def _basins(whole: NDArray[np.bool_], diameter: float) -> NDArray[np.int32]:
    """Number the pixels of the foreground by the summit of the distance transform that they climb to; 0 elsewhere."""
    height, width = whole.shape
    factor = min(1.0, WORKING_DIAMETER / diameter)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(whole.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    depth = cv2.distanceTransform(np.pad(small, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    relief = np.asarray(cv2.GaussianBlur(depth, (0, 0), max(0.5, 0.04 * diameter * factor)), np.float32)
    summits = _summits(relief, RISE * diameter * factor / 2) & (small > 0)
    _, tops = cv2.connectedComponents(summits.astype(np.uint8), connectivity=8)
    basins = np.asarray(watershed(-relief, tops, mask=small > 0), np.int32)
    if factor == 1.0:
        return basins
    # Pixels that the smaller copy lacks go to the nearest basin.
    spread = np.asarray(cv2.dilate(basins.astype(np.float32), np.ones((3, 3), np.uint8)), np.float32)
    filled = cv2.resize(np.where(basins > 0, basins, spread), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.where(whole, filled, 0).astype(np.int32)


def _summits(relief: NDArray[np.float32], rise: float) -> NDArray[np.bool_]:
    """Where a relief has a summit that rises by at least `rise` above every way to a higher one (h-maxima)."""
    rebuilt = relief - np.float32(rise)
    while True:
        grown = np.minimum(np.asarray(cv2.dilate(rebuilt, np.ones((3, 3), np.uint8)), np.float32), relief)
        if np.array_equal(grown, rebuilt):
            return np.asarray(relief - rebuilt >= np.float32(rise) * np.float32(1 - 1e-4))
        rebuilt = grown


def _at(image: NDArray[np.int32], place: NDArray[np.float64]) -> int:
    """The value at a place; 0 outside of the image."""
    x, y = (int(v) for v in np.floor(place))
    return int(image[y, x]) if 0 <= y < image.shape[0] and 0 <= x < image.shape[1] else 0


def _believed(grown: NDArray[np.bool_], diameter: float) -> BoxMask | None:
    """What grew from a point, cropped, smoothed; placed within the crop. None when it cannot be one cell's mask."""
    crop = np.pad(grown.astype(np.uint8), 2)
    side = 2 * max(1, round(0.05 * diameter)) + 1
    opened = cv2.morphologyEx(crop, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    outer = max(contours, key=cv2.contourArea)
    mask = np.zeros_like(crop)
    cv2.drawContours(mask, [outer], 0, 1, cv2.FILLED)
    area, usual = float(mask.sum()), np.pi / 4 * diameter**2
    solidity = cv2.contourArea(outer) / max(cv2.contourArea(cv2.convexHull(outer)), 1.0)
    if not PLAUSIBLE_AREA[0] * usual <= area <= PLAUSIBLE_AREA[1] * usual:
        return None
    if solidity < (SMALLEST_SOLIDITY if area > LARGE * usual else BROKEN_SOLIDITY):
        return None
    left, top, w, h = cv2.boundingRect(mask)
    return BoxMask(left - 2, top - 2, mask[top : top + h, left : left + w].astype(np.bool_))


def _is_within(mask: BoxMask, piece: BoxMask) -> bool:
    """Whether a mask's box lies in another's."""
    across = piece.x <= mask.x and mask.x + mask.mask.shape[1] <= piece.x + piece.mask.shape[1]
    return across and piece.y <= mask.y and mask.y + mask.mask.shape[0] <= piece.y + piece.mask.shape[0]


def _disc(place: NDArray[np.float64], diameter: float, shape: tuple[int, ...]) -> BoxMask:
    """A usual cell about a point."""
    drawn = np.zeros(shape, np.uint8)
    cv2.circle(drawn, (int(place[0]), int(place[1])), max(1, round(diameter / 2)), 1, cv2.FILLED)
    x, y, width, height = cv2.boundingRect(drawn)
    return BoxMask(x, y, drawn[y : y + height, x : x + width].astype(np.bool_))
