"""The fields of a case on their way through the model into the database.

The model has the next fields at hand while the findings of earlier ones are recorded, several in one commit: a commit costs
about as much as the findings of a field in it. What is not recorded when the process dies is analysed again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from db.views import CaseView, FieldView
from flows.errors import FieldFatal, FieldRefused
from flows.run_texts import field_line
from flows.services import Services
from sphero_core.types import FieldFindings

AHEAD = 6  # fields of a case that are asked of the model at a time: those in its process, and two that wait for a place there
TOGETHER = 4  # findings in one commit at most
AT_RISK_SECONDS = 1.0  # so much analysis is not left unrecorded for company
MODEL_SECONDS = 60.0

Answer = tuple[FieldView, FieldFindings | str]
"""A field with what was found in it, or why it is refused."""


async def analyse_all(
    at_hand: Services,
    case: CaseView,
    fields: Sequence[FieldView],
    cell_diameter_px: float | None,
    *,
    say: Callable[[str], None],
) -> list[str]:
    """Find and record the cells of fields; gives the reasons of those that are refused.

    Parameters
    ----------
    at_hand : Services
    case : CaseView
    fields : sequence of FieldView
        Accepted, in the order they came.
    cell_diameter_px : float or None
        Of the case, in pixels; None where no red cells could be measured.
    say : callable
        Is told what was recorded, some fields at a time.

    Raises
    ------
    ModelUnavailable, DatabaseError
        What was found before is recorded.
    """
    recorder = _Recorder(at_hand, case, say)
    try:
        async with aclosing(_answers(at_hand, case, fields, cell_diameter_px, recorder.idle)) as answers:
            async for answer in answers:
                await recorder.take(answer)
    finally:
        await recorder.finish()
    return recorder.refusals


async def _answers(
    at_hand: Services,
    case: CaseView,
    fields: Sequence[FieldView],
    cell_diameter_px: float | None,
    idle: Callable[[], Awaitable[None]],
) -> AsyncGenerator[Answer, None]:
    """What the model says of each field, in order; it is asked some fields ahead. `idle` is called where it is slow to answer."""
    ahead: deque[tuple[FieldView, asyncio.Future[FieldFindings]]] = deque()
    try:
        for field in fields:
            asked = at_hand.model.analyse(at_hand.work.task(case, field), cell_diameter_px)
            ahead.append((field, asyncio.wrap_future(asked)))
            if len(ahead) == AHEAD:
                yield await _answer(*ahead.popleft(), idle)
        while ahead:
            yield await _answer(*ahead.popleft(), idle)
    finally:
        for _, future in ahead:
            future.cancel()


async def _answer(
    field: FieldView, future: asyncio.Future[FieldFindings], idle: Callable[[], Awaitable[None]]
) -> Answer:
    try:
        answered, _ = await asyncio.wait({future}, timeout=AT_RISK_SECONDS)
        if not answered:
            await idle()
        return field, await future
    except (FieldRefused, FieldFatal) as refusal:
        return field, str(refusal)
    finally:
        future.cancel()  # where this was cancelled; nothing happens to one that is done


class _Recorder:
    """Gathers answers and writes them down, some at a time, while the model goes on."""

    def __init__(self, at_hand: Services, case: CaseView, say: Callable[[str], None]) -> None:
        self._at_hand = at_hand
        self._case = case
        self._say = say
        self._gathered: list[Answer] = []
        self._writing: asyncio.Task[None] | None = None
        self.refusals: list[str] = []

    async def take(self, answer: Answer) -> None:
        """Take one more; waits while earlier ones are still being written."""
        self._gathered.append(answer)
        worth = sum(found.seconds for _, found in self._gathered if isinstance(found, FieldFindings))
        if len(self._gathered) == TOGETHER or worth >= AT_RISK_SECONDS:
            await self._write()

    async def idle(self) -> None:
        """Write down what was gathered: the next answer takes its time."""
        if self._gathered:
            await self._write()

    async def finish(self) -> None:
        """Write down what is left, and wait until it is written."""
        if self._gathered:
            await self._write()
        await self._written()

    async def _write(self) -> None:
        await self._written()
        answers, self._gathered = self._gathered, []
        self._writing = asyncio.create_task(self._record(answers))

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _record(self, answers: Sequence[Answer]) -> None:
        work = self._at_hand.work
        found = [(field, findings) for field, findings in answers if isinstance(findings, FieldFindings)]
        if found:
            await asyncio.to_thread(self._keep, found)
        for field, reason in answers:
            if isinstance(reason, str):
                await asyncio.to_thread(work.refuse, self._case, field, reason)
                self.refusals.append(reason)
        lines = [f"field {field.number}: {told(answer)}" for field, answer in answers]
        self._say("\n".join(lines))

    def _keep(self, found: Sequence[tuple[FieldView, FieldFindings]]) -> None:
        self._at_hand.work.record(self._case, found, self._at_hand.model.wait_ready(MODEL_SECONDS))


def told(answer: FieldFindings | str) -> str:
    """What became of a field, in one line."""
    return f"put aside: {answer}" if isinstance(answer, str) else field_line(answer)
