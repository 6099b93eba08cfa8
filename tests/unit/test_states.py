"""Every cell of the three state tables: what is legal, and that nothing else is."""

from __future__ import annotations

from itertools import product

import pytest

from db.errors import IllegalMove
from db.states import (
    CASE_MOVES,
    FIELD_MOVES,
    INBOUND_MOVES,
    INSTANCE_MOVES,
    MESSAGE_MOVES,
    ORDER_MOVES,
    PLEDGE_MOVES,
    CaseState,
    FieldState,
    InboundState,
    InstanceState,
    MessageState,
    OrderState,
    PledgeState,
    check_case_move,
    check_move,
)

# Rows: from; columns: to, in the same order; x: legal. Written down again here on purpose: a slip in the table shows.
CASE_GRID = """
            open complete analysed reported signed held rejected
    open     .      x        .        .       .     x      x
    complete x      .        x        .       .     x      x
    analysed x      x        .        x       x     x      x
    reported x      x        .        .       x     x      x
    signed   x      x        .        .       .     x      x
    held     x      x        x        x       x     .      x
    rejected .      .        .        .       .     .      .
"""
FIELD_GRID = """
                accepted analysed quarantined
    accepted       .        x          x
    analysed       .        .          .
    quarantined    .        .          .
"""
MESSAGE_GRID = """
              waiting sending delivered retry unknown parked skipped
    waiting      .       x        .       .      .       x      x
    sending      x       .        x       x      x       x      .
    delivered    x       .        .       .      .       x      .
    retry        .       x        x       .      .       x      x
    unknown      .       x        x       .      .       x      x
    parked       x       .        x       .      .       .      x
    skipped      x       .        .       .      .       .      .
"""
ORDER_GRID = """
              ordered cancelled
    ordered      .        x
    cancelled    x        .
"""
INBOUND_GRID = """
             received applied refused failed
    received    .        x       x      x
    applied     .        .       .      .
    refused     .        .       .      .
    failed      .        x       x      .
"""
INSTANCE_GRID = """
              received assembled refused conflict
    received     .         x        x       .
    assembled    .         .        .       .
    refused      .         .        .       .
    conflict     .         .        .       .
"""
PLEDGE_GRID = """
              waiting answered given-up
    waiting      .        x        x
    answered     x        .        .
    given-up     x        .        .
"""


def cells(grid: str) -> list[tuple[str, str, bool]]:
    header, *rows = [line.split() for line in grid.strip().splitlines()]
    return [(row[0], target, mark == "x") for row in rows for target, mark in zip(header, row[1:], strict=True)]


@pytest.mark.parametrize(("start", "end", "legal"), cells(CASE_GRID))
def test_case_moves(start: str, end: str, legal: bool) -> None:
    current, target = CaseState(start), CaseState(end)
    came_from = target if current is CaseState.HELD and target is not CaseState.REJECTED else None
    if legal:
        assert check_case_move(current, target, came_from)
    else:
        with pytest.raises(IllegalMove, match=f"from {start} to {end}"):
            check_case_move(current, target, came_from)


@pytest.mark.parametrize(("came_from", "target"), list(product(CaseState, CaseState)))
def test_a_held_case_returns_only_to_where_it_was(came_from: CaseState, target: CaseState) -> None:
    legal = target is CaseState.REJECTED or (came_from is target and (CaseState.HELD, target) in CASE_MOVES)
    if legal:
        assert check_case_move(CaseState.HELD, target, came_from)
    else:
        with pytest.raises(IllegalMove):
            check_case_move(CaseState.HELD, target, came_from)


@pytest.mark.parametrize(("start", "end", "legal"), cells(FIELD_GRID))
def test_field_moves(start: str, end: str, legal: bool) -> None:
    if legal:
        assert check_move(FIELD_MOVES, FieldState(start), FieldState(end))
    else:
        with pytest.raises(IllegalMove, match=f"from {start} to {end}"):
            check_move(FIELD_MOVES, FieldState(start), FieldState(end))


@pytest.mark.parametrize(("start", "end", "legal"), cells(MESSAGE_GRID))
def test_message_moves(start: str, end: str, legal: bool) -> None:
    if legal:
        assert check_move(MESSAGE_MOVES, MessageState(start), MessageState(end))
    else:
        with pytest.raises(IllegalMove, match=f"from {start} to {end}"):
            check_move(MESSAGE_MOVES, MessageState(start), MessageState(end))


@pytest.mark.parametrize(("start", "end", "legal"), cells(ORDER_GRID))
def test_order_moves(start: str, end: str, legal: bool) -> None:
    if legal:
        assert check_move(ORDER_MOVES, OrderState(start), OrderState(end))
    else:
        with pytest.raises(IllegalMove, match=f"from {start} to {end}"):
            check_move(ORDER_MOVES, OrderState(start), OrderState(end))


@pytest.mark.parametrize(("start", "end", "legal"), cells(INBOUND_GRID))
def test_moves_of_received_messages(start: str, end: str, legal: bool) -> None:
    if legal:
        assert check_move(INBOUND_MOVES, InboundState(start), InboundState(end))
    else:
        with pytest.raises(IllegalMove, match=f"from {start} to {end}"):
            check_move(INBOUND_MOVES, InboundState(start), InboundState(end))


@pytest.mark.parametrize(("start", "end", "legal"), cells(INSTANCE_GRID))
def test_moves_of_instances(start: str, end: str, legal: bool) -> None:
    if legal:
        assert check_move(INSTANCE_MOVES, InstanceState(start), InstanceState(end))
    else:
        with pytest.raises(IllegalMove, match=f"from {start} to {end}"):
            check_move(INSTANCE_MOVES, InstanceState(start), InstanceState(end))


@pytest.mark.parametrize(("start", "end", "legal"), cells(PLEDGE_GRID))
def test_moves_of_requests_for_commitment(start: str, end: str, legal: bool) -> None:
    if legal:
        assert check_move(PLEDGE_MOVES, PledgeState(start), PledgeState(end))
    else:
        with pytest.raises(IllegalMove, match=f"from {start} to {end}"):
            check_move(PLEDGE_MOVES, PledgeState(start), PledgeState(end))


def test_the_grids_show_every_state() -> None:
    grids = (
        (CASE_GRID, CaseState),
        (FIELD_GRID, FieldState),
        (MESSAGE_GRID, MessageState),
        (ORDER_GRID, OrderState),
        (INBOUND_GRID, InboundState),
        (INSTANCE_GRID, InstanceState),
        (PLEDGE_GRID, PledgeState),
    )
    for grid, states in grids:
        assert {(start, end) for start, end, _ in cells(grid)} == set(product(states, states))
