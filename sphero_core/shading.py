"""Light within a cell: density, pallor, texture; definitions stand in `sphero_core.measures`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.background import OPACITY

#: Depth below the outline, as a share of the greatest: rim from, rim to, centre from.
RIM_FROM, RIM_TO, CENTRE_FROM = 0.15, 0.45, 0.7
#: Pallor: how deep at least, and below which share of the rim's density.
PALLOR_FROM, PALE = 0.3, 0.75


@dataclass(frozen=True, slots=True)
class Shading:
    """Measures of light within one cell; NaN where one cannot be had."""

    density: float
    deviation: float
    contrast: float
    pallor_index: float
    pallor_area_share: float


def shade(
    share: NDArray[np.float32], inside: NDArray[np.uint8], light: NDArray[np.uint8], background_density: float
) -> Shading:
    """Measure the light within a cell.

    Parameters
    ----------
    share : ndarray of float32, shape (rows, columns)
        Share of each working pixel that belongs to the cell, 0 to 1.
    inside : ndarray of uint8, same shape
        1 where that is half or more.
    light : ndarray of uint8, same shape
        Green channel.
    background_density : float
        -log10(I / 255) of the clear smear at the cell's place, green.
    """
    opacity = np.asarray(cv2.LUT(light, OPACITY), np.float32)
    total = float(np.sum(share))
    mean = float(np.sum(opacity * share)) / total
    # About the mean, not as a difference of squares: that would cancel where a cell is even.
    deviation = float(np.sqrt(np.sum((opacity - np.float32(mean)) ** 2 * share) / total))
    index, area_share = _pallor(inside, light, opacity - np.float32(background_density))
    return Shading(mean - background_density, deviation, _contrast(inside, light), index, area_share)


def _pallor(inside: NDArray[np.uint8], light: NDArray[np.uint8], density: NDArray[np.float32]) -> tuple[float, float]:
    """Pallor index and the share of the cell that is pale."""
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    deepest = float(depth.max())
    if deepest == 0:
        return float("nan"), float("nan")
    at_rim = (depth >= RIM_FROM * deepest) & (depth < RIM_TO * deepest)
    centre = light[depth >= CENTRE_FROM * deepest]
    if not at_rim.any() or len(centre) == 0:
        return float("nan"), float("nan")
    rim_light = max(1.0, _median(light[at_rim]))
    index = (_median(centre) - rim_light) / rim_light
    rim_density = _median(density[at_rim])
    if rim_density <= 0:
        return index, float("nan")
    pale = (density < PALE * rim_density) & (depth >= PALLOR_FROM * deepest)
    return index, float(np.count_nonzero(pale) / cv2.countNonZero(inside))


def _median(values: NDArray[Any]) -> float:
    """What `np.median` gives, without what it does for axes and NaN: three of a cell took a tenth of all its measures."""
    middle = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, middle)[middle])
    low, high = np.partition(values, (middle - 1, middle))[middle - 1 : middle + 1].astype(np.float64)
    return float((low + high) / 2)


def _contrast(inside: NDArray[np.uint8], light: NDArray[np.uint8]) -> float:
    """Mean square difference of neighbours across and down; NaN without two neighbours."""
    squares, pairs = 0.0, 0
    for first, second in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        both = (inside[first] & inside[second]).astype(np.bool_)
        steps = light[first][both].astype(np.int32) - light[second][both]
        squares += float(np.dot(steps, steps))
        pairs += len(steps)
    return squares / pairs if pairs else float("nan")
