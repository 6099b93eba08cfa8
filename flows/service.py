"""The service of one machine: starts every part in its order, keeps it alive, ends it cleanly.

    lock on the data folder -> database, our tables put in order -> Prefect, model, HTTP -> worker (cases) -> courier

Nothing is accepted or sent before our tables are in order. Prefect, model and receiver are processes that end with this.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from flows.archive_wiring import Archives
from flows.audit_keeper import AuditKeeper
from flows.connections import listener_connections
from flows.courier import Courier
from flows.deliver import Sender
from flows.dicom_stores import Stores
from flows.disk import make_disk_guard
from flows.duties import AUDIT, Duties, duties_of
from flows.errors import PrefectUnavailable, ServiceError
from flows.http_server import HttpServer, make_app, make_http_server, report_pages
from flows.metrics import Machine, Metrics
from flows.model_process import ModelProcess
from flows.order_listener import OrderListener
from flows.pictures import Pictures
from flows.places import DataLock, places_of
from flows.ports import check_ports
from flows.prefect_environment import client_environment, server_environment
from flows.prefect_server import PrefectServer, answers
from flows.readiness import database_problem, folder_problem
from flows.receiver_process import ReceiverProcess
from flows.recover import recover
from flows.release import FINAL_WITHOUT_PERSON, ReleasePolicy
from flows.restarts import Restarts
from flows.roles import own_share
from flows.settings import Settings
from flows.wiring import (
    EngineChoice,
    chosen_engine,
    make_database,
    make_model,
    make_profiles,
    make_senders,
    make_services,
    make_staging,
)

if TYPE_CHECKING:
    import asyncio

    from flows.services import Services
    from flows.worker import Worker

log = logging.getLogger(__name__)

PREFECT_SECONDS = 180.0
POLL_SECONDS = 0.1
WATCH_SECONDS = 0.5
HEALTH_SECONDS = 10.0
MOST_SILENT = 6  # looks in a row at a server that lives and does not answer, before it is begun anew
KEPT_OUTPUT = 4 * 1024 * 1024

Step = Callable[[str], None]


class Service:
    """Everything that `sphero up` runs.

    Parameters
    ----------
    settings : Settings
    engine : EngineChoice or None
        What the model process loads; the bundle of the settings by default.
    clock : callable
        Monotonic seconds.

    Raises
    ------
    BundleError, ProfileError
    """

    def __init__(
        self, settings: Settings, *, engine: EngineChoice | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings = own_share(settings)
        self.places = places_of(settings)
        self.database = make_database(settings)
        self._engine = engine or chosen_engine(settings)
        self._profiles = make_profiles(settings)
        self._clock = clock
        self._lock = DataLock(settings.data)
        self._staging = make_staging(self.places)
        self._restarts = {"prefect": Restarts(), "worker": Restarts()}
        self._silent = 0
        self._asked_at = 0.0
        self._begun_at: float | None = None
        self._owner = ""
        self._senders: dict[str, Sender] = {}
        self._model: ModelProcess | None = None
        self._prefect: PrefectServer | None = None
        self._worker: Worker | None = None
        self._http: HttpServer | None = None
        self._courier: Courier | None = None
        self._duties = Duties(self.database, duties_of(settings), settings.host.lease_seconds, changed=self._nudge)
        self._orders = OrderListener(settings, self.database, self._nudge)
        self._archives = Archives(settings, self.places, self.database, self._duties)
        self._disk = make_disk_guard(settings, self.places)
        self._stores = Stores(
            settings, self.database, self.places.store, self._nudge, self._duties.holds, self._disk.check
        )
        self._receiver = ReceiverProcess(settings, self.places)
        self._keeper = AuditKeeper(settings, self.database, self._duties.may(AUDIT))

    # ------------------------------------------------------------------------------------------------------------ start
    def start(self, step: Step = lambda _: None, stop: threading.Event | None = None) -> None:
        """Start everything; on return the service is ready, or `stop` was set meanwhile.

        Parameters
        ----------
        step : callable
            Told what is being waited for.
        stop : Event or None
            Ends the waiting.

        Raises
        ------
        ServiceError, PrefectUnavailable, ModelUnavailable, DatabaseError, IntegrationError
            What was started is stopped again.
        """
        try:
            self._start(step, stop or threading.Event())
        except BaseException:
            self.stop()
            raise

    def _start(self, step: Step, stop: threading.Event) -> None:
        self.places.make()
        self._lock.acquire()
        check_ports(self.settings)
        self._owner = f"{(name := self.places.worker_name())}/"
        if ReleasePolicy(self.settings.site.release_policy) is ReleasePolicy.FINAL:
            log.warning(FINAL_WITHOUT_PERSON)
        step("database")
        self.database.upgrade()
        shared = self.settings.paths.shared is not None
        recover(self.database, self._staging, self._owner, self.places.store, shared=shared)
        self._duties.start(name, self.places.store_id(), self.places.sees)
        self._orders.start()
        self._archives.start()
        self._keeper.start()
        self._senders = make_senders(self.settings, self.database, f"{name}/sender", self._profiles, self._duties)
        for output in self.places.logs.glob("*.log"):
            if output.stat().st_size > KEPT_OUTPUT:
                output.replace(output.with_suffix(".log.old"))
        model = self._model = make_model(self._engine, self.places, (self._lock.descriptor,))
        model.start()
        self._start_prefect()
        self._receiver.start((self._lock.descriptor,))
        self.pictures = Pictures(
            database=self.database,
            model=model,
            store=self.places.store,
            folder=self.places.pictures,
            pixel_aspect=self.settings.folder.pixel_aspect,
        )
        machine = Machine(self.readiness, self._restart_counts, functools.partial(listener_connections, self.settings))
        metrics = Metrics(self.database, self._disk, machine, self.settings.watch)
        app = make_app(self.pictures, self.readiness, lambda: self._stores.problems, metrics.scrape)
        self._http = make_http_server(app, self.settings.http, report_pages(self.settings, self.places, self.database))
        self._http.start()
        step("Prefect server")
        os.environ.update(client_environment(self.settings))  # before Prefect is imported for the first time
        import flows.worker  # here, while the server starts

        self._wait_for_prefect(stop)
        if stop.is_set():
            return
        worker = self._start_worker(model, flows.worker.Worker)
        for name, part in (("worker", worker), ("model", model), ("DICOM receiver", self._receiver)):
            step(name)
            while not stop.is_set() and not part.is_ready_or_fails(POLL_SECONDS):
                pass
        self._courier = Courier(self._senders.values(), self._deliver)
        self._courier.start()
        self._stores.start()

    def ready_line(self) -> str:
        """The line that says where everything listens."""
        return (
            f"ready: Prefect {self.settings.prefect_ui_url}, health and pictures {self.settings.http_url}, "
            f"incoming folder {self.places.incoming}"
            + (f", orders {self._orders.address}" if self._orders.enabled else "")
            + (f", DICOM {self._receiver.address}" if self._receiver.enabled else "")
        )

    def _nudge(self) -> None:
        if self._worker is not None:
            self._worker.nudge()

    def _start_prefect(self) -> None:
        if not self.settings.embedded_prefect:
            return
        self._prefect = PrefectServer(
            self.settings.prefect.port,
            server_environment(self.settings),
            output=self.places.logs / "prefect.log",
            inherit=(self._lock.descriptor,),
        )
        self._prefect.start()

    def _wait_for_prefect(self, stop: threading.Event) -> None:
        end = self._clock() + PREFECT_SECONDS
        while not stop.is_set() and not answers(self.settings.prefect_api_url):
            if self._prefect is not None and self._prefect.pid is None:
                raise ServiceError(f"the Prefect server ended; see {self.places.logs / 'prefect.log'}")
            if self._clock() >= end:
                raise PrefectUnavailable(
                    f"Prefect does not answer at {self.settings.prefect_api_url}; see [prefect] api_url and port"
                )
            stop.wait(POLL_SECONDS)

    def _start_worker(self, model: ModelProcess, kind: type[Worker]) -> Worker:
        def services(stopping: asyncio.Event, nudge: Callable[[], None]) -> Services:
            return make_services(
                self.settings,
                self.places,
                database=self.database,
                staging=self._staging,
                model=model,
                senders=self._senders,
                stores=self._stores.by_name,
                profiles=self._profiles,
                pictures=self.pictures,
                disk=self._disk,
                owner=self._owner + "worker",
                duties=self._duties,
                stopping=stopping,
                nudge=nudge,
            )

        self._worker = kind(self.places.worker_name(), services, analyses=self.settings.host.analyses)
        self._worker.start()
        return self._worker

    def _deliver(self, destination: str) -> None:
        if self._worker is not None:
            self._worker.deliver(destination)

    # ------------------------------------------------------------------------------------------------------------ watch
    def watch(self, stop: threading.Event) -> None:
        """Keep every part alive until `stop` is set.

        Raises
        ------
        ServiceError
            A part ended that cannot be begun anew here.
        """
        while not stop.wait(WATCH_SECONDS):
            self._watch_prefect()
            self._watch_worker()
            if self._http is not None and not self._http.alive:
                raise ServiceError("the HTTP server ended; start the service anew")
            if self._orders.problem:
                raise ServiceError("the listener for orders ended; start the service anew")
            if self._stores.ended:
                raise ServiceError("the poll of a store ended; start the service anew")

    def _watch_prefect(self) -> None:
        server, restarts, now = self._prefect, self._restarts["prefect"], self._clock()
        if server is None:
            return
        if server.pid is not None and now - self._asked_at >= HEALTH_SECONDS:
            self._asked_at = now
            if server.answers:
                self._silent, self._begun_at, restarts.failures = 0, None, 0
            elif self._begun_at is None or now - self._begun_at > PREFECT_SECONDS:
                self._silent += 1
        if server.pid is not None and self._silent < MOST_SILENT:
            return
        if now >= restarts.not_before:
            log.warning("the Prefect server %s; it is begun anew", "ended" if server.pid is None else "does not answer")
            restarts.failed(now)
            self._silent, self._begun_at = 0, now  # a busy machine takes its time to begin it
            server.stop()
            server.start()

    def _watch_worker(self) -> None:
        worker, restarts, now = self._worker, self._restarts["worker"], self._clock()
        if worker is None or self._model is None or worker.alive or now < restarts.not_before:
            return
        restarts.failed(now)
        if answers(self.settings.prefect_api_url):
            log.warning("the worker ended; it is begun anew")
            self._start_worker(self._model, type(worker))

    def readiness(self) -> dict[str, str | None]:
        """Each part with what is wrong with it."""
        worker, model = self._worker, self._model
        parts = {
            "database": database_problem(self.database),
            "prefect": None if answers(self.settings.prefect_api_url) else "does not answer",
            "worker": None if worker is not None and worker.ready else "not ready",
            "model": None if model is not None and model.ready else (model and model.problem) or "is being loaded",
        }
        parts["disk"] = self._disk.problem
        if self.settings.folder.enabled:
            parts["folder"] = folder_problem(self.places.incoming)
        if self._orders.enabled:
            parts["orders"] = self._orders.problem
        if self._receiver.enabled:
            parts["dicom receiver"] = self._receiver.problem
        return parts

    def _restart_counts(self) -> dict[str, int]:
        counts = {part: restarts.count for part, restarts in self._restarts.items()}
        if self._model is not None:
            counts["model"] = max(0, self._model.starts - 1)
        if self._receiver.enabled:
            counts["dicom receiver"] = max(0, self._receiver.starts - 1)
        return counts

    # ------------------------------------------------------------------------------------------------------------- stop
    def stop(self) -> None:
        """End everything, also what was only half started."""
        self._receiver.stop()
        self._orders.stop()
        self._stores.stop()
        self._archives.stop()
        for sender in self._senders.values():
            sender.stop()
        if self._courier is not None:
            self._courier.stop(0.5)
        if self._worker is not None:
            self._worker.stop()
        self._duties.stop()
        if self._model is not None:
            self._model.stop()
        if self._http is not None:
            self._http.stop()
        if self._prefect is not None:
            self._prefect.stop()
        self._keeper.stop()
        self.database.close()
        self._lock.release()
