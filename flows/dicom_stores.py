"""The stores that are asked for images, as a part of the service: a thread each, so that none waits for another.

Runs of the flow `poll-store` take the threads' turns, so that people see in Prefect what is asked and what came. Where no run
comes, because Prefect is away, the thread asks by itself: images wait for nothing of Prefect.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from db.errors import DatabaseError
from db.session import Database
from flows.backoff import Backoff
from flows.dicom_accept import InstanceDesk
from flows.dicom_poll import Polled, StorePoller
from flows.dicom_settings import StoreSettings
from flows.dicom_wiring import make_store, make_wanted
from flows.duties import store_duty
from flows.errors import SettingsError, StoreStopped
from flows.log import tell
from flows.settings import Settings
from integrations.dicom.fetching import Store
from integrations.dicom.part10 import InstanceStore
from integrations.errors import IntegrationError, PeerUnavailable

log = logging.getLogger(__name__)

OWNER = "fetch"
STOP_SECONDS = 3.0
NOT_OURS_SECONDS = 1.0  # between two looks whether the thread of this machine is the one that asks by now
PATIENCE_SECONDS = 20.0  # so long a run may need to begin; Prefect may be away
BACKOFF = Backoff(first=5.0, longest=300.0)


class StoreLoop:
    """Asks one store again and again.

    Parameters
    ----------
    poller : StorePoller
    open_store : callable
        Makes the connection anew for each poll: certificates and passwords may have changed.
    poll_seconds : float
    fetched : callable
        Called when instances came.
    stopping : Event
    permitted : callable
        Whether this machine is the one that asks.
    """

    def __init__(
        self,
        poller: StorePoller,
        open_store: Callable[[], Store],
        *,
        poll_seconds: float,
        fetched: Callable[[], None],
        stopping: threading.Event,
        permitted: Callable[[], bool] = lambda: True,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = poller.name
        self.problem: str | None = "was not asked yet"
        self._poller = poller
        self._open = open_store
        self._poll_seconds = poll_seconds
        self._fetched = fetched
        self._stopping = stopping
        self._permitted = permitted
        self._jitter = jitter
        self._clock = clock
        self._failures = 0
        self._turn = threading.Lock()
        self._lent = threading.Lock()
        self._alone_from = clock() + PATIENCE_SECONDS
        self.thread = threading.Thread(target=self._run, name=f"store {self.name}", daemon=True)

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            wait = self.once()[1] if self.is_permitted and not self.is_left_to_run else NOT_OURS_SECONDS

    # ------------------------------------------------------------------------------------------------------------- runs
    @property
    def is_permitted(self) -> bool:
        """Whether this machine is the one that asks."""
        return self._permitted()

    @property
    def is_left_to_run(self) -> bool:
        """Whether a run asks, so that the thread need not."""
        return self._turn.locked() or self._clock() < self._alone_from

    def leave_to_run(self) -> None:
        """Say that a run asks the store, or that a person wants none; holds for some seconds."""
        self._alone_from = self._clock() + PATIENCE_SECONDS

    @contextmanager
    def lent(self) -> Iterator[bool]:
        """Lend the thread's turns to a run; False within where another run has them."""
        ours = self._lent.acquire(blocking=False)
        try:
            if ours:
                self.leave_to_run()
            yield ours
        finally:
            if ours:
                self._lent.release()

    # ------------------------------------------------------------------------------------------------------------ asking
    def once(self) -> tuple[Polled, float]:
        """Ask once; gives what was done, and the seconds until the next time."""
        done = Polled()
        with self._turn:  # the cursor has one owner
            return done, self._once(done)

    def _once(self, done: Polled) -> float:
        try:
            self._poll(done)
        except StoreStopped:
            return 0.0
        except (IntegrationError, DatabaseError, SettingsError) as error:
            return self._failed(error)
        except Exception as error:  # noqa: BLE001  # the edge of the job: the next poll begins anew
            return self._failed(error)
        if self.problem is not None:
            log.info("the store answers", extra={"store": self.name})
        self.problem, self._failures = None, 0
        if done.fetched or done.failed:
            log.info("fetched from the store: %d, failed: %d", done.fetched, done.failed, extra={"store": self.name})
        return self._poll_seconds * (0.9 + 0.2 * self._jitter())

    def _poll(self, done: Polled) -> None:
        try:
            with closing(self._open()) as store:
                self._poller.poll(store, done)
        finally:
            if done.fetched:
                self._fetched()

    def _failed(self, error: Exception) -> float:
        told = tell(error)
        if told != self.problem:
            log.warning("the store cannot be asked: %s", told, extra={"store": self.name})
        self.problem = told
        self._failures += 1
        asked = error.retry_seconds if isinstance(error, PeerUnavailable) else None
        return max(BACKOFF.seconds(self._failures, self._jitter()), min(asked or 0.0, BACKOFF.longest))


class Stores:
    """Every store of the settings.

    Parameters
    ----------
    settings : Settings
    database : Database
    store : Path
        Root of our own store of accepted files.
    fetched : callable
        Called when instances came; from any thread.
    holds : callable
        Whether this machine has a duty now.
    check_room : callable
        Raises `StoreFull` while nothing may be taken in.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        store: Path,
        fetched: Callable[[], None],
        holds: Callable[[str], bool] = lambda _duty: True,
        check_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._holds = holds
        self._stopping = threading.Event()
        self._files = InstanceStore(store, OWNER)
        desk = InstanceDesk(database, self._files, check_room=check_room)
        self._loops = [self._loop(settings, each, database, desk, fetched) for each in settings.dicom.store]

    def _loop(
        self,
        settings: Settings,
        store: StoreSettings,
        database: Database,
        desk: InstanceDesk,
        fetched: Callable[[], None],
    ) -> StoreLoop:
        poller = StorePoller(
            store.name,
            database=database,
            desk=desk,
            wanted=make_wanted(store),
            now=lambda: datetime.now(settings.time_zone),
            stopped=self._stopping.is_set,
        )
        return StoreLoop(
            poller,
            lambda: make_store(store, settings.dicom.receiver),
            poll_seconds=store.poll_seconds,
            fetched=fetched,
            stopping=self._stopping,
            permitted=lambda: self._holds(store_duty(store.name)),
        )

    @property
    def by_name(self) -> dict[str, StoreLoop]:
        """The loop of each store."""
        return {loop.name: loop for loop in self._loops}

    @property
    def problems(self) -> dict[str, str | None]:
        """What is wrong with each store; a store that is away does not make the service unready."""
        return {f"store {loop.name}": loop.problem for loop in self._loops}

    @property
    def ended(self) -> bool:
        """Whether a loop ended that should not have."""
        return any(loop.thread.ident is not None and not loop.thread.is_alive() for loop in self._loops)

    def start(self) -> None:
        """Remove what a killed process left half written, and begin to ask.

        Raises
        ------
        StoreError
        """
        if not self._loops:
            return
        self._files.prepare()
        for loop in self._loops:
            loop.thread.start()

    def stop(self) -> None:
        """End; a thread that waits for an answer is left behind."""
        self._stopping.set()
        for loop in self._loops:
            if loop.thread.is_alive():
                loop.thread.join(STOP_SECONDS)
