"""However a picture was turned, the same view of it is analysed, and what is found lies where it lay."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sphero_core.turning import Turn, usual_turn, usual_view
from sphero_core.types import Cell, CellClass

Pixels = NDArray[np.uint8]
TURNS = [Turn(*each) for each in itertools.product((False, True), repeat=3)]


def eight(pixels: Pixels) -> list[Pixels]:
    """NumPy's own turns, not ours."""
    return [np.rot90(each, quarters).copy() for each in (pixels, pixels[:, ::-1]) for quarters in range(4)]


@settings(max_examples=40)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_the_eight_views_of_a_picture_become_one(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    views = {usual_view(each).tobytes() + bytes(usual_view(each).shape[:2]) for each in eight(pixels)}
    # A moment that is 0, or two that are the same in a square, leave views that nothing tells apart.
    assert len(views) == 1 or ambiguous(pixels)
    assert usual_view(pixels).shape[1] >= usual_view(pixels).shape[0]


def ambiguous(pixels: Pixels) -> bool:
    green = pixels[:, :, 1].astype(float)
    height, width = green.shape
    across = math.fsum((green.sum(axis=0) * (2 * np.arange(width) - (width - 1))).tolist())
    down = math.fsum((green.sum(axis=1) * (2 * np.arange(height) - (height - 1))).tolist())
    return 0.0 in (across, down) or (height == width and abs(across) == abs(down))


def test_a_blank_picture_is_not_turned() -> None:
    assert usual_turn(np.full((20, 30, 3), 200, np.uint8)) == Turn(False, False, False)


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_cells_come_back_to_the_pixel(turn: Turn) -> None:
    drawn = np.zeros((12, 17, 3), np.uint8)
    mask = np.array([[1, 1, 0], [0, 1, 1]], np.bool_)
    drawn[4:6, 9:12][mask] = 255
    turned = turn.apply(drawn)
    rows, columns = np.nonzero(turned[:, :, 0])
    box = turned[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, 0] > 0
    cell = Cell(CellClass.RBC, 0.9, 0.9, int(columns.min()), int(rows.min()), box)
    [back] = turn.undo([cell], turned.shape[1], turned.shape[0])
    assert back.box == (9, 4, 3, 2)
    assert np.array_equal(back.mask, mask)
    assert back.mask.flags.c_contiguous
