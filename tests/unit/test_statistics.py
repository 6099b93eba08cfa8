"""Counts, percentage, interval and limitations of a case."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.interval_coverage
from sphero_core.grading import DAVIS, GradingRule
from sphero_core.interval import field_effect, field_interval, wilson_interval
from sphero_core.statistics import count_case, outlier_fields
from sphero_core.types import Cell, CellClass, CellMeasures, FieldFindings, Quality
from tests.interval_coverage import coverage

RULE = GradingRule(DAVIS, 0.85)


def make_field(
    red: int = 0, spherocytes: int = 0, *, border: int = 0, platelets: int = 0, accepted: bool = True, **more: object
) -> FieldFindings:
    def cells(count: int, name: CellClass, touches_border: bool = False) -> list[Cell]:
        return [Cell(name, 0.9, 0.9, 5, 5, np.ones((4, 4), bool), touches_border) for _ in range(count)]

    found = cells(red, CellClass.RBC) + cells(spherocytes, CellClass.SPHEROCYTE)
    found += cells(border, CellClass.SPHEROCYTE, touches_border=True) + cells(platelets, CellClass.PLATELET)
    quality = Quality(accepted, () if accepted else ("out of focus",))
    return FieldFindings(tuple(found), 640, 480, 75.0, 1, 0.3, quality=quality, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("k", "n", "lower", "upper"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_equals_the_published_examples(k: int, n: int, lower: float, upper: float) -> None:
    """Newcombe 1998, table I, method 3."""
    assert wilson_interval(k, n) == pytest.approx((lower, upper), abs=5e-5)


shares = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(shares, st.floats(0.5, 0.999))
def test_wilson_bounds_solve_the_score_equation(share: tuple[int, int], confidence: float) -> None:
    k, n = share
    lower, upper = wilson_interval(k, n, confidence)
    assert 0 <= lower <= k / n <= upper <= 1
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    for bound in (lower, upper):
        if 0 < bound < 1:
            assert (k / n - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / n, rel=1e-6, abs=1e-12)


@given(shares, st.floats(0.5, 0.98))
def test_wilson_interval_is_symmetric_and_grows_with_confidence(share: tuple[int, int], confidence: float) -> None:
    k, n = share
    lower, upper = wilson_interval(k, n, confidence)
    assert wilson_interval(n - k, n, confidence) == pytest.approx((1 - upper, 1 - lower), abs=1e-12)
    wide_lower, wide_upper = wilson_interval(k, n, confidence + 0.01)
    assert wide_lower <= lower
    assert wide_upper >= upper


@pytest.mark.parametrize(("k", "n", "confidence"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0)])
def test_wilson_interval_refuses_what_is_no_share(k: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="give"):
        wilson_interval(k, n, confidence)


def test_only_whole_red_cells_of_accepted_fields_are_counted() -> None:
    counts = count_case(
        [make_field(90, 10, border=7, platelets=5), make_field(90, 10), make_field(500, 500, accepted=False)]
    )
    assert (counts.red_cells, counts.spherocytes, counts.fields) == (200, 20, 2)
    assert counts.spherocyte_percent == pytest.approx(10.0)
    lower, upper = wilson_interval(20, 200)  # fields that agree say as much as one
    assert counts.ci95 == pytest.approx((100 * lower, 100 * upper))
    told = " ".join(counts.limitations)
    assert "Only 200 red cells" in told
    assert "1 of 3 fields refused" in told
    assert "7 red cells (3%) cut by" in told
    assert counts.statistics is not None
    assert (counts.statistics.platelets, counts.statistics.border_cells, counts.statistics.refused_fields) == (5, 7, 1)
    assert (counts.statistics.field_cells, counts.statistics.field_spherocytes) == ((100, 100, 0), (10, 10, 0))


def test_without_a_red_cell_there_is_no_percentage() -> None:
    counts = count_case([make_field(platelets=3)])
    assert (counts.spherocyte_percent, counts.ci95) == (None, None)
    assert "No red cell was counted" in counts.limitations[0]
    assert not any("interval" in text for text in counts.limitations)


def test_a_large_clean_case_has_only_the_lasting_limitation() -> None:
    counts = count_case([make_field(500, 2), make_field(500, 3)], um_per_pixel=0.1, rule=RULE)
    assert counts.limitations == ("The 95 % interval covers counting only, not the model's errors.",)
    [said] = count_case([make_field(1000, 5)], um_per_pixel=0.1, rule=RULE).limitations
    assert "rests on one field" in said


def test_fields_that_differ_widen_the_interval_and_are_told() -> None:
    even = count_case([make_field(90, 10)] * 12, um_per_pixel=0.1, rule=RULE)
    uneven = count_case([make_field(80, 20), make_field(100, 0)] * 6, um_per_pixel=0.1, rule=RULE)
    assert even.ci95 is not None
    assert uneven.ci95 is not None
    assert even.spherocyte_percent == uneven.spherocyte_percent == 10.0
    assert uneven.ci95[1] - uneven.ci95[0] > 2 * (even.ci95[1] - even.ci95[0])
    assert uneven.statistics is not None
    # Shares of 0 and 20 % in fields of 100 cells: 12/11 * 0.1^2 / 12 over 0.1 * 0.9 / 1200.
    assert uneven.statistics.design_effect == pytest.approx(12 / 11 * 0.01 / 12 / (0.09 / 1200))
    assert any("design effect 12.1" in text for text in uneven.limitations)


@given(
    st.lists(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=30)
)
def test_the_interval_holds_the_share_and_is_never_narrower_than_that_of_one_sample(
    fields: list[tuple[int, int]],
) -> None:
    hits, cells = zip(*fields, strict=True)
    lower, upper = field_interval(hits, cells)
    narrow = wilson_interval(sum(hits), sum(cells))
    assert 0 <= lower <= sum(hits) / sum(cells) <= upper <= 1
    assert upper - lower >= narrow[1] - narrow[0] - 1e-9
    effect = field_effect(hits, cells)
    assert effect.design_effect >= 1
    assert 0 < effect.effective_cells <= sum(cells)


def test_a_field_unlike_the_others_is_named_and_chance_is_not() -> None:
    fields = [make_field(95, 5)] * 4 + [make_field(60, 40)] + [make_field(94, 6)] * 3
    counts = count_case(fields, um_per_pixel=0.1, rule=RULE)
    assert counts.statistics is not None
    assert counts.statistics.outlier_fields == (5,)
    assert any(text.startswith("Field 5 does not fit the others: 40 spherocytes of 100") for text in counts.limitations)
    rng = np.random.default_rng(7)
    named = sum(bool(outlier_fields(rng.binomial(80, 0.06, 15).tolist(), [80] * 15)) for _ in range(300))
    assert named <= 9  # 1 % of the cases, here 3 on average


def test_microcytes_need_a_scale() -> None:
    nan = float("nan")

    def cell(diameter: float) -> Cell:
        measures = CellMeasures(diameter**2, diameter, nan, nan, nan, nan, nan, nan, nan, nan)
        return Cell(CellClass.RBC, 0.9, 0.9, 5, 5, np.ones((4, 4), bool), measures=measures)

    field = FieldFindings(tuple(cell(width) for width in (50, 59, 61, 70)), 640, 480, 70.0, 1, 0.3)
    known, unknown = count_case([field], um_per_pixel=0.1).statistics, count_case([field]).statistics
    assert known is not None
    assert unknown is not None
    assert (known.microcytes, unknown.microcytes) == (2, None)


def test_saturation_overlap_and_missing_scale_are_told() -> None:
    crowded = make_field(1000, saturated=True)
    touching = tuple(Cell(c.cell_class, 0.9, 0.9, 5, 5, c.mask, overlaps=i < 400) for i, c in enumerate(crowded.cells))
    told = " ".join(count_case([FieldFindings(touching, 640, 480, 75.0, 1, 0.3, saturated=True)]).limitations)
    assert "maximum was reached in 1 field:" in told
    assert "40% of the counted red cells" in told
    assert "No scale in micrometres" in told
    assert told.isascii()


@pytest.mark.parametrize(("percent", "correlation"), [(2.0, 0.01), (5.0, 0.05), (30.0, 0.1)])
def test_the_interval_holds_the_known_percentage_as_often_as_it_says(percent: float, correlation: float) -> None:
    # The whole table is that of `python -m tests.interval_coverage`; 300 draws tell it to 1.5 points.
    assert coverage(percent, correlation, fields=20, draws=300, seed=7) >= 0.93 - 0.03


def test_an_interval_that_ignores_fields_would_cover_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tests.interval_coverage, "field_interval", lambda hits, cells: wilson_interval(sum(hits), sum(cells))
    )
    assert coverage(30.0, 0.1, fields=20, draws=300, seed=7) < 0.7
