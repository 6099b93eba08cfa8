"""Measures of cells against shapes known by formula, against scikit-image, and under rotation and uneven light."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.feature import graycomatrix
from skimage.measure import perimeter_crofton, regionprops
from skimage.morphology import convex_hull_image

from sphero_core.morphology import measure_cell, measure_cells, relate_to_case
from sphero_core.types import Cell, CellClass, CellMeasures, FieldFindings, Quality
from tests.unit.shapes import Mask, annulus, disc, ellipse, perimeter_of_ellipse, square

SHIFTS = [(0.0, 0.0), (0.5, 0.0), (0.31, 0.47), (-0.2, 0.44), (0.05, -0.38)]
ANGLES = [0.0, 0.2, math.pi / 8, 0.6, math.pi / 4, 1.1, math.pi / 2]


def grey(light: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(light[:, :, None], 3, axis=2)


def shape_of(mask: Mask) -> CellMeasures:
    return measure_cell(mask, grey(np.full(mask.shape, 120, np.uint8)), 0.0)


@pytest.mark.parametrize(("diameter", "bound"), [(20, 0.016), (40, 0.006), (75, 0.004), (150, 0.003), (280, 0.002)])
@pytest.mark.parametrize("shift", SHIFTS)
def test_a_disc_has_the_measures_of_a_disc(diameter: int, bound: float, shift: tuple[float, float]) -> None:
    measures = shape_of(disc(diameter, shift))
    assert measures.equivalent_diameter_px == pytest.approx(diameter, abs=0.2)
    assert measures.perimeter_px == pytest.approx(math.pi * diameter, rel=bound)
    assert measures.circularity == pytest.approx(1.0, abs=0.025 if diameter < 40 else 0.01)
    assert measures.axis_ratio == pytest.approx(1.0, abs=1 / diameter)  # a pixel more across than down
    assert measures.solidity == 1.0


@pytest.mark.parametrize(("major", "bound"), [(20, 0.04), (40, 0.012), (75, 0.007), (280, 0.004)])
@pytest.mark.parametrize("angle", ANGLES)
def test_an_ellipse_has_the_measures_of_an_ellipse_whatever_its_direction(
    major: int, bound: float, angle: float
) -> None:
    measures = shape_of(ellipse(major, major / 2, angle, (0.2, 0.3)))
    assert measures.perimeter_px == pytest.approx(perimeter_of_ellipse(major, major / 2), rel=bound)
    assert measures.axis_ratio == pytest.approx(0.5, abs=0.03 if major < 40 else 0.006)
    assert measures.eccentricity == pytest.approx(math.sqrt(0.75), abs=0.02 if major < 40 else 0.004)
    assert measures.area_px == pytest.approx(math.pi * major**2 / 8, rel=0.02)


def test_the_perimeter_does_not_depend_on_direction() -> None:
    angles = np.linspace(0, np.pi, 25)
    perimeters = np.array([shape_of(ellipse(60, 40, float(angle))).perimeter_px for angle in angles])
    assert np.ptp(perimeters) / perimeters.mean() < 0.008


@pytest.mark.parametrize("angle", ANGLES)
def test_a_square_loses_its_corners_only(angle: float) -> None:
    measures = shape_of(square(50, angle))
    assert -0.05 < measures.perimeter_px / 200 - 1 < 0.0
    assert measures.circularity == pytest.approx(math.pi / 4, abs=0.06)
    assert measures.solidity > 0.97


def test_a_ring_has_two_outlines_and_a_hull() -> None:
    measures = shape_of(annulus(60, 30))
    assert measures.perimeter_px == pytest.approx(math.pi * 90, rel=0.01)
    assert measures.solidity == pytest.approx(0.75, abs=0.01)
    assert measures.area_px == pytest.approx(math.pi / 4 * (3600 - 900), rel=0.01)


@pytest.mark.parametrize("mask", [disc(37), ellipse(90, 60, 0.7), ellipse(33, 29, 0.4), annulus(50, 20), disc(200)])
def test_measures_agree_with_scikit_image(mask: Mask) -> None:
    peer = regionprops(mask.astype(np.uint8))[0]
    measures = shape_of(mask)
    assert measures.area_px == peer.area
    assert measures.equivalent_diameter_px == pytest.approx(peer.equivalent_diameter_area)
    assert measures.eccentricity == pytest.approx(peer.eccentricity, abs=0.03)
    hull = convex_hull_image(mask, offset_coordinates=False)
    assert measures.solidity == pytest.approx(mask.sum() / hull.sum(), abs=0.005)
    assert measures.perimeter_px == pytest.approx(perimeter_crofton(mask, 4), rel=0.04)


def test_two_overlapping_discs_are_dented() -> None:
    mask = np.zeros((60, 100), np.bool_)
    y, x = np.mgrid[0:60, 0:100]
    mask |= np.hypot(x - 30, y - 30) < 29
    mask |= np.hypot(x - 70, y - 30) < 29
    assert shape_of(mask).solidity < 0.97
    assert shape_of(mask).circularity < 0.85


def test_a_speck_has_an_area_and_no_shape() -> None:
    measures = shape_of(np.ones((3, 4), np.bool_))
    assert measures.area_px == 12
    assert math.isnan(measures.circularity)
    assert math.isnan(measures.pallor_index)
    assert measures.relative_density == pytest.approx(math.log10(255 / 120), abs=1e-5)


@pytest.mark.parametrize("diameter", [40, 75, 280])
def test_the_pallor_index_is_the_relative_difference_of_centre_and_rim(diameter: int) -> None:
    mask = disc(diameter)
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]] + 0.5 - np.array(mask.shape).reshape(2, 1, 1) / 2
    pale_centre = np.where(np.hypot(x, y) < 0.4 * diameter / 2, 180, 120).astype(np.uint8)
    assert measure_cell(mask, grey(pale_centre), 0.0).pallor_index == pytest.approx(0.5)
    dark_centre = np.where(np.hypot(x, y) < 0.4 * diameter / 2, 90, 120).astype(np.uint8)
    assert measure_cell(mask, grey(dark_centre), 0.0).pallor_index == pytest.approx(-0.25)
    assert shape_of(mask).pallor_index == 0.0


@pytest.mark.parametrize("diameter", [40, 70, 280])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_the_pallor_area_is_that_of_the_pale_centre(diameter: int, share: float) -> None:
    mask = disc(diameter)
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]] + 0.5 - np.array(mask.shape).reshape(2, 1, 1) / 2
    pale = np.where(np.hypot(x, y) < share * diameter / 2, 200, 120).astype(np.uint8)
    clear = math.log10(255 / 240)
    assert measure_cell(mask, grey(pale), clear).pallor_area_share == pytest.approx(share**2, abs=0.03)
    assert measure_cell(mask, grey(np.full(mask.shape, 120, np.uint8)), clear).pallor_area_share == 0.0
    faint = np.where(pale == 200, 125, 120).astype(np.uint8)
    assert measure_cell(mask, grey(faint), clear).pallor_area_share == 0.0


def test_convexity_falls_with_crenation_and_not_with_a_hole() -> None:
    for convex in (disc(40), disc(200), ellipse(60, 35, 0.4), square(50, 0.3)):
        assert shape_of(convex).convexity == pytest.approx(1.0, abs=0.01)
    assert shape_of(annulus(60, 30)).convexity == pytest.approx(1.0, abs=0.01)
    y, x = np.mgrid[0:80, 0:80] - 39.5
    crenated = [shape_of(np.hypot(x, y) < 30 + spike * np.cos(10 * np.arctan2(y, x))).convexity for spike in (0, 3, 5)]
    assert crenated == sorted(crenated, reverse=True)
    assert crenated[2] < 0.9


def test_convexity_agrees_with_scikit_image() -> None:
    y, x = np.mgrid[0:70, 0:70] - 34.5
    bean = (np.hypot(x, y) < 32) & (np.hypot(x - 32, y) > 14)
    hull = convex_hull_image(bean, offset_coordinates=False)
    expected = perimeter_crofton(hull, 4) / perimeter_crofton(bean, 4)
    assert shape_of(bean).convexity == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("mask", [disc(37), ellipse(60, 40, 0.7), annulus(50, 20)])
def test_texture_is_the_contrast_of_the_co_occurrence_matrix(mask: Mask) -> None:
    light = np.random.default_rng(1).integers(90, 160, mask.shape).astype(np.uint8)
    matrix = graycomatrix(np.where(mask, light, 0), [1], [0, math.pi / 2], 256, symmetric=True).astype(float)
    matrix[0] = matrix[:, 0] = 0  # pairs that leave the cell
    level = np.arange(256)
    steps = (level[:, None] - level[None]) ** 2
    expected = (matrix.sum(axis=(2, 3)) * steps).sum() / matrix.sum()
    assert measure_cell(mask, grey(light), 0.0).texture_contrast == pytest.approx(expected)


def test_colours_and_density_are_means_over_the_mask() -> None:
    mask, random = disc(37), np.random.default_rng(2)
    rgb = random.integers(60, 240, (*mask.shape, 3)).astype(np.uint8)
    measures = measure_cell(mask, rgb, 0.05)
    expected = rgb[mask].mean(axis=0)
    assert (measures.mean_red, measures.mean_green, measures.mean_blue) == pytest.approx(tuple(expected))
    density = -np.log10(rgb[..., 1][mask] / 255)
    assert measures.optical_density == pytest.approx(density.mean() - 0.05, abs=1e-5)
    assert measures.density_deviation == pytest.approx(density.std(), abs=1e-5)


def smear(
    positions: list[tuple[int, int]], light: list[float], tilt: float, diameter: int = 60
) -> tuple[NDArray[np.uint8], list[Cell]]:
    """Cells that let a share of the light through, under a lamp that is brighter on the right by `tilt`."""
    transmitted = np.ones((480, 640))
    mask = disc(diameter)
    cells = []
    for (x, y), share in zip(positions, light, strict=True):
        transmitted[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = share
        cells.append(Cell(CellClass.RBC, 0.9, 0.95, x, y, mask))
    lamp = 210 * (1 + tilt * (np.arange(640) / 640 - 0.5))
    return grey(np.round(transmitted * lamp).astype(np.uint8)), cells


def test_density_is_relative_to_the_clear_smear_beside_the_cell() -> None:
    positions = [(20, 30), (300, 200), (560, 400), (560, 20)]
    rgb, cells = smear(positions, [0.7, 0.7, 0.7, 0.5], tilt=0.3)
    densities = [cell.measures.relative_density for cell in measure_cells(rgb, cells) if cell.measures]
    assert densities[:3] == pytest.approx([-math.log10(0.7)] * 3, abs=0.004)
    assert densities[3] == pytest.approx(-math.log10(0.5), abs=0.004)


def test_density_stands_a_missed_cell_and_a_crowded_field() -> None:
    positions = [(x, y) for x in range(5, 580, 64) for y in range(3, 420, 64)]
    rgb, cells = smear(positions, [0.7] * len(positions), tilt=0.1)
    missed = [cell for index, cell in enumerate(cells) if index % 9]
    densities = np.array([cell.measures.relative_density for cell in measure_cells(rgb, missed) if cell.measures])
    assert densities == pytest.approx(-math.log10(0.7), abs=0.01)


def test_no_cells_no_measures() -> None:
    assert measure_cells(np.full((20, 20, 3), 200, np.uint8), []) == []


def findings(cells: list[Cell], *, diameter: float = 60.0, accepted: bool = True) -> FieldFindings:
    quality = Quality(accepted=accepted, reasons=() if accepted else ("blank",))
    return FieldFindings(tuple(cells), 640, 480, diameter, passes=1, seconds=0.1, quality=quality)


def measured(density: float, diameter: float, cell_class: CellClass = CellClass.RBC, *, cut: bool = False) -> Cell:
    measures = replace(shape_of(disc(20)), equivalent_diameter_px=diameter, relative_density=density)
    return Cell(cell_class, 0.9, 0.9, 0, 0, disc(20), touches_border=cut, measures=measures)


def relative(case: tuple[FieldFindings, ...]) -> list[tuple[float, float]]:
    cells = [cell.measures for field in case for cell in field.cells if cell.measures is not None]
    return [(measures.relative_density, measures.relative_diameter) for measures in cells]


def test_relating_compares_with_the_median_red_cell_that_counts() -> None:
    case = [
        findings([measured(0.1, 50), measured(0.2, 60), measured(9.0, 900, cut=True)]),
        findings([measured(0.4, 30, CellClass.SPHEROCYTE), measured(0.6, 120, CellClass.PLATELET)]),
        findings([measured(9.0, 900), measured(9.0, 900)], accepted=False),
    ]
    related = relate_to_case(case)
    expected = [(0.5, 1.0), (1.0, 1.2), (45.0, 18.0), (2.0, 0.6), (3.0, 2.4), (45.0, 18.0), (45.0, 18.0)]
    assert np.array(relative(related)) == pytest.approx(np.array(expected))
    assert np.array(relative(relate_to_case(related))) == pytest.approx(np.array(expected))


def test_relating_compares_fields_of_other_magnification_by_their_scale() -> None:
    related = relate_to_case([findings([measured(0.1, 60)]), findings([measured(0.1, 120)], diameter=120.0)])
    assert [diameter for _, diameter in relative(related)] == pytest.approx([1.0, 1.0])


def test_without_a_red_cell_that_counts_nothing_is_relative() -> None:
    ((density, diameter),) = relative(relate_to_case([findings([measured(0.1, 50, cut=True)])]))
    assert math.isnan(density)
    assert math.isnan(diameter)
