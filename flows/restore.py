"""The way back from a backup into an empty place, checked at every step; and the same as a drill that leaves nothing.

    hashes of the backup -> files -> database -> rows, audit chain, a file for every row -> precautions

It may be run again after an interruption before the database came back: files that are there and right stay.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from db.anchors import AnchorFile
from db.context import Clock, utc_now
from db.scratch import scratch_database
from db.session import Database
from db.upgrade import SchemaState
from flows.backup import POOL, Manifest, copy_durably, damaged_parts, pool_place, read_manifest, sha256_of
from flows.errors import BackupRefused
from flows.places import Places

ACTOR = "restore"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was done or checked."""

    what: str
    found: str
    well: bool
    seconds: float


class Restore:
    """One way back.

    Parameters
    ----------
    folder : Path
        Of the backup.
    database : Database
        Empty, as a role that may make tables.
    places : Places
        Of an empty data folder.
    """

    def __init__(self, folder: Path, database: Database, places: Places) -> None:
        self._folder = folder
        self._database = database
        self._places = places
        self.manifest: Manifest = read_manifest(folder)

    def run(self) -> Iterator[Line]:
        """Restore and check, line by line; ends with the first that is not well.

        Raises
        ------
        BackupRefused, DatabaseError
        """
        if self._database.check().state is not SchemaState.MISSING:
            raise BackupRefused("the database is not empty; a backup is restored into an empty place only")
        for what, step in (
            ("hashes of the backup", self._hashes),
            ("files", self._files),
            ("database", self._load),
            ("rows", self._rows),
            ("audit chain", self._audit),
            ("a file for every row", self._files_of_rows),
        ):
            line = _timed(what, step)
            yield line
            if not line.well:
                return

    def take_precautions(self, anchors: AnchorFile, actor: str = ACTOR, clock: Clock = utc_now) -> Line:
        """Let nothing leave by itself, and let the anchors know which events are lost; see `db.restoration`."""

        def step() -> tuple[bool, str]:
            with self._database.transaction(actor) as work:
                done = work.restoration.stop_everything(taken_at=self.manifest.time, head=self.manifest.head)
            anchors.restored(self.manifest.head, clock())
            return True, f"{done.messages} messages parked, {done.cases} cases held"

        return _timed("precautions", step)

    def _hashes(self) -> tuple[bool, str]:
        damaged = list(damaged_parts(self._folder, self.manifest))
        if damaged:
            return False, f"{len(damaged)} parts are damaged or missing, such as {damaged[0]}; take another backup"
        return True, f"{1 + len(self.manifest.files)} parts are as they were"

    def _files(self) -> tuple[bool, str]:
        size = 0
        for part in self.manifest.files:
            target = self._places.shared / part.path
            if not target.resolve().is_relative_to(self._places.shared.resolve()):
                raise BackupRefused("the manifest names a file outside the data folder; it is none of ours")
            if target.exists() and sha256_of(target) != part.sha256:
                raise BackupRefused(f"{part.path} is there already with other bytes; restore into an empty data folder")
            if not target.exists():
                copy_durably(pool_place(self._folder.parent / POOL, part.sha256), target)
            size += part.size
        return True, f"{len(self.manifest.files)} files, {size / 2**20:.1f} MiB"

    def _load(self) -> tuple[bool, str]:
        self._database.load(self._folder / self.manifest.database.path)
        found = self._database.measure()
        if found.head != self.manifest.head or found.revision != self.manifest.revision:
            return False, f"revision {found.revision}, event {found.head.sequence}: not what was taken"
        self._counted = found.rows
        self._database.upgrade()
        now = self._database.check().found
        return True, f"{self.manifest.kind}, revision {found.revision}" + (
            f" -> {now}" if now != found.revision else ""
        )

    def _rows(self) -> tuple[bool, str]:
        wrong = [table for table, count in self.manifest.rows.items() if self._counted.get(table) != count]
        total = sum(self.manifest.rows.values())
        return not wrong, f"{', '.join(wrong)} differ" if wrong else f"{total} in {len(self.manifest.rows)} tables"

    def _audit(self) -> tuple[bool, str]:
        with self._database.reading() as work:
            verdict = work.audit.verify([self.manifest.head])
        return verdict.intact, verdict.problems[0] if verdict.problems else f"{verdict.events} events, whole"

    def _files_of_rows(self) -> tuple[bool, str]:
        there = {part.sha256 for part in self.manifest.files}
        with self._database.reading() as work:
            wanted = work.restoration.contents_of_rows()
        missing = [sha256 for sha256 in wanted if sha256 not in there]
        if missing:
            return False, f"{len(missing)} of {len(wanted)} originals are missing, such as {missing[0][:12]}"
        return True, f"{len(wanted)} originals"


def drill(folder: Path, owner_url: str) -> Iterator[Line]:
    """Restore a backup into an empty place, check everything, and remove the place.

    Parameters
    ----------
    owner_url : str
        Of a database on the same kind of server; on PostgreSQL of a role that may make databases. It is not touched.

    Raises
    ------
    BackupRefused, DatabaseError
    """
    with tempfile.TemporaryDirectory(prefix="sphero-drill-") as place:
        data = Path(place) / "data"
        with scratch_database(owner_url, Path(place)) as url, Database(url) as database:
            yield from Restore(folder, database, Places(data, data / "incoming", data)).run()


def _timed(what: str, step: Callable[[], tuple[bool, str]]) -> Line:
    begun = time.monotonic()
    well, found = step()
    return Line(what, found, well, time.monotonic() - begun)
