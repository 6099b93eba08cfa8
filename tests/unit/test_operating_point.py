"""Thresholds chosen on predictions whose best threshold is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("official", reason="the training extra is not installed")

from sphero_core.judge import FEATURES
from sphero_core.training.operating_point import FoldPrediction, choose, mean_precision
from sphero_core.types import CellClass


def _field(spherocyte_scores: list[float], is_spherocyte: list[bool]) -> FoldPrediction:
    n = len(spherocyte_scores)
    boxes = np.array([[70.0 * i, 10.0, 60.0, 60.0] for i in range(n)])
    p = np.array(spherocyte_scores)
    probabilities = np.column_stack([0.95 - p, p, np.zeros(n), np.zeros(n)])
    classes = tuple(CellClass.SPHEROCYTE if s else CellClass.RBC for s in is_spherocyte)
    return FoldPrediction(boxes, probabilities, np.zeros((n, len(FEATURES))), boxes, classes)


def test_the_threshold_parts_what_can_be_parted() -> None:
    fields = [_field([0.9, 0.8, 0.7, 0.3, 0.2], [True, True, True, False, False])]
    thresholds, figures = choose(fields)
    assert 0.3 < thresholds.spherocyte <= 0.7
    assert figures["Spherocyte"]["f1"] == 1.0
    assert mean_precision(fields) == pytest.approx(1.0)


def test_a_worse_ranking_gives_a_worse_figure() -> None:
    parted = [_field([0.9, 0.8, 0.3], [True, True, False])]
    mixed = [_field([0.9, 0.3, 0.8], [True, True, False])]
    assert mean_precision(mixed) < mean_precision(parted)
    assert choose(mixed)[1]["Spherocyte"]["f1"] == pytest.approx(0.8)


def test_an_unmatched_candidate_costs_precision() -> None:
    field = _field([0.9, 0.8], [True, True])
    stray = FoldPrediction(
        np.vstack([field.boxes, [[300.0, 300.0, 60.0, 60.0]]]),
        np.vstack([field.probabilities, [[0.0, 0.95, 0.0, 0.0]]]),
        np.vstack([field.features, field.features[:1]]),
        field.true_boxes,
        field.true_classes,
    )
    assert choose([stray])[1]["Spherocyte"]["f1"] == pytest.approx(0.8)
