"""Room on the disks: below the watermark nothing more is taken in, so that what was accepted can be finished.

A disk that runs full would stop the database in the middle of its work; so intake ends while there is still room for results,
messages and audit. The folder's files stay where they are, DICOM senders are told to try again, stores are asked again later.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from db.session import sqlite_file
from flows.places import Places, places_of
from flows.settings import Settings
from flows.watch_settings import MIB
from integrations.errors import StoreFull

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
RESUME_AT = 1.1
"""Intake goes on when there is so much more room than the watermark: else it would stop and go on with every file."""


class DiskGuard:
    """Says whether there is room to take something in; for any number of threads.

    Parameters
    ----------
    folders : mapping of str to Path
        By the name under which people know them; one that is not there is not looked at.
    stop_bytes : int
        The watermark; 0 for none.
    free_bytes : callable
        Free bytes of a folder's disk.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        stop_bytes: int,
        *,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stop_bytes = stop_bytes
        self._folders = dict(folders)
        self._free_bytes = free_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._problem: str | None = None

    def free(self) -> dict[str, int]:
        """Free bytes by folder."""
        found = {}
        for name, folder in self._folders.items():
            with suppress(OSError):
                found[name] = self._free_bytes(folder)
        return found

    @property
    def problem(self) -> str | None:
        """Why nothing is taken in, in words; None while there is room."""
        with self._lock:
            if self._clock() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = self._clock()
                self._look()
            return self._problem

    def check(self) -> None:
        """Return where there is room.

        Raises
        ------
        StoreFull
        """
        if problem := self.problem:
            raise StoreFull(problem)

    def _look(self) -> None:
        needed = self.stop_bytes * (RESUME_AT if self._problem else 1.0)
        short = {name: free for name, free in self.free().items() if free < needed}
        if not short:
            if self._problem is not None:
                log.info("there is room on the disk again: intake goes on")
            self._problem = None
            return
        if self._problem is None:
            self._problem = (
                f"nothing is taken in: less than {self.stop_bytes // MIB} MiB are free for: {', '.join(sorted(short))}; "
                "free some or move it to a larger disk, see [disk] stop_below_mib"
            )
            log.warning("%s", self._problem)


def watched_folders(settings: Settings, places: Places) -> dict[str, Path]:
    """Every folder that we write to, by the name under which people know it."""
    folders = places.ours
    if (file := sqlite_file(settings.database.url)) is not None:
        folders["database"] = file.parent
    return folders


def make_disk_guard(settings: Settings, places: Places) -> DiskGuard:
    """The guard of a service's folders."""
    return DiskGuard(watched_folders(settings, places), settings.disk.stop_bytes)


def free_space(settings: Settings) -> dict[str, int]:
    """Free bytes for every folder that we write to; for one that is not there yet, of where it will be."""
    folders = watched_folders(settings, places_of(settings))
    there = {
        name: next(each for each in (folder, *folder.parents) if each.exists()) for name, folder in folders.items()
    }
    return {name: shutil.disk_usage(folder).free for name, folder in there.items()}
