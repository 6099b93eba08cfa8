"""The outline of a cell as a polygon in the pixels of the source frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from sphero_core.types import Cell

TOLERANCE_PX = 0.3
"""Points that lie nearer than this to the line between their neighbours are left out, in pixels of the field."""


def outline_of(cell: Cell, to_source: tuple[float, float], size: tuple[int, int]) -> NDArray[np.float32]:
    """Give the outer outline of a cell's largest part.

    The outline runs along the edges of its pixels, corners cut: (0, 0) is the upper left corner of the frame's first pixel
    and (1, 1) its lower right one (PS3.3 C.37.1.2, Annotation Coordinate Type 2D). Holes are not told.

    Parameters
    ----------
    cell : Cell
    to_source : tuple of float
        Factors (x, y) from the field in true proportion to the frame.
    size : tuple of int
        ``(columns, rows)`` of the frame; no point lies outside.

    Returns
    -------
    ndarray of float32, shape (n, 2)
        Columns and rows; at least 3 points, the first is not repeated.
    """
    # Between a pixel's centre and its neighbour's, half way: in a padded array that is half a pixel off its index.
    contours = find_contours(np.pad(cell.mask, 1).astype(np.float32), 0.5)
    points = max((each[:-1, ::-1].astype(np.float32) for each in contours), key=_area) - 0.5
    simple = cv2.approxPolyDP(points.reshape(-1, 1, 2), TOLERANCE_PX, closed=True)[:, 0, :]
    if len(simple) < 3:
        simple = points
    placed = (simple + np.array([cell.x, cell.y], np.float32)) * np.array(to_source, np.float32)
    return np.asarray(np.clip(placed, 0, np.array(size, np.float32)), np.float32)


def _area(points: NDArray[np.float32]) -> float:
    return float(cv2.contourArea(points.reshape(-1, 1, 2)))
