"""Network alone, measures alone or both, and calibration: each nested, on predictions whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("official", reason="the training extra is not installed")

from sphero_core.judge import FEATURES, weigh
from sphero_core.training.deciding import VARIANTS, Decision, decide, share_examples
from sphero_core.training.operating_point import FoldPrediction
from sphero_core.types import CellClass

CELLS = 60


def field(seed: int, *, network: float = 0.0, circularity: float = 0.0, sign: float = 1.0) -> FoldPrediction:
    """A field in which network and circularity tell the classes apart as well as their strengths say."""
    rng = np.random.default_rng(seed)
    is_one = rng.random(CELLS) < 0.35
    towards = np.where(is_one, 1.0, -1.0)
    boxes = np.array([[70.0 * (i % 10), 70.0 * (i // 10), 60.0, 60.0] for i in range(CELLS)])
    odds = network * towards + rng.normal(0, 1, CELLS)
    share = 1 / (1 + np.exp(-odds))
    probabilities = np.column_stack([0.95 * (1 - share), 0.95 * share, np.zeros((CELLS, 2))])
    features = np.zeros((CELLS, len(FEATURES)))
    features[:, 0] = odds
    features[:, 1] = sign * circularity * towards + rng.normal(0, 1, CELLS)
    classes = tuple(CellClass.SPHEROCYTE if one else CellClass.RBC for one in is_one)
    return FoldPrediction(boxes, probabilities, features, boxes, classes)


def folds(**strengths: float) -> dict[str, list[FoldPrediction]]:
    return {name: [field(10 * i + j, **strengths) for j in range(3)] for i, name in enumerate("abc")}


@pytest.mark.parametrize(
    ("strengths", "winner"),
    [
        ({"network": 2.0}, {"network_alone", "with_judge"}),
        ({"circularity": 2.0}, {"measures_alone", "with_judge"}),
        ({"network": 1.0, "circularity": 1.0}, {"with_judge"}),
    ],
)
def test_what_ranks_best_on_the_folds_is_kept(strengths: dict[str, float], winner: set[str]) -> None:
    kept, made = decide(folds(**strengths))
    assert set(made) == set(VARIANTS)
    assert kept in winner
    assert made[kept].figures["Spherocyte"]["ap50"] == max(d.figures["Spherocyte"]["ap50"] for d in made.values())


def test_the_variants_hear_what_they_should() -> None:
    _, made = decide(folds(network=1.0, circularity=1.0))
    assert made["network_alone"].judge is None
    alone, both = made["measures_alone"].judge, made["with_judge"].judge
    assert alone is not None and both is not None  # noqa: PT018
    assert alone.weights[0] == pytest.approx(0.0)
    assert both.weights[0] > 0.3


def test_a_patient_is_judged_by_what_the_others_teach() -> None:
    """Circularity means the opposite in one of three patients: there the others' judge ranks in reverse."""
    odd = {
        "a": [field(1, circularity=2.0)],
        "b": [field(2, circularity=2.0)],
        "c": [field(3, circularity=2.0, sign=-1.0)],
    }
    alike = {**odd, "c": [field(3, circularity=2.0)]}
    ap = [decide(which)[1]["measures_alone"].figures["Spherocyte"]["ap50"] for which in (odd, alike)]
    assert ap[0] < ap[1] - 0.2


def test_calibration_is_kept_where_it_helps() -> None:
    def overconfident(one: FoldPrediction) -> FoldPrediction:
        odds = 6 * one.features[:, 0] + 4
        share = 1 / (1 + np.exp(-odds))
        return replace(one, probabilities=np.column_stack([0.95 * (1 - share), 0.95 * share, one.probabilities[:, 2:]]))

    spoiled = {name: [overconfident(one) for one in fields] for name, fields in folds(network=1.0).items()}
    decision = decide(spoiled)[1]["network_alone"]
    assert decision.calibration is not None
    scores = decision.figures["brier"]
    assert scores[decision.calibration.kind] == min(scores.values()) < scores["none"] - 0.02
    one = spoiled["a"][0]
    after = weigh(one.probabilities, one.features, decision.judge, decision.calibration)
    share, is_one = share_examples(replace(one, probabilities=after))
    before, _ = share_examples(one)
    assert np.mean((share - is_one) ** 2) < np.mean((before - is_one) ** 2)


def test_what_is_calibrated_already_is_left_alone() -> None:
    rng = np.random.default_rng(4)

    def honest(seed: int) -> FoldPrediction:
        one = field(seed)
        share = one.probabilities[:, 1] / 0.95
        happened = rng.random(CELLS) < share
        classes = tuple(CellClass.SPHEROCYTE if h else CellClass.RBC for h in happened)
        return replace(one, true_classes=classes)

    decision = decide({name: [honest(100 * i + j) for j in range(5)] for i, name in enumerate("abc")})[1]
    scores = decision["network_alone"].figures["brier"]
    assert min(scores.values()) > scores["none"] - 0.002


def test_without_a_labelled_cell_that_was_found_the_network_decides() -> None:
    nothing = replace(
        field(1), boxes=np.empty((0, 4)), probabilities=np.empty((0, 4)), features=np.empty((0, len(FEATURES)))
    )
    kept, made = decide({"a": [nothing], "b": [nothing]})
    assert (kept, list(made)) == ("network_alone", ["network_alone"])
    assert made[kept].calibration is None


def test_a_run_keeps_a_decision_exactly() -> None:
    for decision in decide(folds(network=1.0))[1].values():
        assert Decision.from_mapping(decision.as_mapping()) == decision
