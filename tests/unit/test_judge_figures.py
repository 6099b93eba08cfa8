"""The comparison of ways to decide on spherocytes, on cells whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from sphero_core.judge import FEATURES
from tests.judge_figures import BLOCKS, SHIPPED, TRAINED, VETO, Cells, compare, f1, rows_of, separations

PATIENTS = ("a", "b", "c")


def cells(seed: int, *, sign: float = 1.0) -> Cells:
    """Sixty cells whose circularity tells spherocytes from others; the network guesses."""
    rng = np.random.default_rng(seed)
    is_one = rng.random(60) < 0.3
    features = rng.normal(0, 1, (60, len(FEATURES)))
    features[:, 1] += 4 * sign * is_one
    spherocyte = np.where(rng.random(60) < 0.8, np.where(is_one, 0.8, 0.1), 0.6)
    return Cells(features, np.full(60, 0.95), spherocyte, is_one.astype(np.int64), int(is_one.sum()), np.ones(60, bool))


def groups(sign_of_blocks: float) -> dict[str, list[Cells]]:
    known = {name: [cells(10 * i + j) for j in range(3)] for i, name in enumerate(PATIENTS)}
    return {**known, **{name: [cells(90 + i, sign=sign_of_blocks)] for i, name in enumerate((BLOCKS, TRAINED))}}


def test_measures_that_tell_the_same_everywhere_win_everywhere() -> None:
    told = compare(groups(1.0), PATIENTS, 0.5, both=False)
    for group in (*PATIENTS, BLOCKS):
        shipped, best, veto = (f1(told[name][group]) for name in (SHIPPED, "measures alone", VETO))
        assert best > shipped + 0.05
        assert veto > shipped


def test_measures_that_mean_the_opposite_elsewhere_lose_there() -> None:
    told = compare(groups(-1.0), PATIENTS, 0.5, both=False)
    assert f1(told["measures alone"]["a"]) > f1(told[SHIPPED]["a"])
    assert f1(told["measures alone"][BLOCKS]) < f1(told[SHIPPED][BLOCKS]) - 0.2
    row = next(row for row in rows_of(told, PATIENTS) if row.startswith("| measures alone"))
    assert float(row.split("|")[-2].split()[0]) == pytest.approx(
        f1(told["measures alone"][BLOCKS]) - f1(told[SHIPPED][BLOCKS]), abs=6e-4
    )


def test_a_measure_is_told_by_how_well_it_separates_the_calls() -> None:
    rows = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in separations(groups(1.0), ["a"], 0.5)[2:]}
    assert float(rows["circularity"]) > 0.95
    assert 0.3 < float(rows["solidity"]) < 0.7
