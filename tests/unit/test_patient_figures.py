"""Figures of a left-out patient: small sets of fields whose every figure is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sphero_core.bundle import Thresholds
from sphero_core.datasets.masks import BoxMask
from sphero_core.evaluation.agreement import bland_altman, reliability
from sphero_core.evaluation.bootstrap import bootstrap_draws, bootstrap_interval, interval_of
from sphero_core.evaluation.coco_truth import ImageTruth
from sphero_core.evaluation.detection import ImageDetections
from sphero_core.evaluation.overlaps import pixels_alike, separation, touching_pairs
from sphero_core.evaluation.patient_figures import FIGURES, confusion, figures_with_intervals, mean_of, tallies_of
from sphero_core.evaluation.point_figures import point_figures, tally_points
from sphero_core.evaluation.points import LabelledPoints
from sphero_core.types import CellClass

RBC, SPHEROCYTE, PLATELET = CellClass.RBC, CellClass.SPHEROCYTE, CellClass.PLATELET
HALF = Thresholds(0.5, 0.5, 0.5, 0.5)
SURE = {RBC: (0.9, 0.0, 0.0, 0.0), SPHEROCYTE: (0.1, 0.8, 0.0, 0.0), PLATELET: (0.0, 0.0, 0.9, 0.0)}


def square(x: int, y: int, side: int = 20) -> BoxMask:
    return BoxMask(x, y, np.ones((side, side), np.bool_))


def boxes_of(masks: list[BoxMask]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array([(m.x, m.y, m.mask.shape[1], m.mask.shape[0]) for m in masks], np.float64).reshape(-1, 4)


def truth(masks: list[BoxMask], classes: list[CellClass], *, drawn: bool = False) -> ImageTruth:
    covered = np.zeros((200, 300), np.bool_)
    for m in masks:
        covered[m.y : m.y + m.mask.shape[0], m.x : m.x + m.mask.shape[1]] |= m.mask
    return ImageTruth(boxes_of(masks), tuple(classes), covered, tuple(masks), drawn)


def found(masks: list[BoxMask], classes: list[CellClass]) -> ImageDetections:
    return ImageDetections(boxes_of(masks), np.array([SURE[c] for c in classes], float).reshape(-1, 4), tuple(masks))


#: Four red cells that stand alone, the last a spherocyte.
ALONE = [square(10 + 40 * i, 50) for i in range(4)]
LABELS = [RBC, RBC, RBC, SPHEROCYTE]


def test_what_is_perfect_is_perfect_in_every_figure() -> None:
    figures = figures_with_intervals(
        tallies_of([truth(ALONE, LABELS)] * 3, [found(ALONE, LABELS)] * 3, HALF), seed=1, repetitions=20
    )
    assert list(figures.values) == list(FIGURES)
    errors = {"spherocyte_percent_error": 0.0, "red_cell_count_error": 0.0, "overlapping_pairs_separated": None}
    for name, value in figures.values.items():
        assert value == errors.get(name, 1.0), name
        assert figures.intervals[name] == (None if value is None else (value, value))


def test_a_missed_spherocyte_and_a_false_one() -> None:
    called = found(ALONE[:3], [RBC, RBC, SPHEROCYTE])  # the third is no spherocyte; the fourth is missed
    values = figures_with_intervals(tallies_of([truth(ALONE, LABELS)], [called], HALF), seed=1, repetitions=5).values
    assert (values["spherocyte_f1"], values["spherocyte_precision"], values["spherocyte_recall"]) == (0, 0, 0)
    assert values["red_cells_box_ap50"] == pytest.approx(76 / 101)
    assert values["red_cell_count_error"] == 0.25
    assert values["spherocyte_percent_error"] == pytest.approx(100 / 3 - 25)
    # The missed cell's pixels are all wrong, the three others' right.
    assert values["mask_pixel_accuracy"] == 0.75


def test_the_interval_is_over_fields() -> None:
    good, bad = found(ALONE, LABELS), found(ALONE[:3], LABELS[:3])
    tallies = tallies_of([truth(ALONE, LABELS)] * 10, [good] * 5 + [bad] * 5, HALF)
    figures = figures_with_intervals(tallies, seed=3, repetitions=400)
    assert figures.values["spherocyte_recall"] == 0.5
    low, high = figures.intervals["spherocyte_recall"] or (0, 0)
    assert low == pytest.approx(0.2, abs=0.1)
    assert high == pytest.approx(0.8, abs=0.1)


def test_the_mean_of_patients_and_its_interval() -> None:
    one = figures_with_intervals(
        tallies_of([truth(ALONE, LABELS)], [found(ALONE, LABELS)], HALF), seed=1, repetitions=9
    )
    worse = found(ALONE[:3], LABELS[:3])
    other = figures_with_intervals(tallies_of([truth(ALONE, LABELS)], [worse], HALF), seed=2, repetitions=9)
    mean = mean_of([one, other])
    assert mean.values["spherocyte_recall"] == 0.5
    assert mean.intervals["spherocyte_recall"] == (0.5, 0.5)
    # A figure that one patient does not have has no mean.
    assert mean.values["overlapping_pairs_separated"] is None


def test_pairs_touch_as_far_as_their_masks_do() -> None:
    masks = [square(10, 10), square(32, 10), square(53, 10), square(100, 100)]
    assert touching_pairs(masks) == [(1, 2)]  # gaps of two and of one pixel
    assert touching_pairs([square(10, 10), square(33, 10)]) == []


def test_a_pair_is_separated_if_both_are_found() -> None:
    pair = [square(50, 50), square(70, 50)]
    labels = truth(pair, [RBC, SPHEROCYTE])
    both, one = found(pair, [RBC, RBC]), found(pair[:1], [RBC])
    merged = found([BoxMask(50, 50, np.ones((20, 40), np.bool_))], [RBC])
    assert (separation(labels, both).separated, separation(labels, both).pairs) == (1, 1)
    assert separation(labels, one).separated == 0
    assert separation(labels, merged).separated == 0
    # Neither is counted for the exactness of masks: they do not stand alone.
    assert separation(labels, both).pixels == 0


def test_a_pair_at_the_edge_is_no_pair() -> None:
    pair = [square(1, 50), square(21, 50)]
    assert separation(truth(pair, [RBC, RBC]), found(pair, [RBC, RBC])).pairs == 0


def test_whole_masks_that_overlap_are_compared_by_masks() -> None:
    pair = [square(50, 50), square(62, 50)]
    labels = truth(pair, [RBC, RBC], drawn=True)
    assert separation(labels, found(pair, [RBC, RBC])).separated == 1
    cut = [square(50, 50), BoxMask(62, 50, np.eye(20, dtype=np.bool_))]  # the same boxes, hardly a mask
    assert separation(labels, found(cut, [RBC, RBC])).separated == 0


def test_pixels_alike_in_the_box_of_a_label() -> None:
    label = square(10, 10)
    box = np.array([8.0, 8.0, 24.0, 24.0])
    assert pixels_alike(label, label, box, (200, 300)) == (576, 576)
    assert pixels_alike(label, None, box, (200, 300)) == (576 - 400, 576)
    assert pixels_alike(label, square(15, 10), box, (200, 300)) == (576 - 5 * 20 - 2 * 20, 576)
    assert pixels_alike(label, label, np.array([-5.0, 8.0, 24.0, 24.0]), (200, 300))[1] == 19 * 24


def test_confusion_counts_each_cell_once() -> None:
    masks = [*ALONE, square(10, 120)]
    calls = found([*ALONE[:3], square(200, 150)], [RBC, SPHEROCYTE, PLATELET, RBC])
    table = confusion([truth(masks, [*LABELS, PLATELET])], [calls], HALF)
    assert table == [
        [1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
    ]


def test_figures_at_points() -> None:
    middle = np.array([(m.x + 10.5, m.y + 10.5) for m in ALONE])
    mixed = tally_points(LabelledPoints(middle, tuple(LABELS)), found(ALONE[1:], [RBC, SPHEROCYTE, SPHEROCYTE]), HALF)
    clean = tally_points(LabelledPoints(middle, (RBC,) * 4), found(ALONE, [RBC, RBC, RBC, SPHEROCYTE]), HALF)
    values, intervals, draws = point_figures([mixed, clean], seed=1, repetitions=30)
    assert values == {
        "points_red_cell_recall": 7 / 8,
        "points_spherocyte_f1": pytest.approx(2 / (3 + 1)),
        "points_spherocyte_recall": 1.0,
        "points_spherocyte_precision": pytest.approx(1 / 3),
        "points_false_spherocytes": 0.25,
    }
    assert draws.shape == (30, 5)
    low, high = intervals["points_red_cell_recall"] or (0, 0)
    assert 0.75 <= low <= high <= 1.0


def test_bland_and_altmans_limits() -> None:
    agreement = bland_altman(np.array([11.0, 9.0, 12.0, 8.0]), np.array([10.0, 10.0, 10.0, 10.0]))
    assert agreement is not None
    assert agreement.bias == 0.0
    assert agreement.high == -agreement.low == pytest.approx(1.96 * np.sqrt(10 / 3))
    assert bland_altman(np.array([1.0]), np.array([1.0])) is None


def test_reliability_bins() -> None:
    told = reliability(np.array([0.05, 0.15, 0.15, 1.0]), np.array([False, True, False, True]))
    assert told.cells == (1, 2, 0, 0, 0, 0, 0, 0, 0, 1)
    assert told.happened[:3] == (0.0, 0.5, None)
    assert told.given[1] == pytest.approx(0.15)
    assert told.error == pytest.approx((0.05 + 2 * 0.35) / 4)
    assert reliability(np.empty(0), np.empty(0, np.bool_)).error is None


def test_several_figures_of_one_resampling() -> None:
    numbers = [1.0, 2.0, 3.0, 4.0]
    draws = bootstrap_draws(lambda some: np.array([np.mean(some), np.nan]), numbers, seed=7, repetitions=100)
    assert interval_of(draws[:, 0]) == bootstrap_interval(
        lambda some: float(np.mean(some)), numbers, seed=7, repetitions=100
    )
    assert interval_of(draws[:, 1]) is None
    assert bootstrap_draws(lambda some: np.array([float(len(some))]), [], seed=1, repetitions=3).shape == (3, 1)
