"""Planning the passes over a field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sphero_core.bundle import InputSpec
from sphero_core.tiling import LEAST_SHRINK, SPARE_DETAIL, plan_tiles, reduction_for

SPEC = InputSpec(height=384, width=512, cell_diameter=60.0)


def test_a_camera_frame_with_cells_of_280_pixels_is_one_pass() -> None:
    plan = plan_tiles(2400, 1800, 280.0, SPEC)
    assert len(plan.tiles) == 1
    assert plan.width <= SPEC.width
    assert plan.height <= SPEC.height


def test_a_field_with_small_cells_is_enlarged_and_cut() -> None:
    plan = plan_tiles(640, 480, 40.0, SPEC)
    assert plan.scale > 1
    assert len(plan.tiles) == 4


@given(
    width=st.integers(200, 4000),
    height=st.integers(200, 3000),
    diameter=st.floats(20, 400),
)
def test_every_cell_is_whole_in_a_tile_that_owns_it(width: int, height: int, diameter: float) -> None:
    plan = plan_tiles(width, height, diameter, SPEC)
    nominal = SPEC.cell_diameter
    assert LEAST_SHRINK * nominal - 1e-6 <= plan.scale * diameter <= nominal + 1e-6
    radius = 0.7 * nominal  # of a cell 1.4 times the median
    for fraction in (0.0, 0.1, 0.25, 0.37, 0.5, 0.63, 0.75, 0.9, 1.0):
        cx, cy = fraction * plan.width, (1 - fraction) * plan.height
        owners = [tile for tile in plan.tiles if tile.owns(cx, cy)]
        assert owners
        assert any(
            tile.x <= max(0.0, cx - radius)
            and tile.y <= max(0.0, cy - radius)
            and tile.x + SPEC.width >= min(plan.width, cx + radius)
            and tile.y + SPEC.height >= min(plan.height, cy + radius)
            for tile in owners
        )


@given(diameter=st.floats(1, 5000))
def test_a_field_is_made_smaller_as_far_as_its_cells_stay_larger_than_the_network_needs(diameter: float) -> None:
    factor, enough = reduction_for(diameter, SPEC), SPARE_DETAIL * SPEC.cell_diameter
    assert factor == 1 or diameter / factor >= enough
    assert factor == 8 or diameter / (2 * factor) < enough


@pytest.mark.parametrize("diameter", [0.0, -3.0, float("nan"), float("inf")])
def test_a_meaningless_diameter_is_refused(diameter: float) -> None:
    with pytest.raises(ValueError, match="positive number of pixels"):
        plan_tiles(640, 480, diameter, SPEC)
