"""The judge: what it is fitted to, what it does with a field, and that a bundle keeps it exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sphero_core.calibration import Calibration
from sphero_core.judge import FEATURES, SpherocyteJudge, explain, features_of, fit_judge, judge_cells, weigh
from sphero_core.types import Cell, CellClass, CellMeasures

ROUND = CellMeasures(2800, 60, 188, 0.99, 0.1, 0.98, 0.99, 0.0, 0.20, float("nan"))


def _cell(measures: CellMeasures, *, share: float = 0.5, border: bool = False) -> Cell:
    return Cell(CellClass.RBC, 0.9 * (1 - share), 0.9, 10, 10, np.ones((60, 60), bool), border, measures=measures)


def _judge(**weights: float) -> SpherocyteJudge:
    n = len(FEATURES)
    return SpherocyteJudge((0.0,) * n, (1.0,) * n, tuple(weights.get(name, 0.0) for name in FEATURES), 0.0)


def test_a_fit_recovers_the_law_that_made_the_data() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20_000, len(FEATURES)))
    truth = np.array([2.0, -1.0, 0.5, 0.0, -1.5, 1.0, 0.0])
    labels = rng.random(20_000) < 1 / (1 + np.exp(-(features @ truth - 1.0)))
    judge = fit_judge(features, labels)
    assert np.array(judge.weights) / np.array(judge.scale) == pytest.approx(truth, abs=0.12)
    assert judge.bias == pytest.approx(-1.0, abs=0.12)


def test_a_cell_that_is_not_round_is_no_spherocyte() -> None:
    contracted = replace(ROUND, circularity=0.7)
    cells = [_cell(ROUND, share=0.7), _cell(contracted, share=0.7)]
    judge = SpherocyteJudge((0.0, 0.85) + (0.0,) * 5, (1.0,) * 7, (1.0, 30.0) + (0.0,) * 5, 0.0)
    judged = judge_cells(cells, judge, 0.4, 60.0)
    assert [c.cell_class for c in judged] == [CellClass.SPHEROCYTE, CellClass.RBC]
    for before, after in zip(cells, judged, strict=True):
        assert after.red_cell_score == before.red_cell_score
        assert 0 <= after.score <= after.red_cell_score


def test_the_shape_of_a_cut_cell_is_not_held_against_it() -> None:
    features = features_of([_cell(ROUND), _cell(ROUND, border=True)], 60.0)
    assert np.isfinite(features[0]).all()
    assert np.isnan(features[1, 1:5]).all()
    assert np.isnan(features[1, 6])
    given = _judge(circularity=50.0).probabilities(features)
    assert given[1] == pytest.approx(0.5)


def test_density_is_taken_against_the_field() -> None:
    dense = replace(ROUND, relative_density=0.4)
    features = features_of([_cell(ROUND), _cell(ROUND), _cell(dense)], 60.0)
    assert features[:, 5] == pytest.approx([0.0, 0.0, np.log(2)])


def test_platelets_and_white_cells_are_left_alone() -> None:
    platelet = replace(_cell(ROUND), cell_class=CellClass.PLATELET, score=0.8, red_cell_score=0.1)
    assert judge_cells([platelet], _judge(network_log_odds=1.0), 0.0, 60.0) == [platelet]


def test_without_a_judge_nothing_changes() -> None:
    cells = [_cell(ROUND)]
    assert judge_cells(cells, None, 0.0, 60.0) == cells


def test_a_bundle_keeps_it_exactly() -> None:
    judge = fit_judge(np.random.default_rng(2).normal(size=(50, 7)), np.arange(50) % 3 == 0)
    assert SpherocyteJudge.from_mapping(judge.as_mapping()) == judge


def test_a_judge_of_other_features_is_refused() -> None:
    with pytest.raises(ValueError, match="other features"):
        SpherocyteJudge.from_mapping({**_judge().as_mapping(), "features": ["texture"]})


def test_the_says_and_the_bias_are_the_log_odds() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(30, len(FEATURES)))
    features[3, 2] = np.nan
    judge = fit_judge(features, rng.random(30) < 0.5)
    p = judge.probabilities(features)
    assert judge.says(features).sum(axis=1) + judge.bias == pytest.approx(np.log(p / (1 - p)))
    assert judge.says(features)[3, 2] == 0.0


def test_an_explanation_begins_with_what_weighs_most() -> None:
    judge = _judge(circularity=-2.0, solidity=0.5)
    told = explain(judge, np.ones(len(FEATURES)))
    assert told[:2] == [("circularity", -2.0), ("solidity", 0.5)]
    assert len(told) == len(FEATURES)


def test_a_judge_without_the_network_does_not_hear_it() -> None:
    rng = np.random.default_rng(6)
    features = rng.normal(size=(500, len(FEATURES)))
    labels = features[:, 0] + features[:, 1] > 0
    judge = fit_judge(features, labels, without=["network_log_odds"])
    assert judge.weights[0] == pytest.approx(0.0)
    assert judge.weights[1] > 1.0
    assert np.array_equal(judge.probabilities(features), judge.probabilities(features * ([0] + [1] * 6)))


def test_a_calibration_renews_the_score_with_and_without_a_judge() -> None:
    halved = Calibration("platt", (-9.0, 9.0), (-10.0, 8.0))  # one less in log odds
    (alone,) = judge_cells([_cell(ROUND, share=0.6)], None, 0.5, 60.0, halved)
    assert alone.cell_class is CellClass.RBC
    assert alone.red_cell_score - alone.score == pytest.approx(0.9 / (1 + np.exp(1) * 0.4 / 0.6))
    (judged,) = judge_cells([_cell(ROUND, share=0.6)], _judge(), 0.1, 60.0, halved)
    assert judged.cell_class is CellClass.SPHEROCYTE
    assert judged.score == pytest.approx(0.9 / (1 + np.exp(1)))


def test_candidates_are_weighed_as_cells_are() -> None:
    cells = [_cell(ROUND, share=s) for s in (0.2, 0.7)] + [replace(_cell(ROUND), cell_class=CellClass.WBC, score=0.95)]
    probabilities = np.array([[0.72, 0.18, 0, 0], [0.27, 0.63, 0, 0], [0.02, 0.02, 0.0, 0.95]])
    features = np.vstack([features_of(cells[:2], 60.0), np.full((1, len(FEATURES)), np.nan)])
    judge, calibration = _judge(network_log_odds=0.5), Calibration("platt", (-9.0, 9.0), (-8.0, 10.0))
    weighed = weigh(probabilities, features, judge, calibration)
    judged = judge_cells(cells[:2], judge, 2.0, 60.0, calibration)
    assert weighed[:2, 0] == pytest.approx([c.score for c in judged])
    assert weighed[2].tolist() == probabilities[2].tolist()
    assert weigh(probabilities, features, None) is probabilities
