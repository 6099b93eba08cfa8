"""The worker: executes runs of our deployments in this process, and sees to it that every case has one.

A small loop over Prefect's public API instead of a worker class of Prefect's; why is told in
`deploy/decisions/0002-prefect-execution.md`. Flows are `async` and share one event loop in a thread; what blocks goes to
other threads, and the network lives in another process.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import FlowRun, State
from prefect.client.schemas.objects import StateType
from prefect.context import AsyncClientContext
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from db.states import CaseState, HoldReason
from db.views import CaseView
from flows.alerts import apply_alerts
from flows.deployments import (
    DELIVER,
    DEPLOYED,
    POLL_STORE,
    PROCESS_CASE,
    WATCH_FOLDER,
    WORK_POOL,
    apply_deployments,
)
from flows.duties import FOLDER, RUNS, destination_duty, store_duty
from flows.errors import PrefectUnavailable
from flows.executor import TROUBLE, Executor
from flows.log import tell
from flows.outbox_age import OutboxAge, tell_late
from flows.runs import PAGE, Runs
from flows.services import Services, using
from flows.standing import keep_under_way, standing_of

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
INTERRUPT_SECONDS = 2.0
HEARTBEAT_SECONDS = 30.0
RECONCILE_SECONDS = 5.0
LEFT_SECONDS = 15.0
OUTBOX_SECONDS = 15.0
SETTLE_SECONDS = 15.0  # a run that ended without its case being done rests so long before it goes on
MOST_WAITING = 100  # runs of cases that wait in Prefect; more are made as these are done
STOP_SECONDS = 3.0
DRAIN_SECONDS = 1.0
THREADS = 24

MakeServices = Callable[[asyncio.Event, Callable[[], None]], Services]


class Worker:
    """Executes runs until it is stopped: a thread with an event loop of its own.

    Parameters
    ----------
    name : str
        The same after every restart, different on every machine.
    make_services : callable
        Called in the worker's thread with the event that ends everything, and the callable that nudges the worker.
    analyses : bool
        Whether runs of cases are executed here.
    """

    def __init__(self, name: str, make_services: MakeServices, *, analyses: bool) -> None:
        self.name = name
        self._make_services = make_services
        self._analyses = analyses
        self._thread = threading.Thread(target=self._main, name="worker", daemon=True)
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._nudged = asyncio.Event()
        self._poll_now = asyncio.Event()
        self._to_deliver: asyncio.Queue[str] = asyncio.Queue()
        self._case_runs: dict[tuple[str, int], UUID] = {}
        self._shown_held: set[tuple[str, int, tuple[HoldReason, ...]]] = set()

    # ------------------------------------------------------------------------------------------------ for other threads
    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def is_ready_or_fails(self, seconds: float) -> bool:
        """Wait so long; True when runs are executed.

        Raises
        ------
        PrefectUnavailable
            The worker has ended.
        """
        if self._started.wait(seconds):
            return True
        if not self._thread.is_alive():
            raise PrefectUnavailable("the worker could not register with the Prefect server; the log says why")
        return False

    @property
    def ready(self) -> bool:
        """Whether runs are executed."""
        return self._started.is_set() and self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the worker still works."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End; runs under way are put back so that the next start goes on with them."""
        if self._thread.is_alive():
            self._call(self._stopping.set)
            self._thread.join()

    def nudge(self) -> None:
        """Say that cases may need a run."""
        self._call(self._nudged.set)

    def deliver(self, destination: str) -> None:
        """Ask for a run that delivers."""
        self._call(lambda: self._to_deliver.put_nowait(destination))

    def _call(self, step: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the worker has ended
            self._loop.call_soon_threadsafe(step)

    # ------------------------------------------------------------------------------------------------------- the thread
    def _main(self) -> None:
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="worker")
        self._loop.set_default_executor(pool)
        try:
            self._loop.run_until_complete(self._run())
        except Exception as error:  # noqa: BLE001  # the edge of the thread: the supervisor begins it anew
            log.error("the worker ended: %s", tell(error))  # noqa: TRY400  # a traceback may hold what no log may
        finally:
            # Not waited for: a thread may sit in a connection that has its own deadline.
            pool.shutdown(wait=False, cancel_futures=True)
            self._loop.close()

    async def _run(self) -> None:
        services = self._make_services(self._stopping, self.nudge)
        async with AsyncClientContext.get_or_create() as context:
            client = context.client
            deployments = await apply_deployments(client, services.settings.site.time_zone)
            if services.duties.holds(RUNS):
                await apply_alerts(client, services.settings.alerts)
            runs = Runs(client, deployments, self.name)
            await self._heartbeat(client)
            for run_id in await runs.put_right():
                log.info("a run goes on where it was", extra={"run": str(run_id)})
            executor = Executor(client, runs)
            with using(services):
                await self._work(client, runs, executor, services)
            await EventsWorker.drain_all(timeout=DRAIN_SECONDS)  # type: ignore[misc]
            await APILogWorker.drain_all(timeout=DRAIN_SECONDS)  # type: ignore[misc]

    async def _work(self, client: PrefectClient, runs: Runs, executor: Executor, services: Services) -> None:
        age = OutboxAge(services.database, timedelta(minutes=services.settings.alerts.oldest_message_minutes))
        loops = (
            self._every(
                POLL_SECONDS, self._poll_now, "polling for runs", lambda: self._poll(client, runs, executor, services)
            ),
            self._every(HEARTBEAT_SECONDS, None, "sending a heartbeat", lambda: self._heartbeat(client)),
            self._every(INTERRUPT_SECONDS, None, "looking for cancelled runs", lambda: self._interrupt(runs, executor)),
            self._every(
                RECONCILE_SECONDS, self._nudged, "looking for cases", lambda: self._reconcile(runs, executor, services)
            ),
            self._every(LEFT_SECONDS, None, "looking for lost runs", lambda: self._put_right(runs, services)),
            self._every(0.0, None, "asking for a delivery", lambda: self._deliver(runs)),
            self._every(
                OUTBOX_SECONDS, None, "looking at the outbox", functools.partial(_look_at_outbox, age, services)
            ),
        )
        tasks = [asyncio.create_task(loop) for loop in loops]
        self._started.set()
        await self._stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await executor.put_back(STOP_SECONDS)

    async def _every(
        self, seconds: float, sooner: asyncio.Event | None, what: str, step: Callable[[], Awaitable[None]]
    ) -> None:
        """Repeat a step; a fault is told once, and the next round tries again."""
        problem = ""
        sooner = sooner or asyncio.Event()
        while True:
            sooner.clear()
            try:
                await step()
                problem = ""
            except TROUBLE as error:
                if tell(error) != problem:
                    problem = tell(error)
                    log.warning("%s failed, is tried again: %s", what, problem)
                await asyncio.sleep(1.0)
            with suppress(TimeoutError):
                await asyncio.wait_for(sooner.wait(), seconds)

    # -------------------------------------------------------------------------------------------------------- the steps
    async def _heartbeat(self, client: PrefectClient) -> None:
        await client.send_worker_heartbeat(WORK_POOL, self.name, HEARTBEAT_SECONDS)

    async def _poll(self, client: PrefectClient, runs: Runs, executor: Executor, services: Services) -> None:
        """Execute what is scheduled and for this machine to do, as far as there is room."""
        if not any(executor.has_room(kind) for kind in DEPLOYED):
            return
        soon = datetime.now(UTC) + timedelta(seconds=1)
        for found in await client.get_scheduled_flow_runs_for_work_pool(WORK_POOL, scheduled_before=soon):
            kind = runs.name_of(found.flow_run)
            if kind is not None and self._is_for_us(found.flow_run, kind, services):
                executor.start(found.flow_run, kind)

    def _is_for_us(self, run: FlowRun, kind: str, services: Services) -> bool:
        duties = services.duties
        if kind == POLL_STORE:  # one that does not exist is told of by whoever finds the run first
            store = run.parameters.get("store", "")
            return store not in services.stores or duties.holds(store_duty(store))
        if kind == WATCH_FOLDER:
            return duties.holds(FOLDER)
        if kind == DELIVER:
            return duties.holds(destination_duty(run.parameters.get("destination", "")))
        return self._analyses or kind != PROCESS_CASE

    async def _put_right(self, runs: Runs, services: Services) -> None:
        """Let go on what was executed by a machine that is gone."""
        if services.duties.holds(RUNS) and await runs.left_behind(services.duties.living):
            self._poll_now.set()

    async def _interrupt(self, runs: Runs, executor: Executor) -> None:
        """End runs that a person cancelled, and leave those that one suspended."""
        if not executor.ids:
            return
        for run in await runs.in_state(executor.ids, StateType.CANCELLING, StateType.PAUSED):
            await (executor.suspend if run.state_type is StateType.PAUSED else executor.cancel)(run.id)

    async def _deliver(self, runs: Runs) -> None:
        await runs.deliver(await self._to_deliver.get())
        self._poll_now.set()

    async def _reconcile(self, runs: Runs, executor: Executor, services: Services) -> None:
        """See to it that the folder is watched and every case that needs work has a run that can be executed."""
        for each in standing_of(services):
            if await keep_under_way(each, runs, executor, services):
                self._poll_now.set()
        if not services.duties.holds(RUNS):
            self._case_runs.clear()
            return
        await self._show_held(runs, services)
        cases = await asyncio.to_thread(_unfinished, services)
        keys = {(case.case_id, case.revision): case for case in cases}
        self._case_runs = {key: run_id for key, run_id in self._case_runs.items() if key in keys}
        known = {run_id: keys[key] for key, run_id in self._case_runs.items() if run_id not in executor.ids}
        for key, case in keys.items():
            if key not in self._case_runs and len(known) < MOST_WAITING:
                run = await runs.for_case(*key)
                self._case_runs[key] = run.id
                known[run.id] = case
                await asyncio.to_thread(_note_run, services, case, run.id)
        there = await runs.by_id(list(known)) if known else []
        for run in there:
            if run.id not in executor.ids:  # it may have been begun meanwhile
                await self._take_up(runs, run, known[run.id])
        gone = set(list(known)[:PAGE]) - {run.id for run in there}  # a person deleted them: their cases get new ones
        self._case_runs = {key: run_id for key, run_id in self._case_runs.items() if run_id not in gone}

    async def _show_held(self, runs: Runs, services: Services) -> None:
        """Give every case that is held a run that ends as such, so that people who look at Prefect only see it too."""
        held = {
            (case.case_id, case.revision, case.hold_reasons): case for case in await asyncio.to_thread(_held, services)
        }
        self._shown_held &= held.keys()
        for key in [key for key in held if key not in self._shown_held][:MOST_WAITING]:
            run = await runs.for_case(*key[:2])
            if run.state is not None and run.state.is_final() and not _says(run.state, key[2]):
                await runs.again(run.id, "the case is held")
            self._shown_held.add(key)
            await asyncio.to_thread(_note_run, services, held[key], run.id)
            self._poll_now.set()

    async def _take_up(self, runs: Runs, run: FlowRun, case: CaseView) -> None:
        """Look at the run of a case that waits and is not executed here.

        It may only have to be polled, may have ended without the case, or is said to be executed here and is not: its
        end could not be told while Prefect was away.
        """
        if run.state is None:
            return
        mine = run.infrastructure_pid == self.name
        settled = datetime.now(UTC) - run.state.timestamp > timedelta(seconds=SETTLE_SECONDS)
        if run.state.type is StateType.SCHEDULED:
            self._poll_now.set()
        elif run.state.is_final() and run.state.type is not StateType.CANCELLED:
            if settled or case.last_arrival_at > run.state.timestamp:
                await runs.again(run.id, "the case still waits")
                self._poll_now.set()
        elif run.state.is_running() and mine and settled:
            await runs.again(run.id, "nobody executed it")
            self._poll_now.set()


async def _look_at_outbox(age: OutboxAge, services: Services) -> None:
    if not services.duties.holds(RUNS):
        return
    for late in await asyncio.to_thread(age.look, datetime.now(UTC)):
        log.warning(
            "results wait too long",
            extra={"destination": late.destination, "waiting": late.waiting, "minutes": late.minutes},
        )
        tell_late(late)


def _unfinished(services: Services) -> tuple[CaseView, ...]:
    with services.database.reading() as work:
        return work.cases.unfinished(services.work.due)


def _held(services: Services) -> tuple[CaseView, ...]:
    with services.database.reading() as work:
        return work.cases.list([CaseState.HELD])


def _says(state: State[Any], reasons: tuple[HoldReason, ...]) -> bool:
    """Whether a run that ended shows already that its case is held, and why; or a person cancelled it."""
    told = state.message or ""
    return state.type is StateType.CANCELLED or all(reason.value in told for reason in reasons)


def _note_run(services: Services, case: CaseView, run_id: UUID) -> None:
    with services.database.transaction("worker") as work:
        work.cases.set_flow_run(case.case_id, str(run_id))
