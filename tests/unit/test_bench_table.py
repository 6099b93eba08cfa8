"""A benchmark that misses its limit must say so."""

from __future__ import annotations

from tests.bench.table import Row, as_text, side_by_side


def test_a_ratio_over_its_limit_is_told() -> None:
    over = Row("field", 3.0, "ms", "bare", 2.0, at_most=1.4)
    within = Row("field", 2.8, "ms", "bare", 2.0, at_most=1.4)
    assert (over.holds, within.holds) == (False, True)
    lines = as_text([over, within]).splitlines()
    assert lines[1].endswith("1.50     1.40  MISSED")
    assert lines[2].endswith("1.40     1.40  holds")


def test_two_calls_are_timed_in_turns_and_the_first_round_is_not_counted() -> None:
    now = 0.0
    order = []

    def call(name: str, durations: list[float]) -> None:
        nonlocal now
        order.append(name)
        now += durations.pop(0)

    slow, fast = [100.0, 3.0, 5.0, 4.0], [50.0, 1.0, 1.0, 9.0]
    assert side_by_side(lambda: call("a", slow), lambda: call("b", fast), rounds=3, clock=lambda: now) == (4.0, 1.0)
    assert order == ["a", "b"] * 4
