"""The worker: executes runs of our deployments in this process, and sees to it that every case has one.

A small loop over Prefect's public API instead of a worker class of Prefect's; why is told in
`deploy/decisions/0002-prefect-execution.md`. Flows are `async` and share one event loop in a thread; what blocks goes to
other threads, and the network lives in another process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import FlowRun
from prefect.client.schemas.objects import StateType
from prefect.context import AsyncClientContext
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from db.views import CaseView
from flows.deployments import DELIVER, DEPLOYED, PROCESS_CASE, WATCH_FOLDER, WORK_POOL, apply_deployments
from flows.duties import FOLDER, RUNS, Duties, destination_duty
from flows.errors import PrefectUnavailable
from flows.executor import TROUBLE, Executor
from flows.log import tell
from flows.runs import Runs
from flows.services import Services, using

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
CANCEL_SECONDS = 2.0
HEARTBEAT_SECONDS = 30.0
RECONCILE_SECONDS = 5.0
LEFT_SECONDS = 15.0
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
            runs = Runs(client, await apply_deployments(client), self.name)
            await self._heartbeat(client)
            for run_id in await runs.put_right():
                log.info("a run goes on where it was", extra={"run": str(run_id)})
            executor = Executor(client, runs)
            with using(services):
                await self._work(client, runs, executor, services)
            await EventsWorker.drain_all(timeout=DRAIN_SECONDS)  # type: ignore[misc]
            await APILogWorker.drain_all(timeout=DRAIN_SECONDS)  # type: ignore[misc]

    async def _work(self, client: PrefectClient, runs: Runs, executor: Executor, services: Services) -> None:
        loops = (
            self._every(
                POLL_SECONDS, self._poll_now, "polling for runs", lambda: self._poll(client, runs, executor, services)
            ),
            self._every(HEARTBEAT_SECONDS, None, "sending a heartbeat", lambda: self._heartbeat(client)),
            self._every(CANCEL_SECONDS, None, "looking for cancelled runs", lambda: self._cancel(runs, executor)),
            self._every(
                RECONCILE_SECONDS, self._nudged, "looking for cases", lambda: self._reconcile(runs, executor, services)
            ),
            self._every(LEFT_SECONDS, None, "looking for lost runs", lambda: self._put_right(runs, services)),
            self._every(0.0, None, "asking for a delivery", lambda: self._deliver(runs)),
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
            if kind is not None and self._is_for_us(found.flow_run, kind, services.duties):
                executor.start(found.flow_run, kind)

    def _is_for_us(self, run: FlowRun, kind: str, duties: Duties) -> bool:
        if kind == WATCH_FOLDER:
            return duties.holds(FOLDER)
        if kind == DELIVER:
            return duties.holds(destination_duty(run.parameters.get("destination", "")))
        return self._analyses or kind != PROCESS_CASE

    async def _put_right(self, runs: Runs, services: Services) -> None:
        """Let go on what was executed by a machine that is gone."""
        if services.duties.holds(RUNS) and await runs.left_behind(services.duties.living):
            self._poll_now.set()

    async def _cancel(self, runs: Runs, executor: Executor) -> None:
        if executor.ids:
            for run_id in await runs.cancelling(executor.ids):
                await executor.cancel(run_id)

    async def _deliver(self, runs: Runs) -> None:
        await runs.deliver(await self._to_deliver.get())
        self._poll_now.set()

    async def _reconcile(self, runs: Runs, executor: Executor, services: Services) -> None:
        """See to it that the folder is watched and every case that needs work has a run that can be executed."""
        watches = services.duties.holds(FOLDER) and not executor.is_executing(WATCH_FOLDER)
        if watches and await runs.watch() is not None:
            self._poll_now.set()
        if not services.duties.holds(RUNS):
            self._case_runs.clear()
            return
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
        for run in await runs.by_id(list(known)) if known else []:
            await self._take_up(runs, run, known[run.id])

    async def _take_up(self, runs: Runs, run: FlowRun, case: CaseView) -> None:
        """Look at the run of a case that waits: it may only have to be polled, or may have ended without the case."""
        if run.state is None:
            return
        if run.state.type is StateType.SCHEDULED:
            self._poll_now.set()
        elif run.state.is_final() and run.state.type is not StateType.CANCELLED:
            ended = run.state.timestamp
            settled = datetime.now(UTC) - ended > timedelta(seconds=SETTLE_SECONDS)
            if settled or case.last_arrival_at > ended:
                await runs.again(run.id, "the case still waits")
                self._poll_now.set()


def _unfinished(services: Services) -> tuple[CaseView, ...]:
    with services.database.reading() as work:
        return work.cases.unfinished(services.work.due)


def _note_run(services: Services, case: CaseView, run_id: UUID) -> None:
    with services.database.transaction("worker") as work:
        work.cases.set_flow_run(case.case_id, str(run_id))
