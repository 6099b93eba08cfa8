"""The overlay: contours where the cells are, nothing anywhere else, a legend that covers nothing."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sphero_core.render import draw_overlay
from sphero_core.types import Cell, CellClass, FieldFindings, FieldImage, Quality

GREY = 180
BLUE = (0, 90, 178)


def make_cell(name: CellClass, x: int, y: int, radius: int = 30, touches_border: bool = False) -> Cell:
    dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return Cell(name, 0.9, 0.9, x - radius, y - radius, dx**2 + dy**2 <= radius**2, touches_border)


def make_field(*cells: Cell, width: int = 640, height: int = 480) -> tuple[FieldImage, FieldFindings]:
    pixels = np.full((height, width, 3), GREY, np.uint8)
    return FieldImage(pixels, width, height), FieldFindings(cells, width, height, 60.0, 1, 0.2)


def drawn(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((picture != GREY).any(axis=2))


def is_blue(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(picture.astype(int) - BLUE).max(axis=2) < 30)


@pytest.mark.parametrize("name", list(CellClass))
def test_a_contour_lies_on_the_outline_and_nowhere_else(name: CellClass) -> None:
    """Radius 30 in the field is 60 in an overlay of twice the size."""
    picture = draw_overlay(*make_field(make_cell(name, 200, 150)), legend=False)
    assert picture.shape == (960, 1280, 3)
    y, x = np.nonzero(drawn(picture))
    distance = np.hypot(x - 400.5, y - 300.5)
    assert np.abs(distance - 60).max() < 4.6
    assert np.median(distance) == pytest.approx(60, abs=0.7)
    angles = np.unique(np.degrees(np.arctan2(y - 300.5, x - 400.5)).astype(int))
    assert len(angles) > 350


def test_large_fields_are_shown_smaller_with_the_contour_in_place() -> None:
    cell = make_cell(CellClass.SPHEROCYTE, 1200, 900, radius=140)
    picture = draw_overlay(*make_field(cell, width=2400, height=1800), legend=False)
    assert picture.shape == (960, 1280, 3)
    scale = 1280 / 2400
    y, x = np.nonzero(drawn(picture))
    distance = np.hypot(x - (1200.5 * scale - 0.5), y - (900.5 * scale - 0.5))
    assert np.abs(distance - 140 * scale).max() < 4.6


def test_spherocytes_stand_out_from_other_red_cells() -> None:
    spherocyte, plain = make_cell(CellClass.SPHEROCYTE, 150, 240), make_cell(CellClass.RBC, 450, 240)
    picture = draw_overlay(*make_field(spherocyte, plain), legend=False)
    blue = is_blue(picture)
    assert blue[:, :640].sum() > 500
    assert not blue[:, 640:].any()
    change = np.abs(picture.astype(int) - GREY).sum(axis=2)
    assert change[:, :640].sum() > 3 * change[:, 640:].sum()


def test_cells_cut_by_the_edge_are_dashed() -> None:
    whole = make_cell(CellClass.SPHEROCYTE, 200, 200)
    solid = is_blue(draw_overlay(*make_field(whole), legend=False))
    dashed = is_blue(draw_overlay(*make_field(replace(whole, touches_border=True)), legend=False))
    assert 0.3 * solid.sum() < dashed.sum() < 0.75 * solid.sum()
    parts, _ = cv2.connectedComponents(dashed.astype(np.uint8))
    assert parts > 15


def test_nothing_is_drawn_along_the_field_s_own_edge() -> None:
    cell = Cell(CellClass.RBC, 0.9, 0.9, 0, 100, np.ones((60, 40), bool), touches_border=True)
    picture = draw_overlay(*make_field(cell), legend=False)
    assert drawn(picture).any()
    assert not drawn(picture)[215:300, :3].any()


def test_the_legend_lies_below_and_covers_nothing() -> None:
    image, findings = make_field(make_cell(CellClass.SPHEROCYTE, 200, 150), make_cell(CellClass.RBC, 600, 440))
    bare = draw_overlay(image, findings, legend=False)
    full = draw_overlay(image, findings)
    assert full.shape[0] > bare.shape[0]
    assert np.array_equal(full[: bare.shape[0]], bare)
    assert (full[bare.shape[0] + 1 :] < 100).any()


def test_the_legend_wraps_in_a_narrow_picture_and_grows_with_its_lines() -> None:
    wide = draw_overlay(*make_field())
    image, findings = make_field(width=150, height=480)
    narrow = draw_overlay(image, findings)
    assert narrow.shape[0] - 960 > 1.5 * (wide.shape[0] - 960)
    titled = draw_overlay(*make_field(), title="Field 3")
    refused = replace(make_field()[1], quality=Quality(False, ("out of focus",)))
    assert titled.shape[0] > wide.shape[0]
    assert draw_overlay(make_field()[0], refused).shape[0] == titled.shape[0]


@pytest.mark.parametrize(
    ("width", "um_per_pixel", "length"), [(640, 0.1, 2 * 10 / 0.1), (1280, 0.026, 5 / 0.026), (2560, 0.02, 5 / 0.04)]
)
def test_the_scale_bar_has_its_length(width: int, um_per_pixel: float, length: float) -> None:
    """The longest of 1, 2, 5, 10... micrometres that fits a sixth of the picture's 1280 pixels."""
    image, findings = make_field(width=width, height=width * 3 // 4)
    strip = draw_overlay(image, findings, um_per_pixel=um_per_pixel)[961:]
    dark: NDArray[np.bool_] = strip.max(axis=2) < 60
    runs = ["".join("x" if here else " " for here in row).split() for row in dark]
    assert max(len(run) for row in runs for run in row) == pytest.approx(length, abs=3)
    assert not (draw_overlay(image, findings)[961:, 1000:] < 60).any()


def test_the_field_itself_is_left_as_it_was() -> None:
    image, findings = make_field(make_cell(CellClass.SPHEROCYTE, 200, 150), width=1280, height=960)
    draw_overlay(image, findings)
    assert (image.pixels == GREY).all()
