"""Every move of what is out, and that no path of the program's own acts leads to a final result without the site's will."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.errors import IllegalMove
from db.release_moves import PERSONS, Act, Standing, next_status, standing_of
from db.states import ReportStatus

# Rows: what is out; columns: what happens. Written down again here on purpose: a slip in the table shows.
GRID = """
                report release no_result sign reject withdraw
    nothing        P      F       X       F     X       .
    preliminary    P      F       X       F     X       W
    final          .      .       .       C     .       W
    no_result      P      F       X       F     X       .
    withdrawn      .      .       .       .     .       .
"""
SIGNED = frozenset({ReportStatus.FINAL, ReportStatus.CORRECTED})


def cells() -> list[tuple[Standing, Act, str]]:
    header, *rows = [line.split() for line in GRID.strip().splitlines()]
    return [
        (Standing[row[0].upper()], Act[act.upper()], mark)
        for row in rows
        for act, mark in zip(header, row[1:], strict=True)
    ]


@pytest.mark.parametrize(("standing", "act", "mark"), cells())
def test_moves(standing: Standing, act: Act, mark: str) -> None:
    if mark == ".":
        with pytest.raises(IllegalMove, match=f"the receivers have {standing}"):
            next_status(standing, act)
    else:
        assert next_status(standing, act) == mark


def test_the_grid_shows_everything() -> None:
    assert {(standing, act) for standing, act, _ in cells()} == set(product(Standing, Act))


def told(acts: list[Act]) -> list[tuple[Act, ReportStatus]]:
    """What leaves when these acts are tried one after the other; illegal ones change nothing."""
    versions: list[tuple[Act, ReportStatus]] = []
    for act in acts:
        try:
            versions.append((act, next_status(standing_of(status for _, status in versions), act)))
        except IllegalMove:
            continue
    return versions


@given(st.lists(st.sampled_from(sorted(set(Act) - {Act.RELEASE})), max_size=12))
def test_no_path_leads_to_a_final_result_but_by_a_persons_signature(acts: list[Act]) -> None:
    assert all(act is Act.SIGN for act, status in told(acts) if status in SIGNED)


@given(st.lists(st.sampled_from(sorted(Act)), max_size=12))
def test_after_a_final_result_only_people_act_and_after_a_withdrawal_nobody(acts: list[Act]) -> None:
    versions = told(acts)
    statuses = [status for _, status in versions]
    for number, (act, status) in enumerate(versions):
        if set(statuses[:number]) & SIGNED:
            assert act in PERSONS
            assert status in (ReportStatus.CORRECTED, ReportStatus.WRONG_PATIENT)
        if status is ReportStatus.FINAL:
            assert not set(statuses[:number]) & SIGNED, "final once; then corrected"
    assert ReportStatus.WRONG_PATIENT not in statuses[:-1]
