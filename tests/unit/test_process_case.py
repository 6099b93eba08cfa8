"""How the fields of a case are put into tasks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from db.states import FieldState
from db.views import FieldView
from flows.process_case import groups_of, spread


def fields(count: int) -> list[FieldView]:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return [
        FieldView(str(n), "case", n + 1, FieldState.ACCEPTED, "0" * 64, 0, 1, "image/png", 10, 10, "00/0.png", at, None)
        for n in range(count)
    ]


def test_few_fields_have_a_task_each() -> None:
    assert [name for name, _ in groups_of(fields(3), 3)] == [f"analyse field {n} of 3" for n in (1, 2, 3)]


def test_what_is_left_after_a_restart_keeps_its_numbers() -> None:
    assert [name for name, _ in groups_of(fields(2), 7)] == ["analyse field 6 of 7", "analyse field 7 of 7"]


@pytest.mark.parametrize("count", [9, 12, 30, 31, 500])
def test_many_fields_are_few_tasks_and_none_is_left_out(count: int) -> None:
    groups = groups_of(fields(count), count)
    assert len(groups) <= 5, "with reading, recording and delivering at most eight task runs"
    assert [field.field_id for _, group in groups for field in group] == [str(n) for n in range(count)]
    assert groups[0][0] == f"analyse fields 1 to {len(groups[0][1])} of {count}"
    assert groups[-1][0].endswith(f"to {count} of {count}")


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100])
def test_the_scale_is_measured_in_few_fields_from_first_to_last(count: int) -> None:
    chosen = [int(field.field_id) for field in spread(fields(count), 8)]
    assert len(chosen) == min(count, 8)
    assert chosen == sorted(set(chosen))
    assert not chosen or chosen[0] == 0
