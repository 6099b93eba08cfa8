"""One cell, one class, no seam: the way from candidates to cells, with a network that sees drawn discs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sphero_core.analysis import SAME_CELL_IOU, Found, analyse_field, call_cells, intersection
from sphero_core.bundle import InputSpec, Thresholds
from sphero_core.detector import Candidates, Detector
from sphero_core.types import CellClass, FieldImage

SPEC = InputSpec(height=384, width=512, cell_diameter=60.0)
THRESHOLDS = Thresholds(red_cell=0.5, spherocyte=0.4, platelet=0.5, wbc=0.5)
DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (28, 28)).astype(np.float32)


def _sees_dark_discs(image: NDArray[np.uint8]) -> Candidates:
    """A network without error: every dark piece is a cell; a spherocyte where it is very dark."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((image[:, :, 1] < 180).astype(np.uint8))
    boxes, probabilities = [], []
    for label in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[label])
        if area < 30:
            continue
        boxes.append([y, x, y + h, x + w])
        dense = image[:, :, 1][labels == label].mean() < 60
        probabilities.append([0.1, 0.85, 0.0, 0.0] if dense else [0.9, 0.05, 0.0, 0.0])
    n = len(boxes)
    return Candidates(
        np.array(boxes, np.float32).reshape(n, 4),
        np.array(probabilities, np.float32).reshape(n, 4),
        np.tile(DISC, (n, 1, 1)),
    )


DETECTOR = Detector(_sees_dark_discs, SPEC, THRESHOLDS)


def _smear(width: int, height: int, diameter: float, seed: int) -> tuple[FieldImage, int, int]:
    """Separate discs on a light ground; gives how many, and how many are very dark."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 220, np.uint8)
    step = diameter * 1.35
    total = dark = 0
    for cy in np.arange(step * 0.6, height - step * 0.6, step):
        for cx in np.arange(step * 0.6, width - step * 0.6, step):
            jitter = rng.uniform(-0.1, 0.1, 2) * diameter
            shade = 40 if rng.random() < 0.2 else 120
            centre = (round(cx + jitter[0]), round(cy + jitter[1]))
            cv2.circle(pixels, centre, round(diameter / 2), (shade,) * 3, -1)
            total += 1
            dark += shade == 40
    return FieldImage(pixels, width, height), total, dark


@pytest.mark.parametrize(
    ("width", "height", "diameter"),
    [
        (640, 480, 75.0),
        (640, 480, 40.0),
        (1600, 1200, 90.0),
        (2400, 1800, 280.0),
        (2400, 1800, 120.0),
        (4000, 3000, 200.0),
    ],
)
def test_no_cell_is_lost_or_doubled_at_a_seam(width: int, height: int, diameter: float) -> None:
    for seed in range(3):
        image, total, dark = _smear(width, height, diameter, seed)
        findings = analyse_field(DETECTOR, image, diameter)
        assert len(findings.cells) == total
        assert sum(c.cell_class is CellClass.SPHEROCYTE for c in findings.cells) == dark
        for cell in findings.cells:
            assert cell.mask[0].any()
            assert cell.mask[-1].any()
            assert cell.mask[:, 0].any()
            assert cell.mask[:, -1].any()
            assert cell.mask.sum() == pytest.approx(np.pi * diameter**2 / 4, rel=0.16)


def test_cells_cut_by_the_edge_are_flagged() -> None:
    pixels = np.full((480, 640, 3), 220, np.uint8)
    for centre in [(0, 200), (320, 0), (639, 300), (300, 479), (320, 240)]:
        cv2.circle(pixels, centre, 37, (120,) * 3, -1)
    findings = analyse_field(DETECTOR, FieldImage(pixels, 640, 480), 75.0)
    assert sorted(c.touches_border for c in findings.cells) == [False, True, True, True, True]


def _found(x: float, y: float, size: float, probabilities: tuple[float, float, float, float]) -> Found:
    return Found((x, y, x + size, y + size), probabilities, DISC)


IMAGE = FieldImage(np.full((480, 640, 3), 220, np.uint8), 640, 480)


def test_one_cell_called_twice_leaves_once_with_its_better_score() -> None:
    cells = call_cells(
        [_found(100, 100, 60, (0.6, 0.1, 0, 0)), _found(103, 101, 60, (0.1, 0.88, 0, 0))], THRESHOLDS, IMAGE, 1.0
    )
    assert [c.cell_class for c in cells] == [CellClass.SPHEROCYTE]
    assert cells[0].red_cell_score == pytest.approx(0.98)


def test_the_score_is_of_the_class_that_was_called() -> None:
    (cell,) = call_cells([_found(100, 100, 60, (0.5, 0.45, 0, 0))], THRESHOLDS, IMAGE, 1.0)
    assert cell.cell_class is CellClass.SPHEROCYTE
    assert cell.score == pytest.approx(0.45)
    (cell,) = call_cells([_found(100, 100, 60, (0.6, 0.35, 0, 0))], THRESHOLDS, IMAGE, 1.0)
    assert cell.cell_class is CellClass.RBC
    assert cell.score == pytest.approx(0.6)


def test_a_platelet_on_a_red_cell_stays_beside_it() -> None:
    cells = call_cells(
        [_found(100, 100, 60, (0.9, 0, 0, 0)), _found(120, 120, 14, (0, 0, 0.9, 0))], THRESHOLDS, IMAGE, 1.0
    )
    assert {c.cell_class for c in cells} == {CellClass.RBC, CellClass.PLATELET}
    assert all(c.overlaps for c in cells)


def test_below_its_threshold_nothing_is_called() -> None:
    assert call_cells([_found(100, 100, 60, (0.3, 0.15, 0.2, 0.1))], THRESHOLDS, IMAGE, 1.0) == []


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.floats(-20, 620),
            st.floats(-20, 460),
            st.floats(10, 120),
            st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 1), st.floats(0, 1)),
        ),
        max_size=25,
    )
)
def test_no_two_kept_cells_share_more_than_half(
    drawn: list[tuple[float, float, float, tuple[float, float, float, float]]],
) -> None:
    cells = call_cells([_found(*candidate) for candidate in drawn], THRESHOLDS, IMAGE, 1.0)
    for i, cell in enumerate(cells):
        for other in cells[i + 1 :]:
            shared = intersection(cell, other)
            assert shared / (cell.mask.sum() + other.mask.sum() - shared) <= SAME_CELL_IOU
