"""How large a red cell is in the pixels of a field, found classically: any camera, any stain, no network.

The light that passes is compared with that of the smear without cells (a smooth surface, so that uneven light does not
matter); what absorbs more is foreground. Of it only what stands alone, is round and of the usual size is measured: clumps, cells
cut by the edge, platelets and specks are left out. A median over the fields of a case is the scale that the network is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

#: Longest side, in pixels, of the copy that is looked at; larger fields are reduced, never enlarged.
WORKING_SIDE = 800
#: Below this diameter in the working copy (pixels) a cell is not measured: too coarse.
SMALLEST_PX = 10.0
#: How far the threshold moves from Otsu's value towards the background (0: Otsu, 1: background).
TOWARDS_BACKGROUND = 0.35
#: Mean optical density (log10) that the foreground must exceed the background by, else the field is blank.
SMALLEST_CONTRAST = 0.02
#: A cell that stands alone is convex and not drawn out; two that overlap are not.
SMALLEST_SOLIDITY = 0.94
SMALLEST_AXIS_RATIO = 0.70
#: Sizes about the usual one that are taken for red cells.
WINDOW = (0.62, 1.5)
#: Cells a case must have in all before its median is believed.
FEWEST_CELLS = 8
#: Quartile distance over median above which the sizes are not those of one kind of cell.
WIDEST_SPREAD = 0.45

_GRID = (16, 12)


def measure_cell_diameters(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Diameters of the red cells of one field that stand alone.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The field in true proportion, at any size.

    Returns
    -------
    ndarray of float, shape (n,)
        Equivalent diameters sqrt(4 A / pi), central pallor included, in pixels of `rgb`. Empty where no such cell is
        found: a blank field, nothing but clumps, or no smear at all.
    """
    factor = min(1.0, WORKING_SIDE / max(rgb.shape[:2]))
    if min(rgb.shape[:2]) * factor < 3 * SMALLEST_PX:
        return np.empty(0)
    green = rgb[:, :, 1]
    if factor < 1.0:
        green = np.asarray(cv2.resize(green, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    dark = _foreground(np.ascontiguousarray(green))
    if dark is None:
        return np.empty(0)
    return _usual(_lone_round(dark)) / factor


def case_cell_diameter(per_field: Sequence[NDArray[np.float64]]) -> float | None:
    """Median red-cell diameter of a case.

    Parameters
    ----------
    per_field : sequence of ndarray of float
        What `measure_cell_diameters` gave for each field; all fields from one camera.

    Returns
    -------
    float or None
        Pixels; None when too few cells were found or their sizes are not those of one kind of cell.
    """
    sizes = _usual(np.concatenate([np.empty(0), *per_field]))
    if len(sizes) < FEWEST_CELLS:
        return None
    low, middle, high = np.quantile(sizes, [0.25, 0.5, 0.75])
    return float(middle) if high - low <= WIDEST_SPREAD * middle else None


def _foreground(green: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """What absorbs more than the smear without cells, as 0 and 1; None if nothing does."""
    smooth = cv2.GaussianBlur(green, (0, 0), 1.0).astype(np.float32)
    density = -np.log10(np.maximum(smooth, 1.0))
    density -= _background(density)
    # 8-bit levels for Otsu: a density of 0.6, twice that of a dark red cell, is the top.
    levels = np.clip(density * (200.0 / 0.6) + 40.0, 0, 255).astype(np.uint8)
    otsu, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    above = levels > otsu
    if not above.any() or above.all():
        return None
    base = float(np.median(levels[~above]))
    contrast = (float(np.median(levels[above])) - base) * 0.6 / 200.0
    if contrast < SMALLEST_CONTRAST:
        return None
    level = otsu + TOWARDS_BACKGROUND * (base - otsu)
    dark = (levels > level).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)


def _background(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Density of the smear without cells: a quadratic surface through the clearest places of a grid of blocks."""
    columns, rows = _GRID
    height, width = density.shape
    ys = np.linspace(0, height, rows + 1).astype(int)
    xs = np.linspace(0, width, columns + 1).astype(int)
    clear = np.array(
        [
            [np.quantile(density[ys[i] : ys[i + 1] : 2, xs[j] : xs[j + 1] : 2], 0.1) for j in range(columns)]
            for i in range(rows)
        ]
    ).ravel()
    terms = _quadratic((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns)
    weight = np.ones(len(clear))
    for _ in range(6):
        root = np.sqrt(weight)
        solution, *_ = np.linalg.lstsq(terms * root[:, None], clear * root, rcond=None)
        above = clear - terms @ solution
        # A block that cells fill lies above the surface; it loses its say. Those below keep it.
        scale = max(1e-3, float(np.median(np.abs(above[above < 0]))) if np.any(above < 0) else 1e-3)
        weight = np.where(above > 0, 1.0 / (1.0 + (above / scale) ** 2), 1.0)
    surface = _quadratic((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width) @ solution
    return np.asarray(surface.reshape(height, width), np.float32)


def _quadratic(down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    y, x = np.meshgrid(down - 0.5, across - 0.5, indexing="ij")
    y, x = y.ravel(), x.ravel()
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _lone_round(dark: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Equivalent diameters of the pieces that the edge does not cut and that are convex and not drawn out."""
    height, width = dark.shape
    # Two levels: the outline of a piece, and of its holes; a cell that stands within a ring of others is found, too.
    contours, hierarchy = cv2.findContours(dark, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    found = []
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0] if len(contours) else (), strict=True):
        if parent >= 0 or len(contour) < 2 * SMALLEST_PX:
            continue
        x, y, w, h = cv2.boundingRect(contour)
        if x <= 1 or y <= 1 or x + w >= width - 1 or y + h >= height - 1 or min(w, h) < SMALLEST_PX:
            continue
        # Pick's theorem: pixels within an outline through pixel centres, the outline's own included.
        area = cv2.contourArea(contour) + len(contour) / 2 + 1
        hull = cv2.convexHull(contour)
        around = cv2.contourArea(hull) + cv2.arcLength(hull, closed=True) / 2 + 1
        if area < SMALLEST_SOLIDITY * around:
            continue
        _, axes, _ = cv2.fitEllipse(contour)
        if min(axes) >= SMALLEST_AXIS_RATIO * max(axes):
            found.append(np.sqrt(4 * area / np.pi))
    return np.array(found, np.float64)


def _usual(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sizes about the usual one. Sizes are weighed by area, so that many platelets and specks do not outvote the cells."""
    if len(sizes) == 0:
        return sizes
    ordered = np.sort(sizes)
    share = np.cumsum(ordered**2)
    centre = float(ordered[np.searchsorted(share, share[-1] / 2)])
    for _ in range(5):
        kept = ordered[(ordered >= WINDOW[0] * centre) & (ordered <= WINDOW[1] * centre)]
        moved = float(np.median(kept))
        if moved == centre:
            break
        centre = moved
    return kept
