"""Files of our store that nothing may refer to: a process was killed between a file's last name and its row.

They are set aside and not deleted: after a database was restored from an older backup, these are originals.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from integrations.folder.durable import store_errors, sync_folder

UNCLAIMED = ".unclaimed"
_BEGUN, _DONE = ".looking", ".looked"
_FOLDER = re.compile(r"[0-9a-f]{2}")
_FILE = re.compile(r"([0-9a-f]{64})\.(?:dcm|jpg|png|tif)")


@contextmanager
def looking(store: Path) -> Iterator[tuple[float, float]]:
    """Look through a store; what was looked at by the end is not looked at again.

    Yields
    ------
    tuple of float
        When this and when the last look began (0: never), as the store's own disk tells it, in seconds since the epoch.

    Raises
    ------
    StoreError
    """
    with store_errors():
        begun, done = store / _BEGUN, store / _DONE
        begun.unlink(missing_ok=True)
        begun.touch(mode=0o640)
        yield begun.stat().st_mtime, done.stat().st_mtime if done.exists() else 0.0
        begun.replace(done)


def stored_contents(store: Path, *, after: float, before: float) -> Iterator[tuple[Path, str]]:
    """Find what lies in the store under a name by content.

    Parameters
    ----------
    store : Path
    after, before : float
        Of the time at which they were written, in seconds since the epoch.

    Yields
    ------
    tuple
        The file, and the SHA-256 of its name, in hex.

    Raises
    ------
    StoreError
    """
    with store_errors():
        folders = [entry for entry in os.scandir(store) if _FOLDER.fullmatch(entry.name)]
        for folder in sorted(folders, key=lambda entry: entry.name):
            for entry in os.scandir(folder):
                named = _FILE.fullmatch(entry.name)
                if named is not None and after <= entry.stat(follow_symlinks=False).st_mtime < before:
                    yield Path(entry.path), named[1]


def set_aside(store: Path, files: Collection[Path]) -> None:
    """Move files out of the way, under their names, into ``.unclaimed`` of the store.

    Raises
    ------
    StoreError
    """
    if not files:
        return
    with store_errors():
        folder = store / UNCLAIMED
        folder.mkdir(mode=0o750, exist_ok=True)
        for file in files:
            file.replace(folder / file.name)
        sync_folder(folder)
        for parent in {file.parent for file in files}:
            sync_folder(parent)
