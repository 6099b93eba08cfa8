"""Grades by scheme, and when spherocytes are reported as detected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sphero_core.grading import DAVIS, ICSH_2015, SCHEMES, GradingRule, GradingScheme, grade_share, straddling


@pytest.mark.parametrize(
    ("scheme", "percent", "grade"),
    [
        *[(DAVIS, percent, grade) for percent, grade in [(0, "0"), (1.99, "0"), (2, "1+"), (9.99, "1+"), (10, "2+")]],
        *[(DAVIS, percent, grade) for percent, grade in [(20, "3+"), (49.9, "3+"), (50, "4+"), (100, "4+")]],
        *[(ICSH_2015, percent, grade) for percent, grade in [(4.99, "0"), (5, "2+"), (19.9, "2+"), (20, "3+")]],
    ],
)
def test_a_cut_off_belongs_to_the_upper_grade(scheme: GradingScheme, percent: float, grade: str) -> None:
    assert scheme.grade_of(percent) == grade


@pytest.mark.parametrize(("hits", "cells"), [(20, 1000), (7, 350), (1, 50), (57, 2850)])
def test_exactly_two_percent_is_on_the_cut_off_however_it_comes_about(hits: int, cells: int) -> None:
    assert DAVIS.grade_of(100 * hits / cells) == "1+"


@given(st.sampled_from(list(SCHEMES.values())), st.floats(0, 100), st.floats(0, 100))
def test_grades_rise_with_the_percentage(scheme: GradingScheme, one: float, other: float) -> None:
    low, high = sorted((one, other))
    between = scheme.between(low, high)
    assert (between[0], between[-1]) == (scheme.grade_of(low), scheme.grade_of(high))


@pytest.mark.parametrize(
    ("percent", "interval", "false_calls", "detected", "why"),
    [
        (3.4, (2.6, 4.3), 0.85, True, "begins at 2.6 %, above the 0.85 %"),
        (3.4, (0.85, 9.0), 0.85, False, "not above"),
        (3.4, (2.6, 4.3), None, False, "was not measured"),
        (1.9, (1.2, 2.9), 0.85, False, "below 2 %"),
        (3.4, (2.6, 4.3), 3.0, False, "not above the 3 %"),
    ],
)
def test_detected_needs_a_grade_and_an_interval_above_the_false_calls(
    percent: float, interval: tuple[float, float], false_calls: float | None, detected: bool, why: str
) -> None:
    grading = grade_share(percent, interval, GradingRule(DAVIS, false_calls))
    assert grading.detected is detected
    assert why in grading.reason
    assert grading.reason.startswith("Detected" if detected else "Not detected")
    assert grading.reason.isascii()


def test_a_straddled_cut_off_is_said() -> None:
    grading = grade_share(9.0, (7.0, 21.0))
    assert (grading.grade, grading.possible) == ("1+", ("1+", "2+", "3+"))
    assert (
        straddling(grading) == "The 95 % interval straddles a cut-off of the scheme davis: the grade may be 1+ to 3+."
    )
    assert straddling(grade_share(5.0, (3.0, 9.0))) is None


@pytest.mark.parametrize(
    "cut_offs",
    [
        (),
        (("0", 2.0),),
        (("5+", 2.0),),
        (("1+", 0.0),),
        (("1+", 100.0),),
        (("2+", 5.0), ("1+", 9.0)),
        (("1+", 9.0), ("2+", 9.0)),
    ],
)
def test_a_scheme_that_makes_no_sense_is_refused(cut_offs: tuple[tuple[str, float], ...]) -> None:
    with pytest.raises(ValueError, match="cut-offs"):
        GradingScheme("ours", cut_offs)
