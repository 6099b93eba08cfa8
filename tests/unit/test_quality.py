"""Spoilt fields are refused with the reason; drawn smears of every style are not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from sphero_core.evaluation.spoil import SPOILT, Spoilt
from sphero_core.quality import DEFAULT_LIMITS, QualityLimits, assess_field, measure_quality
from sphero_core.synthetic import SyntheticField, draw_smear
from sphero_core.synthetic_style import random_style
from sphero_core.types import CellClass

REASONS = {
    "defocus": "out of focus",
    "defocus-strong": "out of focus",
    "over-exposed": "over-exposed",
    "over-exposed-strong": "over-exposed",
    "grey": "without colour",
    "empty": "blank",
    "landscape": "not a blood smear",
    "page": "not a blood smear",
    "things": "",
    "tissue": "haematoxylin and eosin",
}


def drawn(seed: int) -> tuple[SyntheticField, float]:
    rng = np.random.default_rng(seed)
    field = draw_smear(random_style(rng, width=640, height=480), rng)
    areas = [cell.mask.sum() for cell in field.cells if cell.cell_class is CellClass.RBC and not cell.touches_border]
    return field, float(np.sqrt(4 * np.median(areas) / np.pi))


@pytest.fixture(scope="module")
def usual() -> tuple[SyntheticField, float]:
    """A field of a bright camera."""
    return next(found for seed in range(20) if np.median((found := drawn(seed))[0].pixels) > 185)


@pytest.mark.parametrize("seed", range(12))
def test_drawn_smears_of_any_style_are_accepted(seed: int) -> None:
    field, diameter = drawn(seed)
    assert assess_field(field.pixels, diameter).reasons == ()


@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda each: each.name)
def test_a_spoilt_field_is_refused_with_the_reason(spoilt: Spoilt, usual: tuple[SyntheticField, float]) -> None:
    field, diameter = usual
    quality = assess_field(spoilt.change(field.pixels, diameter, np.random.default_rng(3)), diameter)
    assert not quality.accepted
    assert REASONS[spoilt.name] in " ".join(quality.reasons)
    assert all(reason.isascii() and ";" in reason for reason in quality.reasons), "each says what helps"


def test_the_same_field_on_a_larger_camera_gives_the_same_figures(usual: tuple[SyntheticField, float]) -> None:
    field, diameter = usual
    large = np.asarray(cv2.resize(field.pixels, None, fx=3.1, fy=3.1, interpolation=cv2.INTER_CUBIC), np.uint8)
    small, big = measure_quality(field.pixels, diameter), measure_quality(large, 3.1 * diameter)
    assert big.edge_width == pytest.approx(small.edge_width, rel=0.1)
    assert big.cell_share == pytest.approx(small.cell_share, abs=0.02)
    assert big.red_ratio == pytest.approx(small.red_ratio, abs=0.03)


@pytest.mark.parametrize("colour", [(20, 20, 25), (30, 60, 160), (20, 120, 60)], ids=["black", "blue", "green"])
def test_a_pen_mark_is_told(colour: tuple[int, int, int], usual: tuple[SyntheticField, float]) -> None:
    field, diameter = usual
    marked = np.asarray(cv2.line(field.pixels.copy(), (40, 30), (500, 420), colour, 9), np.uint8)
    assert any("pen mark or pointer" in reason for reason in assess_field(marked, diameter).reasons)


def test_density_and_darkness_are_told(usual: tuple[SyntheticField, float]) -> None:
    field, diameter = usual
    few = replace(DEFAULT_LIMITS, min_cell_share=0.9)
    assert "thin end" in assess_field(field.pixels, diameter, few).reasons[0]
    crowded = replace(DEFAULT_LIMITS, max_cell_share=0.05)
    assert "too crowded" in assess_field(field.pixels, diameter, crowded).reasons[0]
    assert "too dark" in assess_field((field.pixels * 0.2).astype(np.uint8), diameter).reasons[0]


def test_without_a_cell_size_focus_is_not_judged_and_the_rest_is(usual: tuple[SyntheticField, float]) -> None:
    field, diameter = usual
    defocus, grey = SPOILT[0], next(each for each in SPOILT if each.name == "grey")
    rng = np.random.default_rng(1)
    assert assess_field(defocus.change(field.pixels, diameter, rng), None).accepted
    assert not assess_field(grey.change(field.pixels, diameter, rng), None).accepted


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 900, 3), (16, 16, 3)])
def test_the_smallest_pictures_are_refused_not_broken(shape: tuple[int, ...]) -> None:
    for level in (0, 128, 255):
        for diameter in (None, 30.0, 5000.0):
            assert not assess_field(np.full(shape, level, np.uint8), diameter, QualityLimits()).accepted
