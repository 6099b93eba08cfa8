"""Measures of single cells: size, shape, pallor and density, each by a formula that is written down.

Shape is measured on a copy of the mask no larger than `WORKING_SIDE` pixels, reduced by a whole factor so that every reduced
pixel holds the share of the mask it covers: moments and perimeter of cells as large as those of a 2400 x 1800 camera (280
pixels) are kept to within 0.3 %, at a tenth of the time; the area is counted in full. Outlines come from a network that
draws 28 x 28 pixels a cell; nothing finer is in them. The same holds where the whole field is analysed a whole factor smaller
(`sphero_core.tiling.reduction_for`): masks are then counted there, and lengths and areas told in pixels of the field.

What each measure is stands in `sphero_core.measures`; those of light within the cell are in `sphero_core.shading`. Relative measures follow by
`relate_to_case`: before it, the relative density holds the optical density itself and the relative diameter is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.background import background_level
from sphero_core.shading import shade
from sphero_core.types import Cell, CellMeasures, FieldFindings

#: Longest side of the copy that shape is measured on, in pixels.
WORKING_SIDE = 72
#: Blur of the mask under which its perimeter is measured, in working pixels.
OUTLINE_SIGMA = 1.2
#: What the steps of a mask that was not reduced add to the length of its outline, seen on discs and ellipses.
STAIRCASE = 1.002
#: By how much a shape is wider than the convex hull of its pixels' centres, seen on discs and ellipses.
BEYOND_CENTRES = 0.35
#: Pixels below which a mask has an area but no shape.
SMALLEST_SHAPE_AREA = 20

_MARGIN = 5


def measure_cells(rgb: NDArray[np.uint8], cells: Sequence[Cell]) -> list[Cell]:
    """The cells of a field with their measures; those relative to the case follow by `relate_to_case`.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The field in true proportion.
    cells : sequence of Cell
        With masks within the field.

    Returns
    -------
    list of Cell
        In the same order.
    """
    if not cells:
        return []
    background = background_level(rgb, cells)
    height, width = rgb.shape[:2]
    measured = []
    for cell in cells:
        x, y, w, h = cell.box
        clear = background.density_at((x + w / 2) / width, (y + h / 2) / height)
        measured.append(replace(cell, measures=measure_cell(cell.mask, rgb[y : y + h, x : x + w], clear)))
    return measured


def measure_cell(mask: NDArray[np.bool_], rgb: NDArray[np.uint8], background_density: float) -> CellMeasures:
    """Measures of one cell; definitions stand in `sphero_core.measures`.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)
        The cell's pixels, at least one.
    rgb : ndarray of uint8, shape (height, width, 3)
        The same pixels of the field.
    background_density : float
        -log10(I / 255) of the clear smear at the cell's place, green.

    Returns
    -------
    CellMeasures
        `relative_density` is the optical density and `relative_diameter` NaN until related to a case. Shape and pallor of
        a mask of fewer than `SMALLEST_SHAPE_AREA` pixels are NaN.
    """
    whole = np.ascontiguousarray(mask).view(np.uint8)
    area = float(cv2.countNonZero(whole))
    diameter = float(np.sqrt(4.0 * area / np.pi))
    factor = -(-max(mask.shape) // WORKING_SIDE)
    share = _reduced_mask(whole, factor)
    light = _reduced_light(np.asarray(cv2.extractChannel(rgb, 1), np.uint8), factor, share.shape)
    inside = np.asarray(share >= 0.5, np.uint8)
    shading = shade(share, inside, light, background_density)
    red, green, blue = cv2.mean(rgb, whole)[:3]
    nan = float("nan")
    measures = CellMeasures(
        area_px=area,
        equivalent_diameter_px=diameter,
        perimeter_px=nan,
        circularity=nan,
        eccentricity=nan,
        axis_ratio=nan,
        solidity=nan,
        pallor_index=nan,
        relative_density=shading.density,
        relative_diameter=nan,
        optical_density=shading.density,
        density_deviation=shading.deviation,
        texture_contrast=shading.contrast,
        mean_red=red,
        mean_green=green,
        mean_blue=blue,
    )
    if area < SMALLEST_SHAPE_AREA:
        return measures
    length = _perimeter(share) / (STAIRCASE if factor == 1 else 1.0)
    perimeter = length * factor
    axis_ratio = _axis_ratio(share)
    hull = _hull(inside)
    return replace(
        measures,
        perimeter_px=perimeter,
        circularity=float(4.0 * np.pi * area / perimeter**2),
        eccentricity=float(np.sqrt(1.0 - axis_ratio**2)),
        axis_ratio=axis_ratio,
        solidity=_solidity(inside, hull),
        convexity=_convexity(inside, hull, length),
        pallor_index=shading.pallor_index,
        pallor_area_share=shading.pallor_area_share,
    )


def in_field_pixels(cells: Sequence[Cell], reduction: int) -> list[Cell]:
    """Cells measured in a picture that is smaller than its field, with their lengths in pixels of the field.

    Parameters
    ----------
    cells : sequence of Cell
        Measured.
    reduction : int
        See `FieldImage.reduction`.
    """
    if reduction == 1:
        return list(cells)
    return [replace(cell, measures=cell.measures and _enlarged(cell.measures, reduction)) for cell in cells]


def _enlarged(measures: CellMeasures, factor: int) -> CellMeasures:
    return replace(
        measures,
        area_px=measures.area_px * factor**2,
        equivalent_diameter_px=measures.equivalent_diameter_px * factor,
        perimeter_px=measures.perimeter_px * factor,
    )


def relate_to_case(findings: Sequence[FieldFindings]) -> tuple[FieldFindings, ...]:
    """Fill the measures that are relative to the median red cell of a case.

    Parameters
    ----------
    findings : sequence of FieldFindings
        Every field of the case, as `measure_cells` left them. Fields may differ in size: diameters are compared in units
        of each field's `cell_diameter_px`.

    Returns
    -------
    tuple of FieldFindings
        In the same order. Without a red cell that counts, the relative measures are NaN. Relating the same case again
        changes nothing.
    """
    densities, diameters = [], []
    for field in findings:
        for cell in field.cells if field.quality.accepted else ():
            if cell.measures is not None and cell.cell_class.is_red_cell and not cell.touches_border:
                densities.append(cell.measures.relative_density)
                diameters.append(cell.measures.equivalent_diameter_px / field.cell_diameter_px)
    density, diameter = _median(densities), _median(diameters)
    return tuple(
        replace(
            field,
            cells=tuple(_related(cell, density, diameter * field.cell_diameter_px) for cell in field.cells),
        )
        for field in findings
    )


def _related(cell: Cell, density: float, diameter: float) -> Cell:
    if cell.measures is None:
        return cell
    measures = replace(
        cell.measures,
        relative_density=cell.measures.relative_density / density,
        relative_diameter=cell.measures.equivalent_diameter_px / diameter,
    )
    return replace(cell, measures=measures)


def _median(values: Sequence[float]) -> float:
    """Median of the finite values; NaN without one, and where it is not above 0 and nothing can be relative to it."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    middle = float(np.median(finite)) if len(finite) else float("nan")
    return middle if middle > 0 else float("nan")


def _reduced_mask(whole: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Share of the mask in blocks of `factor` x `factor` pixels, 0 to 1, with an empty margin of `_MARGIN` blocks."""
    height, width = whole.shape
    rows, columns = -(-height // factor), -(-width // factor)
    padded = np.zeros((rows * factor, columns * factor), np.uint8)
    np.multiply(whole, 255, out=padded[:height, :width])
    small = cv2.resize(padded, (columns, rows), interpolation=cv2.INTER_AREA) if factor > 1 else padded
    share = np.zeros((rows + 2 * _MARGIN, columns + 2 * _MARGIN), np.float32)
    np.multiply(small, np.float32(1 / 255), out=share[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN])
    return share


def _reduced_light(green: NDArray[np.uint8], factor: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Mean light of the blocks of `_reduced_mask`; beyond the last whole block the last one is repeated."""
    rows, columns = max(1, green.shape[0] // factor), max(1, green.shape[1] // factor)
    light = green
    if factor > 1:
        light = np.asarray(
            cv2.resize(green[: rows * factor, : columns * factor], (columns, rows), interpolation=cv2.INTER_AREA),
            np.uint8,
        )
    below, right = shape[0] - _MARGIN - rows, shape[1] - _MARGIN - columns
    return np.asarray(cv2.copyMakeBorder(light, _MARGIN, below, _MARGIN, right, cv2.BORDER_REPLICATE), np.uint8)


def _perimeter(share: NDArray[np.float32]) -> float:
    smooth = cv2.GaussianBlur(share, (0, 0), OUTLINE_SIGMA)
    # Roberts' cross: both differences belong to the same point, so the length of the gradient is that of one place.
    falling = np.asarray(smooth[1:, 1:] - smooth[:-1, :-1], np.float32)
    rising = np.asarray(smooth[1:, :-1] - smooth[:-1, 1:], np.float32)
    return float(np.sum(cv2.magnitude(falling, rising)) / np.sqrt(2.0))


def _axis_ratio(share: NDArray[np.float32]) -> float:
    moments = cv2.moments(share)
    area = moments["m00"]
    xx, yy, xy = moments["mu20"] / area + 1 / 12, moments["mu02"] / area + 1 / 12, moments["mu11"] / area
    half, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return float(np.sqrt(max(0.0, half - spread) / (half + spread)))


def _hull(inside: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Corners of the convex hull, pixel centres, shape (n, 1, 2)."""
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.convexHull(np.concatenate(outlines)), np.int32)


def _solidity(inside: NDArray[np.uint8], hull: NDArray[np.int32]) -> float:
    """Pixels over pixels of the convex hull; by Pick's theorem a lattice polygon holds A + b / 2 + 1 points."""
    corners = hull[:, 0, :]
    steps = np.diff(corners, axis=0, append=corners[:1])
    on_outline = int(np.sum(np.gcd(steps[:, 0], steps[:, 1])))
    return float(cv2.countNonZero(inside) / (cv2.contourArea(hull) + on_outline / 2 + 1))


def _convexity(inside: NDArray[np.uint8], hull: NDArray[np.int32], perimeter: float) -> float:
    """Length of the hull's outline over that of the cell's outer one, in working pixels; a hole has no part in it."""
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(inside)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    if cv2.countNonZero(filled) > cv2.countNonZero(inside):
        perimeter = _perimeter(filled.astype(np.float32))
    return min(1.0, (cv2.arcLength(hull, True) + np.pi * BEYOND_CENTRES) / perimeter)
