"""Keeps the end of the audit chain outside the database: at the start, at intervals, and when the service stops.

Events themselves go outside, too, where a repository is set (`flows.audit_forwarder`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from db.anchors import AnchorFile
from db.context import Clock, utc_now
from db.errors import DatabaseError
from db.session import Database
from flows.audit_forwarder import AuditForwarder
from flows.log import tell
from flows.settings import Settings

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0


class AuditKeeper:
    """A thread that anchors the audit chain.

    Parameters
    ----------
    settings : Settings
    database : Database
    tells : callable
        Whether it is this machine that tells the audit repository.
    clock : callable
        Gives the time, aware.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        tells: Callable[[], bool] = lambda: True,
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._file = AnchorFile(Path(settings.audit.anchor_folder))
        self._seconds = settings.audit.anchor_seconds
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit keeper", daemon=True)
        self._forwarder = AuditForwarder(settings, database, tells)
        self.problem: str | None = None

    def start(self) -> None:
        """Begin; the first anchor is written at once."""
        self._thread.start()
        self._forwarder.start()

    def stop(self) -> None:
        """End, with a last anchor."""
        self._stopping.set()
        self._forwarder.stop()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        self._look()
        while not self._stopping.wait(self._seconds):
            self._look()
        self._look()

    def _look(self) -> None:
        try:
            problem = anchor(self._database, self._file, self._clock)
        except DatabaseError as error:
            problem = tell(error)
        if problem and problem != self.problem:
            log.error("%s", problem)
        self.problem = problem


def anchor(database: Database, file: AnchorFile, clock: Clock = utc_now) -> str | None:
    """Keep the head of the chain outside, and see whether the one that was kept last still stands in it.

    Returns
    -------
    str or None
        What is wrong: the chain is not the one that was kept. The new head is kept all the same; the old one stays.

    Raises
    ------
    DatabaseError
        The database or the file cannot be used.
    """
    kept = file.read().heads
    with database.reading() as work:
        head = work.audit.head()
        standing = work.audit.hash_of(kept[-1].sequence) if kept else None
    file.keep(head, clock())
    if kept and standing != kept[-1].hash:
        return f"event {kept[-1].sequence} of the audit log is not the one that was kept outside; see `sphero audit verify`"
    return None
