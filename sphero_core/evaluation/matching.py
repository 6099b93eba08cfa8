"""Which detection is which labelled cell: overlaps, one-to-one matching, and the class that a detection is called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sphero_core.bundle import Thresholds
from sphero_core.datasets.masks import BoxMask
from sphero_core.types import CellClass

#: Order of the columns of every array of class probabilities here.
CLASSES = (CellClass.RBC, CellClass.SPHEROCYTE, CellClass.PLATELET, CellClass.WBC)
#: Overlap at which a detection is a labelled cell, unless a figure says otherwise.
SAME_CELL_IOU = 0.5


def box_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes.

    Parameters
    ----------
    first, second : ndarray of float, shapes (n, 4) and (m, 4)
        ``x, y, width, height``.

    Returns
    -------
    ndarray of float, shape (n, m)
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, :2] + first[:, None, 2:], second[None, :, :2] + second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.prod(first[:, 2:], axis=1)[:, None] + np.prod(second[:, 2:], axis=1)[None]
    return np.asarray(shared / np.maximum(areas - shared, 1e-9), np.float64)


def mask_iou(first: Sequence[BoxMask], second: Sequence[BoxMask]) -> NDArray[np.float64]:
    """Intersection over union of cropped masks of one field, counted in pixels: shape (n, m)."""
    overlap = np.zeros((len(first), len(second)))
    areas = [int(np.count_nonzero(one.mask)) for one in first]
    others = [int(np.count_nonzero(other.mask)) for other in second]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            shared = shared_pixels(one, other)
            if shared:
                overlap[i, j] = shared / (areas[i] + others[j] - shared)
    return overlap


def shared_pixels(one: BoxMask, other: BoxMask) -> int:
    """Pixels that two cropped masks of one field have in common."""
    x0, y0 = max(one.x, other.x), max(one.y, other.y)
    x1 = min(one.x + one.mask.shape[1], other.x + other.mask.shape[1])
    y1 = min(one.y + one.mask.shape[0], other.y + other.mask.shape[0])
    if x1 <= x0 or y1 <= y0:
        return 0
    first = one.mask[y0 - one.y : y1 - one.y, x0 - one.x : x1 - one.x]
    second = other.mask[y0 - other.y : y1 - other.y, x0 - other.x : x1 - other.x]
    return int(np.count_nonzero(first & second))


def match_one_to_one(scores: NDArray[np.float64], overlap: NDArray[np.float64]) -> NDArray[np.int64]:
    """Match detections to labelled cells: best score first, each takes the free cell it overlaps most.

    Parameters
    ----------
    scores : ndarray of float, shape (n,)
    overlap : ndarray of float, shape (n, m)
        Intersection over union.

    Returns
    -------
    ndarray of int, shape (n,)
        Index of the labelled cell, -1 where there is none at `SAME_CELL_IOU` or above.
    """
    matched: NDArray[np.int64] = np.full(len(scores), -1, np.int64)
    free = overlap.copy()
    if free.shape[1] == 0:
        return matched
    for i in np.argsort(-scores, kind="stable"):
        best = int(np.argmax(free[i]))
        if free[i, best] >= SAME_CELL_IOU:
            matched[i] = best
            free[:, best] = -1.0
    return matched


def called(probabilities: NDArray[np.float64], thresholds: Thresholds) -> NDArray[np.int64]:
    """The class that each candidate is called at the operating point: the rule of `sphero_core.analysis`.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n, 4)
        In the order of `CLASSES`.
    thresholds : Thresholds

    Returns
    -------
    ndarray of int, shape (n,)
        Index into `CLASSES`; -1 where no threshold is reached.
    """
    rbc, spherocyte, platelet, wbc = probabilities.T
    red = rbc + spherocyte
    as_red = np.where(red >= thresholds.red_cell, np.where(spherocyte >= thresholds.spherocyte, 1, 0), -1)
    as_platelet = np.where(platelet >= thresholds.platelet, 2, -1)
    as_wbc = np.where(wbc >= thresholds.wbc, 3, -1)
    other = np.where(platelet >= wbc, as_platelet, as_wbc)
    return np.asarray(np.where(is_red(probabilities), as_red, other), np.int64)


def is_red(probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a candidate is rather a red cell than a platelet or a white cell: shape (n,)."""
    red = probabilities[:, 0] + probabilities[:, 1]
    return np.asarray(red >= probabilities[:, 2:].max(axis=1, initial=0.0))
