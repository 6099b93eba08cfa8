"""What only one machine does at a time, and whether it is this one.

Every machine gives a sign of life to our database now and then, and with it takes or keeps the duties that its settings
allow. One that gives none for `lease_seconds` has lost its duties to whoever asks next. It knows so itself without asking:
by its own clock it stops a little before its leases end, also while it is cut off from everything.

What a machine held that died without a word is put in order by the others: its cases are free again at once. Should it live
and come back, it cannot record anything of them: each commit asks for the case's lease (`db.cases.Cases.require_lease`).
Messages in its hands wait until their own leases end, since it may still be talking to the receiver.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from db.errors import DatabaseError
from db.session import Database
from flows.errors import ServiceError
from flows.log import tell
from flows.settings import Settings

log = logging.getLogger(__name__)

ACTOR = "service"
FOLDER = "folder"
"""Watching the incoming folder, assembling instances, completing cases."""
RUNS = "runs"
"""Seeing to it that every case has a run in Prefect, and that no run shows as running whose machine is gone."""
AUDIT = "audit"
"""Telling the audit repository of events."""

BEATS = 5  # signs of life in the time of a lease
STOP_SECONDS = 2.0
MARGIN = 0.8  # of a lease: so long a machine trusts it


def store_duty(name: str) -> str:
    """The duty of asking a DICOM store."""
    return f"store {name}"


def destination_duty(name: str) -> str:
    """The duty of delivering to a destination."""
    return f"destination {name}"


def duties_of(settings: Settings) -> frozenset[str]:
    """What a machine with these settings may do."""
    duties = {RUNS, *(store_duty(store.name) for store in settings.dicom.store)}
    if settings.images_come:
        duties.add(FOLDER)
    if settings.audit.syslog.enabled:
        duties.add(AUDIT)
    if settings.host.delivers:
        duties |= {destination_duty(each.name) for each in settings.hl7.destination}
        duties |= {destination_duty(each.name) for each in settings.dicom.archive}
    return frozenset(duties)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the last sign of life came to; replaced as a whole, so that any thread may look at it."""

    held: frozenset[str] = frozenset()
    until: float = float("-inf")
    living: frozenset[str] = frozenset()


class Duties:
    """The duties of this machine; for any number of threads.

    Parameters
    ----------
    database : Database
    wanted : collection of str
        What it may do.
    lease_seconds : float
        After which another machine takes over from a silent one.
    changed : callable
        Called when this machine got or lost a duty; from a thread of its own.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        wanted: Collection[str],
        lease_seconds: float,
        *,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._host = self._store_id = ""
        self._sees_store: Callable[[str], bool] = lambda _: True
        self._wanted = frozenset(wanted)
        self._lease_seconds = lease_seconds
        self._changed = changed
        self._clock = clock
        self._standing = _Standing()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="duties", daemon=True)

    def start(self, host: str, store_id: str, sees_store: Callable[[str], bool] = lambda _: True) -> None:
        """Take what is free, and give signs of life from now on.

        Parameters
        ----------
        host : str
            Name of this machine, the same after every restart.
        store_id : str
            Of the store that it sees.
        sees_store : callable
            ``(store_id) -> bool``: whether it still does; a machine that does not has no duties.

        Raises
        ------
        DatabaseError
        ServiceError
            Another machine sees another store.
        """
        self._host, self._store_id, self._sees_store = host, store_id, sees_store
        self._require_one_store()
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """Give everything back, so that another machine takes over at once."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join(STOP_SECONDS)
        reachable = self._clock() < self._standing.until
        self._standing = _Standing()
        if not reachable:
            return  # what is left of our leases ends by itself
        try:
            with self._database.transaction(ACTOR) as work:
                work.hosts.sign_off(self._host)
        except DatabaseError as error:
            log.warning("duties were not given back and will run out: %s", tell(error))

    def holds(self, duty: str) -> bool:
        """Whether this machine has a duty now."""
        standing = self._standing
        return duty in standing.held and self._clock() < standing.until

    def may(self, duty: str) -> Callable[[], bool]:
        """`holds` for one duty, to be handed on."""
        return lambda: self.holds(duty)

    @property
    def living(self) -> frozenset[str]:
        """Names of the machines that lived at the last sign of life, this one included."""
        return self._standing.living

    def beat(self) -> None:
        """Give a sign of life, keep or take duties, and put in order what lapsed machines left.

        Raises
        ------
        DatabaseError
        """
        begun, sees = self._clock(), self._sees_store(self._store_id)
        with self._database.transaction(ACTOR) as work:
            work.hosts.beat(self._host, self._store_id, self._lease_seconds)
            held = work.hosts.take(self._wanted if sees else (), self._host, self._lease_seconds)
            hosts = work.hosts.list()
        before = self._standing
        living = frozenset(host.host for host in hosts if host.living)
        self._standing = _Standing(held, begun + MARGIN * self._lease_seconds, living)
        for duty in sorted(held ^ before.held):
            log.info("duty %s: %s", "taken" if duty in held else "left to another machine", duty)
        for host in hosts:
            if host.lapsed and host.host != self._host:  # our own word may have been long on its way
                self._settle(host.host)
        if held != before.held:
            self._changed()

    def _settle(self, host: str) -> None:
        with self._database.transaction(ACTOR) as work:
            if not work.hosts.settle(host):
                return
            cases = work.cases.release_leases(f"{host}/")
            work.audit.append("host lost", host=host, cases_released=cases)
        log.warning("the machine %s gave no sign of life; %d cases of it are free again", host, cases)

    def _require_one_store(self) -> None:
        with self._database.reading() as work:
            others = [host.host for host in work.hosts.list() if host.store_id != self._store_id]
            ids = {host.store_id for host in work.hosts.list()} - {self._store_id}
        if others:
            raise ServiceError(
                f"this machine sees another store of images than {', '.join(others)} did: mount the same folder at [paths] "
                f"shared on all; where the former store is lost for good, write {min(ids)} into its file `store-id`"
            )

    def _run(self) -> None:
        problem = ""
        while not self._stopping.wait(self._lease_seconds / BEATS):
            try:
                self.beat()
                problem = ""
            except DatabaseError as error:
                if tell(error) != problem:
                    problem = tell(error)
                    log.warning("no sign of life could be given; duties will run out: %s", problem)
