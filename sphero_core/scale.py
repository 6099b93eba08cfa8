"""How large a red cell is in the pixels of a field, found classically: any camera, any stain, no network.

The light that passes is compared with that of the smear without cells (a smooth surface, so that uneven light does not
matter); what absorbs about half as much as the usual cell or more is foreground. Its pieces are shrunk by a part of a cell's
radius, which parts cells that merely touch; what is then round, of the usual size and away from the edge is measured. Clumps,
cells cut by the edge, platelets and specks are left out. A median over the fields of a case is the scale that the network is
given.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.background import OPACITY, clear_background
from sphero_core.turning import usual_view

#: Longest sides, in pixels, of the copies that are looked at: the second only where cells are too small in the first.
WORKING_SIDES = (640, 1600)
#: Above this share of the field's shorter side nothing is taken for a cell.
LARGEST_SHARE = 0.5
#: Below this diameter in the working copy (pixels) a cell is not measured; below twice this, a finer copy is tried.
SMALLEST_PX = 10.0
#: Where between background (0) and the usual cell (1) the outline lies, in optical density.
OUTLINE_LEVEL = 0.42
#: Optical density (log10) of the usual cell below which the field is blank.
SMALLEST_CONTRAST = 0.02
#: Densities above this are pen marks, pointers or the edge of the light, not red cells.
DARKEST = 0.8
#: By how much of the usual diameter pieces are shrunk to part cells that touch.
#: The second value parts cells that overlap, at some loss of accuracy; it is used where the first finds next to nothing.
SHRINKING = (0.22, 0.34)
#: A cell that stands alone is convex and not drawn out; two that overlap are not.
SMALLEST_SOLIDITY = 0.94
#: Of a round cell; smears of drawn-out cells only are measured by these.
ROUND_AXIS_RATIO = 0.7
SMALLEST_AXIS_RATIO = 0.4
#: A pale centre fills its convex hull by more than this; the gap between touching discs by 0.37 (three) to 0.53 (six).
#: The second value is for crowds in which no cell stands alone to tell the size of a gap by.
CONVEX_GAP = (0.65, 0.85)
#: Sizes about the usual one that are taken for red cells.
WINDOW = (0.62, 1.5)
#: Cells a case must have in all before its median is believed.
FEWEST_CELLS = 5
#: Quartile distance over median above which the sizes are not those of one kind of cell.
WIDEST_SPREAD = 0.45


def measure_cell_diameters(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Diameters of the red cells of one field that can be told apart.

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
    rgb = usual_view(rgb)
    longest = max(rgb.shape[:2])
    sizes: NDArray[np.float64] = np.empty(0)
    for side in WORKING_SIDES:
        factor = min(1.0, side / longest)
        green = _reduced_green(rgb, factor)
        sizes = _measure(green) if min(green.shape) >= 4 * SMALLEST_PX else np.empty(0)
        if factor == 1.0 or (len(sizes) and float(np.median(sizes)) >= 2 * SMALLEST_PX):
            return sizes / factor
    return sizes / factor


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
    sizes = np.concatenate([np.empty(0), *per_field])
    if len(sizes) < FEWEST_CELLS:
        return None
    sizes = _usual(sizes)
    if len(sizes) < FEWEST_CELLS:
        return None
    low, middle, high = np.quantile(sizes, [0.25, 0.5, 0.75])
    return float(middle) if high - low <= WIDEST_SPREAD * middle else None


def _reduced_green(rgb: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Green, where haemoglobin absorbs most, reduced and without pixel noise."""
    green = cv2.extractChannel(rgb, 1)
    if factor < 1.0:
        green = cv2.resize(green, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(green, (5, 5), 1.0), np.uint8)


def _measure(green: NDArray[np.uint8]) -> NDArray[np.float64]:
    dark = _foreground(green)
    if dark is None:
        return np.empty(0)
    filled, lone = _fill_pallor(dark)
    depth = cv2.distanceTransform(filled, cv2.DIST_L2, cv2.DIST_MASK_5)
    usual = _usual_diameter(np.asarray(depth, np.float32), lone)
    if usual < SMALLEST_PX:
        return np.empty(0)
    sizes: NDArray[np.float64] = np.empty(0)
    for shrinking in SHRINKING:
        sizes = _usual(_round_cores(np.asarray(depth, np.float32), shrinking * usual))
        if len(sizes) >= FEWEST_CELLS:
            break
    return sizes


def _foreground(green: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """What absorbs more than the smear without cells, as 0 and 1; None if nothing does."""
    sparse = OPACITY[green[::3, ::3]]
    clear = clear_background(sparse).over(*sparse.shape)
    above = sparse - clear
    # The smear without cells lies about 0; what is clearer than its most frequent value is noise only.
    counts, edges = np.histogram(above, bins=60, range=(-0.06, 0.06))
    peak = int(np.argmax(np.convolve(counts, np.ones(5), mode="same")))
    base = float(edges[peak] + edges[1] - edges[0])
    below = base - above[above < base]
    noise = 1.48 * float(np.median(below)) if len(below) else 0.0
    darker = above[(above > base + max(4 * noise, 0.01)) & (above < DARKEST)]
    if len(darker) < 0.002 * above.size:
        return None
    usual = float(np.median(darker)) - base
    if usual < SMALLEST_CONTRAST:
        return None
    level = base + OUTLINE_LEVEL * usual
    threshold = 255.0 * 10.0 ** -(clear + level)
    full = cv2.resize(threshold, (green.shape[1], green.shape[0]), interpolation=cv2.INTER_LINEAR)
    dark = (green < full).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)


def _fill_pallor(dark: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Fill the pale centres, not the gaps between cells; also the diameters of the pieces that stand alone.

    Notes
    -----
    A pale centre is convex; the gap that touching cells leave is not, or is larger than a cell.
    """
    contours, hierarchy = cv2.findContours(dark, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer = [np.asarray(c, np.int32) for c, links in zip(contours, hierarchy[0], strict=True) if links[3] < 0]
    lone = _diameters_of_round(outer, 0.0, dark.shape)
    # Unless cells stand alone to tell it, a pale centre may have any size, and no gap is small.
    cell_area = np.pi / 4 * float(np.median(_usual(lone))) ** 2 if len(lone) else np.nan
    filled = dark.copy()
    for i, contour in enumerate(contours):
        if hierarchy[0][i][3] < 0:
            continue
        area = cv2.contourArea(contour)
        convex = area >= CONVEX_GAP[len(lone) == 0] * cv2.contourArea(cv2.convexHull(contour))
        if area < 0.02 * cell_area or (convex and not area > 0.5 * cell_area):
            cv2.drawContours(filled, contours, i, 1, thickness=cv2.FILLED)
    return filled, lone


def _usual_diameter(depth: NDArray[np.float32], lone: NDArray[np.float64]) -> float:
    """First guess of the cells' diameter: of those that stand alone or, in a crowd, of the deepest places."""
    usual = _usual(lone)
    if len(usual) >= FEWEST_CELLS:
        return _weighed_median(usual)
    summit = (depth >= cv2.dilate(depth, np.ones((7, 7), np.uint8))) & (depth > SMALLEST_PX / 2)
    return _weighed_median(2.0 * depth[summit].astype(np.float64)) if summit.any() else 0.0


def _round_cores(depth: NDArray[np.float32], shrinking: float) -> NDArray[np.float64]:
    """Diameters of the cells whose cores, left after shrinking, are round and away from the edge."""
    cores, _ = cv2.findContours((depth > shrinking).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # Depth is counted to the nearest pixel centre outside, half a pixel beyond the outline.
    return _diameters_of_round([np.asarray(core, np.int32) for core in cores], shrinking - 0.5, depth.shape)


def _diameters_of_round(
    outlines: Sequence[NDArray[np.int32]], shrunk_by: float, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Equivalent diameters within those outlines that are convex, not drawn out and not cut by the edge.

    Parameters
    ----------
    outlines : sequence of ndarray of int32, each of shape (k, 1, 2)
        Through the outermost pixel centres.
    shrunk_by : float
        Pixels by which the outlines were moved inwards.
    shape : tuple of int
        Of the image.
    """
    measured = [
        sized
        for outline in outlines
        if not _cut(outline, shrunk_by + 1.5, shape) and (sized := _size_and_axis_ratio(outline, shrunk_by)) is not None
    ]
    found = np.array(measured, np.float64).reshape(-1, 2)
    sizes, ratios = found[found[:, 0] < LARGEST_SHARE * min(shape)].T
    undrawn = ratios >= ROUND_AXIS_RATIO
    mostly = np.sum(sizes[undrawn] ** 2) >= 0.3 * np.sum(sizes[ratios >= SMALLEST_AXIS_RATIO] ** 2)
    return np.asarray(sizes[undrawn if mostly else ratios >= SMALLEST_AXIS_RATIO])


def _cut(outline: NDArray[np.int32], margin: float, shape: tuple[int, ...]) -> bool:
    x, y, w, h = cv2.boundingRect(outline)
    return x < margin or y < margin or x + w > shape[1] - margin or y + h > shape[0] - margin


def _size_and_axis_ratio(outline: NDArray[np.int32], shrunk_by: float) -> tuple[float, float] | None:
    """Equivalent diameter in pixels and minor over major axis; None for what is too small or dented.

    Notes
    -----
    Steiner: a convex figure of area A and perimeter P, grown by r, has the area A + P r + pi r^2. Half a pixel lies
    beyond the pixel centres that an outline runs through.
    """
    hull = cv2.convexHull(outline)
    r = shrunk_by + 0.5
    added = cv2.arcLength(hull, closed=True) * r + np.pi * r * r
    area = cv2.contourArea(outline) + added
    if len(outline) < 5 or area < np.pi / 4 * SMALLEST_PX**2:
        return None
    if area < SMALLEST_SOLIDITY * (cv2.contourArea(hull) + added):
        return None
    _, axes, _ = cv2.fitEllipse(outline)
    return float(np.sqrt(4 * area / np.pi)), float((min(axes) + 2 * r) / (max(axes) + 2 * r))


def _weighed_median(sizes: NDArray[np.float64]) -> float:
    """Median by area, so that many platelets and specks do not outvote the cells."""
    ordered = np.sort(sizes)
    share = np.cumsum(ordered**2)
    return float(ordered[np.searchsorted(share, share[-1] / 2)])


def _usual(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sizes about the usual one."""
    if len(sizes) == 0:
        return sizes
    kept: NDArray[np.float64] = sizes
    for _ in range(3):
        centre = _weighed_median(kept)
        kept = sizes[np.asarray((sizes >= WINDOW[0] * centre) & (sizes <= WINDOW[1] * centre))]
    return kept
