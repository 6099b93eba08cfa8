"""The flow `poll-store`: one long run that asks a DICOM store again and again.

The store's own loop (`flows.dicom_stores`) has the cursor; a run borrows its turn, and where none comes it goes on by itself.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas import State
from prefect.states import Completed, Failed

from flows.dicom_poll import Polled
from flows.dicom_stores import StoreLoop
from flows.run_support import interruptible, shown_safely
from flows.services import services

LOOK_SECONDS = 5.0


@flow(name="poll-store", flow_run_name="poll {store}", persist_result=False)
async def poll_store(store: str, minutes: float = 10.0) -> State[Any]:
    """Ask a DICOM store for new images, and fetch them.

    Parameters
    ----------
    store : str
        Its name in the settings.
    minutes : float
        How long this run lasts; the next one follows by itself.
    """
    loop = services().stores.get(store)
    if loop is None:
        return Failed(message=f"no store has this name; known are {', '.join(services().stores) or 'none'}")
    asked = _Asked()
    async with interruptible(), shown_safely():
        with loop.lent() as ours:
            if not ours or not loop.is_permitted:
                return Completed(
                    name="NotNeeded", message="another run asks this store already, or another machine does"
                )
            await _ask(loop, asked, time.monotonic() + 60 * minutes)
        if asked.came:
            await acreate_table_artifact(table=asked.came, description="What came from the store")
    said = f"asked {asked.times} times: {asked.total.fetched} images were fetched, {asked.total.failed} could not be"
    if loop.problem:
        return Failed(name="Unreachable", message=f"{said}; {loop.problem}")
    return Completed(message=said)


class _Asked:
    """What a run has done so far."""

    def __init__(self) -> None:
        self.times = 0
        self.total = Polled()
        self.came: list[dict[str, Any]] = []

    def add(self, done: Polled) -> None:
        self.times += 1
        self.total.studies += done.studies
        self.total.fetched += done.fetched
        self.total.failed += done.failed
        if done.fetched or done.failed:
            row = {"studies": done.studies, "images fetched": done.fetched, "failed, tried again": done.failed}
            self.came.append({"poll": self.times, **row})


async def _ask(loop: StoreLoop, asked: _Asked, end: float) -> None:
    problem: str | None = None
    while time.monotonic() < end and loop.is_permitted and not services().stopping.is_set():
        done, pause = await asyncio.to_thread(loop.once)
        asked.add(done)
        if done.fetched or done.failed:
            get_run_logger().info("%d images were fetched, %d could not be", done.fetched, done.failed)
        if loop.problem != problem and loop.problem is not None:
            get_run_logger().error("%s", loop.problem)
        problem = loop.problem
        await _wait(loop, min(end, time.monotonic() + pause))


async def _wait(loop: StoreLoop, until: float) -> None:
    while time.monotonic() < until and not services().stopping.is_set():
        loop.leave_to_run()
        with suppress(TimeoutError):
            await asyncio.wait_for(services().stopping.wait(), max(0.0, min(LOOK_SECONDS, until - time.monotonic())))
