"""Which fields of a case set its scale."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from db.states import FieldState
from db.views import FieldView
from flows.process_case import spread


def fields(count: int) -> list[FieldView]:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return [
        FieldView(str(n), "case", n + 1, FieldState.ACCEPTED, "0" * 64, 0, 1, "image/png", 10, 10, "00/0.png", at, None)
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100])
def test_the_scale_is_measured_in_few_fields_from_first_to_last(count: int) -> None:
    chosen = [int(field.field_id) for field in spread(fields(count), 8)]
    assert len(chosen) == min(count, 8)
    assert chosen == sorted(set(chosen))
    assert not chosen or chosen[0] == 0
