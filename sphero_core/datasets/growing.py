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
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from sphero_core.datasets.ignored import cell_foreground, pieces, usual_diameter, without_rims
from sphero_core.datasets.masks import BoxMask

#: A summit of the distance counts as a cell of its own when it rises by this share of a usual radius above the saddle.
#: Two discs of one size whose centres lie half a diameter apart have a saddle of 0.13 radii.
RISE = 0.12
#: Area of a grown mask over that of the usual cell, outside of which the mask is not believed.
PLAUSIBLE_AREA = (0.12, 2.2)
#: A mask above 1.3 usual cells that fills its convex hull by less than this is two cells, or a cell and dirt.
LARGE, SMALLEST_SOLIDITY = 1.3, 0.9


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
    masks: list[BoxMask | None] = []
    free = whole.copy()
    for number in range(1, len(places) + 1):
        mask = _believed(labels == number, diameter)
        masks.append(mask)
        if mask is not None:
            free[labels == number] = False
    # A watershed line is no gap: cells without a point stay apart by their own label.
    left: list[BoxMask] = []
    for number in np.unique(labels[free]):
        left += pieces(without_rims(free & (labels == number), diameter), diameter)
    # What the label meant is unknown where its point lies on background: a cell's size about it is left alone.
    left += [_disc(place, diameter, whole.shape) for place in places if not _at(labels, place)]
    return Grown(tuple(masks), tuple(left), diameter)


def _part(whole: NDArray[np.bool_], places: NDArray[np.float64], diameter: float) -> NDArray[np.int32]:
    """Number the pixels of the foreground by cell: 1 to n for the points, higher for cells without one."""
    depth = cv2.distanceTransform(np.pad(whole.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    relief = cv2.GaussianBlur(depth, (0, 0), max(0.5, 0.04 * diameter))
    summits = h_maxima(relief, RISE * diameter / 2) & whole
    _, tops = cv2.connectedComponents(summits.astype(np.uint8), connectivity=8)
    basins = watershed(-relief, tops, mask=whole)
    labels: NDArray[np.int32] = np.where(basins > 0, basins + len(places), 0).astype(np.int32)
    owners: dict[int, list[int]] = defaultdict(list)
    for index, place in enumerate(places):
        if basin := _at(basins, place):
            owners[basin].append(index)
    for basin, indices in owners.items():
        rows, columns = np.nonzero(basins == basin)
        centres = np.column_stack([columns, rows]) + 0.5
        away = np.linalg.norm(centres[:, None] - places[indices][None], axis=2)
        labels[rows, columns] = np.array(indices)[away.argmin(axis=1)] + 1
    return labels


def _at(image: NDArray[np.int32], place: NDArray[np.float64]) -> int:
    """The value at a place; 0 outside of the image."""
    x, y = (int(v) for v in np.floor(place))
    return int(image[y, x]) if 0 <= y < image.shape[0] and 0 <= x < image.shape[1] else 0


def _believed(grown: NDArray[np.bool_], diameter: float) -> BoxMask | None:
    """What grew from a point, smoothed; None when it cannot be one cell's mask."""
    x, y, width, height = cv2.boundingRect(grown.astype(np.uint8))
    crop = np.pad(grown.astype(np.uint8)[y : y + height, x : x + width], 2)
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
    if area > LARGE * usual and solidity < SMALLEST_SOLIDITY:
        return None
    left, top, w, h = cv2.boundingRect(mask)
    return BoxMask(x + left - 2, y + top - 2, mask[top : top + h, left : left + w].astype(np.bool_))


def _disc(place: NDArray[np.float64], diameter: float, shape: tuple[int, ...]) -> BoxMask:
    """A usual cell about a point."""
    drawn = np.zeros(shape, np.uint8)
    cv2.circle(drawn, (int(place[0]), int(place[1])), max(1, round(diameter / 2)), 1, cv2.FILLED)
    x, y, width, height = cv2.boundingRect(drawn)
    return BoxMask(x, y, drawn[y : y + height, x : x + width].astype(np.bool_))
