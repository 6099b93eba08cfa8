"""Fields through model and database: nothing left out, few commits, and what was found is kept when something fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from db.states import FieldState
from db.views import FieldView
from flows import field_pipeline
from flows.errors import FieldRefused, ModelUnavailable
from flows.field_pipeline import AHEAD, TOGETHER, analyse_all
from sphero_core.types import BundleId, FieldFindings

BUNDLE = BundleId("fake", "1", "f" * 64)


def fields(count: int) -> list[FieldView]:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    return [
        FieldView(str(n), "case", n + 1, FieldState.ACCEPTED, "0" * 64, 0, 1, "image/png", 10, 10, "00/0.png", at, None)
        for n in range(count)
    ]


class Scripted:
    """Model and database of a case: answers as it is told, and notes what is asked and recorded."""

    def __init__(
        self, faults: dict[str, Exception] | None = None, seconds: float = 0.1, late: frozenset[str] = frozenset()
    ) -> None:
        self.faults = faults or {}
        self.late = late
        self.seconds = seconds
        self.asked: list[Future[FieldFindings]] = []
        self.most_at_once = 0
        self.commits: list[list[str]] = []
        self.refused: list[str] = []
        self.said: list[str] = []
        self.kept = asyncio.Event()

    def analyse(self, field: FieldView, _diameter: float | None) -> Future[FieldFindings]:
        future: Future[FieldFindings] = Future()
        self.asked.append(future)
        self.most_at_once = max(self.most_at_once, sum(not each.done() for each in self.asked))
        if field.field_id not in self.late:
            asyncio.get_running_loop().call_later(0.001 * len(self.asked), self.answer, field, future)
        return future

    def answer(self, field: FieldView, future: Future[FieldFindings]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        if fault := self.faults.get(field.field_id):
            future.set_exception(fault)
        else:
            future.set_result(FieldFindings((), 10, 10, 5.0, 1, self.seconds))

    def record(self, _case: Any, found: Sequence[tuple[FieldView, FieldFindings]], _bundle: BundleId) -> None:
        self.commits.append([field.field_id for field, _ in found])
        self._loop.call_soon_threadsafe(self.kept.set)

    def refuse(self, _case: Any, field: FieldView, _reason: str) -> None:
        self.refused.append(field.field_id)

    async def run(self, count: int) -> list[str]:
        self._loop = asyncio.get_running_loop()
        model = SimpleNamespace(analyse=self.analyse, wait_ready=lambda _seconds: BUNDLE)
        work = SimpleNamespace(task=lambda _case, field: field, record=self.record, refuse=self.refuse)
        at_hand: Any = SimpleNamespace(model=model, work=work)
        case: Any = SimpleNamespace(case_id="case")
        return await analyse_all(at_hand, case, fields(count), 5.0, say=self.said.append)

    @property
    def recorded(self) -> list[str]:
        return [field_id for commit in self.commits for field_id in commit]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 11, 40])
async def test_every_field_is_recorded_once_in_order_in_few_commits(count: int) -> None:
    case = Scripted()
    assert await case.run(count) == []
    assert case.recorded == [str(n) for n in range(count)]
    assert len(case.commits) == -(-count // TOGETHER)
    assert case.most_at_once <= AHEAD
    assert sum(said.count("field ") for said in case.said) == count


async def test_an_analysis_that_took_long_is_recorded_at_once() -> None:
    case = Scripted(seconds=30.0)
    await case.run(3)
    assert case.commits == [["0"], ["1"], ["2"]]


async def test_what_was_found_is_not_left_unrecorded_while_the_next_field_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(field_pipeline, "AT_RISK_SECONDS", 0.05)
    case = Scripted(seconds=0.001, late=frozenset({"3"}))
    running = asyncio.create_task(case.run(5))
    await asyncio.wait_for(case.kept.wait(), 20)
    assert case.commits == [["0", "1", "2"]]
    case.answer(fields(5)[3], case.asked[3])
    assert await running == []
    assert case.recorded == ["0", "1", "2", "3", "4"]


async def test_a_refused_field_is_put_aside_and_the_rest_goes_on() -> None:
    case = Scripted({"2": FieldRefused("the file is damaged")})
    assert await case.run(6) == ["the file is damaged"]
    assert case.recorded == ["0", "1", "3", "4", "5"]
    assert case.refused == ["2"]
    assert any("field 3: put aside: the file is damaged" in said for said in case.said)


async def test_what_was_found_before_a_fault_is_recorded() -> None:
    case = Scripted({"6": ModelUnavailable("it ended")})
    with pytest.raises(ModelUnavailable):
        await case.run(20)
    assert case.recorded == ["0", "1", "2", "3", "4", "5"]
    assert all(future.done() for future in case.asked), "what was asked ahead is called off"


async def test_what_was_found_before_the_run_was_cancelled_is_recorded() -> None:
    case = Scripted()
    running = asyncio.create_task(case.run(500))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert case.recorded == [str(n) for n in range(len(case.recorded))]
    assert len(case.asked) - AHEAD <= len(case.recorded) < 500
