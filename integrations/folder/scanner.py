"""The periodic look into the incoming folder.

By looking again and again, not by inotify: that is blind to what other machines write on a network share.

What counts
-----------
* ``incoming/<case>/...``: every regular file in a case's folder, at any depth down to 16, belongs to that case; scanners
  like to make a folder per slide or region.
* ``incoming/<case>/case.json`` is the manifest of the case. Deeper, a file of that name is no manifest.
* A file directly in ``incoming`` belongs to no case; it is told apart (`Scan.misplaced`).
* A file is ready when its size and time have not changed for `stable_seconds`. A restart begins the wait anew.

What does not
-------------
* names that begin with a dot or ``~$``, and folders with such names (``.done`` is ours);
* names that end, in any case of letters, in one of ``.tmp .temp .part .partial .crdownload .download .filepart .lock ~``;
* ``Thumbs.db``, ``ehthumbs.db``, ``desktop.ini``;
* symbolic links, FIFOs, sockets and devices.

While such a temporary file still changes, somebody is copying: the case has not settled. One that has stopped changing
is a leftover and holds up nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from integrations.errors import FolderUnavailable
from integrations.folder.memory import Memory, NoMemory
from integrations.folder.source import SeenFile

MANIFEST_NAME = "case.json"
MISPLACED = (
    "The file lies directly in the incoming folder, so that its case is not known: "
    "put it into a folder named by the accession number."
)

_TEMPORARY_STARTS = (".", "~$")
_TEMPORARY_ENDS = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".lock", "~")
_TEMPORARY_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class CaseFolder:
    """One folder of the incoming folder.

    Attributes
    ----------
    name : str
        Personal data (the accession number, unless `case.json` gives another); `repr` leaves it out.
    ready : tuple of SeenFile
        Files to take now, in the order of their paths.
    waiting : int
        Files that still change; the case must not be completed while there are any.
    manifest : SeenFile or None
        `case.json`, once it has stopped changing.
    """

    name: str = field(repr=False)
    ready: tuple[SeenFile, ...]
    waiting: int
    manifest: SeenFile | None


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look found, in the order of names.

    Attributes
    ----------
    cases : tuple of CaseFolder
        Those with something ready, waiting, or a manifest.
    misplaced : tuple of SeenFile
        Ready files that belong to no case; quarantine them as `MISPLACED`.
    unreadable : int
        Folders that could not be listed, or lie too deep: a person must look.
    """

    cases: tuple[CaseFolder, ...]
    misplaced: tuple[SeenFile, ...]
    unreadable: int

    def settled(self, name: str) -> bool:
        """Whether nothing in the case's folder is to be taken or still changes."""
        return all(not case.waiting and not case.ready for case in self.cases if case.name == name)


class NoScanner:
    """Stands for a folder that is not watched: nothing is ever there."""

    def scan(self) -> Scan:
        """Find nothing."""
        return Scan((), (), 0)


class Scanner:
    """Looks into the incoming folder and remembers between two looks what has changed.

    Parameters
    ----------
    incoming : Path
    stable_seconds : float
        A file unchanged for so long is ready; 0 takes it at first sight.
    clock : callable
        Monotonic seconds.
    memory : Memory
        Files known there are left out.
    """

    def __init__(
        self, incoming: Path, *, stable_seconds: float, clock: Callable[[], float], memory: Memory | None = None
    ) -> None:
        self._incoming = incoming
        self._stable_seconds = stable_seconds
        self._clock = clock
        self._memory = memory if memory is not None else NoMemory()
        self._since: dict[tuple[str, ...], tuple[int, int, float]] = {}

    def scan(self) -> Scan:
        """Look once; opens no file.

        Raises
        ------
        FolderUnavailable
            The incoming folder itself is missing or cannot be listed.
        """
        look = _Look(self._incoming, self._clock(), self._since)
        files = sorted(look.files(), key=lambda file: [os.fsencode(part) for part in file.parts])
        self._since = look.since
        cases: dict[str, _Pile] = {}
        misplaced: list[SeenFile] = []
        for file in files:
            stable = look.unchanged_for(file) >= self._stable_seconds
            if len(file.parts) == 1:
                if stable and not is_temporary(file.parts[0]) and not self._memory.knows(file):
                    misplaced.append(file)
            elif not stable:
                cases.setdefault(file.parts[0], _Pile()).waiting += 1
            elif not is_temporary(file.parts[-1]) and not self._memory.knows(file):
                cases.setdefault(file.parts[0], _Pile()).add(file)
        return Scan(tuple(pile.closed(name) for name, pile in cases.items()), tuple(misplaced), look.unreadable)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is never taken; see the module's list."""
    folded = name.casefold()
    return folded.startswith(_TEMPORARY_STARTS) or folded.endswith(_TEMPORARY_ENDS) or folded in _TEMPORARY_NAMES


@dataclass(slots=True)
class _Pile:
    ready: list[SeenFile] = field(default_factory=list)
    waiting: int = 0
    manifest: SeenFile | None = None

    def add(self, file: SeenFile) -> None:
        if len(file.parts) == 2 and self.manifest is None and file.parts[1].casefold() == MANIFEST_NAME:
            self.manifest = file
        else:
            self.ready.append(file)

    def closed(self, name: str) -> CaseFolder:
        return CaseFolder(name, tuple(self.ready), self.waiting, self.manifest)


class _Look:
    """One walk; carries over for each file since when it has not changed."""

    def __init__(self, incoming: Path, now: float, before: dict[tuple[str, ...], tuple[int, int, float]]) -> None:
        self._incoming = incoming
        self._now = now
        self._before = before
        self.since: dict[tuple[str, ...], tuple[int, int, float]] = {}
        self.unreadable = 0

    def files(self) -> Iterator[SeenFile]:
        try:
            entries = list(os.scandir(self._incoming))
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise FolderUnavailable(
                f"The incoming folder cannot be listed ({reason}): check that it exists, that the share is mounted and "
                "that the service's user may read it."
            ) from None
        yield from self._walk((), entries)

    def unchanged_for(self, file: SeenFile) -> float:
        return self._now - self.since[file.parts][2]

    def _walk(self, parts: tuple[str, ...], entries: list[os.DirEntry[str]]) -> Iterator[SeenFile]:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(_TEMPORARY_STARTS):
                        yield from self._walk((*parts, entry.name), self._list(entry, len(parts) + 1))
                elif entry.is_file(follow_symlinks=False):
                    seen = self._seen((*parts, entry.name), entry.stat(follow_symlinks=False))
                    if seen is not None:
                        yield seen
            except FileNotFoundError:
                continue  # moved or deleted while we looked
            except OSError:
                self.unreadable += 1

    def _list(self, folder: os.DirEntry[str], depth: int) -> list[os.DirEntry[str]]:
        if depth > _MAX_DEPTH:
            self.unreadable += 1
            return []
        with os.scandir(folder.path) as entries:
            return list(entries)

    def _seen(self, parts: tuple[str, ...], state: os.stat_result) -> SeenFile | None:
        if not stat.S_ISREG(state.st_mode):
            return None
        before = self._before.get(parts)
        unchanged = before is not None and before[:2] == (state.st_size, state.st_mtime_ns)
        since = before[2] if before is not None and unchanged else self._now
        self.since[parts] = (state.st_size, state.st_mtime_ns, since)
        return SeenFile(parts, state.st_size, state.st_mtime_ns)
