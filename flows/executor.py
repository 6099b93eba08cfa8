"""Executes runs in this event loop: claims them, follows them, interrupts them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import FlowRun
from prefect.client.schemas.objects import StateType
from prefect.exceptions import Abort, PrefectException, PrefectSignal
from prefect.flow_engine import run_flow
from prefect.states import Pending
from prefect.utilities.engine import propose_state

from db.errors import DatabaseError
from flows.deployments import DEPLOYED, PROCESS_CASE
from flows.log import tell
from flows.runs import Runs, has_parameters

log = logging.getLogger(__name__)

#: What can go wrong with Prefect's API and ours; the next round tries again.
TROUBLE = (httpx.HTTPError, PrefectException, DatabaseError, OSError)


@dataclass(slots=True)
class _Executing:
    run: FlowRun
    kind: str
    task: asyncio.Task[None] | None = None
    claimed: bool = False
    cancelled: bool = False
    suspended: bool = False


class Executor:
    """Runs that are executed here.

    Parameters
    ----------
    client : PrefectClient
    runs : Runs
    """

    def __init__(self, client: PrefectClient, runs: Runs) -> None:
        self._client = client
        self._runs = runs
        self._executing: dict[UUID, _Executing] = {}

    @property
    def ids(self) -> Collection[UUID]:
        """Of what is executed."""
        return self._executing.keys()

    def has_room(self, kind: str) -> bool:
        """Whether one more run of this deployment may be executed."""
        return sum(item.kind == kind for item in self._executing.values()) < DEPLOYED[kind].at_a_time

    def is_executing(self, kind: str, parameters: Mapping[str, Any]) -> bool:
        """Whether a run of this deployment with these parameters is executed."""
        return any(item.kind == kind and has_parameters(item.run, parameters) for item in self._executing.values())

    def start(self, run: FlowRun, kind: str) -> bool:
        """Execute a scheduled run unless it is executed already or there is no room."""
        if run.id in self._executing or not self.has_room(kind):
            return False
        item = _Executing(run, kind)
        self._executing[run.id] = item
        item.task = asyncio.create_task(self._execute(item), name=run.name)
        return True

    async def cancel(self, run_id: UUID) -> None:
        """End a run that a person cancelled in Prefect."""
        item = self._executing.get(run_id)
        if item is not None and item.task is not None:
            item.cancelled = True
            item.task.cancel()

    async def suspend(self, run_id: UUID) -> None:
        """Leave a run that a person suspended in Prefect; it goes on when it is resumed there.

        Prefect's engine by itself would notice only when all work is done.
        """
        item = self._executing.get(run_id)
        if item is not None and item.task is not None:
            item.suspended = True
            item.task.cancel()

    async def put_back(self, seconds: float) -> None:
        """End everything: runs of cases are put back to be executed again; others are waited for first."""
        for item in list(self._executing.values()):
            if item.kind == PROCESS_CASE and item.task is not None:
                item.task.cancel()
        tasks = [item.task for item in self._executing.values() if item.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)

    async def _execute(self, item: _Executing) -> None:
        run = item.run
        try:
            state = await propose_state(self._client, Pending(), run.id)
            if state.is_pending():
                await self._runs.claimed(run)
                item.claimed = True
                flow = DEPLOYED[item.kind].flow
                state = await run_flow(flow, flow_run=run, return_type="state")  # type: ignore[misc]
                if state.is_cancelling():  # the wish came when the work was done
                    item.cancelled = True
                    await self._left(item)
        except Abort:
            await self._left(item)
        except asyncio.CancelledError:
            await self._left(item)
        except PrefectSignal:
            log.info("run suspended", extra={"run": str(run.id)})
        except TROUBLE as error:
            log.warning("a run could not be executed: %s", tell(error), extra={"run": str(run.id)})
        finally:
            del self._executing[run.id]

    async def _left(self, item: _Executing) -> None:
        """Give a run that was interrupted the state it deserves; one that Prefect refused to us is not ours."""
        if item.suspended:
            log.info("run suspended", extra={"run": str(item.run.id)})
            return  # its state stands
        try:
            if item.cancelled or await self._runs.in_state([item.run.id], StateType.CANCELLING):
                await self._runs.cancelled(item.run.id)
            elif item.task is not None and item.task.cancelling():
                if item.kind == PROCESS_CASE:
                    await self._runs.again(item.run.id, "the service was stopped")
                else:
                    await self._runs.crashed(item.run.id, "the service was stopped")
            elif item.claimed and item.kind == PROCESS_CASE and await self._runs.is_ours(item.run.id):
                await self._runs.again(item.run.id, "the case was in other hands")
        except TROUBLE as error:
            log.warning("the state of a run could not be set: %s", tell(error), extra={"run": str(item.run.id)})
