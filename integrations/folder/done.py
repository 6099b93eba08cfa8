"""Clearing the incoming folder: taken files go to its ``.done``, old empty folders go away."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from integrations.folder.source import SeenFile, is_unchanged, open_folder

_DONE = ".done"
_NAME_MAX = 255  # bytes, on every file system in use


class Moved(StrEnum):
    """What became of a source that was to go to ``.done``."""

    MOVED = "moved"
    GONE = "gone"  # somebody else took it away
    CHANGED = "changed"  # another file lies there now; the next scan takes it up
    KEPT = "kept"  # cannot be moved, as on a read-only share: remember it


def move_to_done(incoming: Path, file: SeenFile, checkpoint: Callable[[str], None]) -> Moved:
    """Move a source to ``<incoming>/.done``, below the same folders, once its row is committed.

    A name that is taken there gets a number in front. Never overwrites, never fails: what cannot be moved is `KEPT`
    and is to be remembered. For one process at a time.
    """
    if not is_unchanged(incoming, file):
        return Moved.CHANGED if os.path.lexists(incoming.joinpath(*file.parts)) else Moved.GONE
    source = done = -1
    try:
        source = open_folder(incoming, file.parts[:-1])
        done = open_folder(incoming, (_DONE, *file.parts[:-1]), create=True)
        checkpoint("done-folder")
        return _rename(file, source, done, checkpoint)
    except OSError:
        return Moved.KEPT
    finally:
        for descriptor in (source, done):
            if descriptor >= 0:
                os.close(descriptor)


def _rename(file: SeenFile, source: int, done: int, checkpoint: Callable[[str], None]) -> Moved:
    name = file.parts[-1]
    target = free_name(name, lambda candidate: _taken(candidate, done))
    os.rename(name, target, src_dir_fd=source, dst_dir_fd=done)
    checkpoint("done")
    if file.matches(os.stat(target, dir_fd=done, follow_symlinks=False)):
        return Moved.MOVED
    if not _taken(name, source):  # replaced in the last moment: what we moved was never taken in
        os.rename(target, name, src_dir_fd=done, dst_dir_fd=source)
    return Moved.CHANGED


def remove_empty_folders(incoming: Path, *, now: float, older_than_seconds: float = 86_400.0) -> int:
    """Remove case folders that are empty and untouched for long, so that looking stays cheap; gives their number.

    Parameters
    ----------
    incoming : Path
    now : float
        Seconds since 1970, the clock of file times.
    older_than_seconds : float
        A scanner that has just made a folder is going to write into it.
    """
    removed = 0
    for root, folders, _ in os.walk(incoming, topdown=False):
        if root == os.fspath(incoming):
            folders[:] = []
            continue
        if os.path.relpath(root, incoming).startswith("."):
            continue
        with suppress(OSError):  # not empty, not ours to remove, or gone
            if now - os.lstat(root).st_mtime >= older_than_seconds:
                Path(root).rmdir()
                removed += 1
    return removed


def free_name(name: str, taken: Callable[[str], bool]) -> str:
    """The name itself, or with the first free number in front; the end, with its suffix, survives a long name."""
    if not taken(name):
        return name
    for number in itertools.count(2):
        prefix = f"{number}_"
        tail = os.fsencode(name)[-(_NAME_MAX - len(prefix)) :].decode("utf-8", "ignore")
        if not taken(prefix + tail):
            return prefix + tail
    raise AssertionError("itertools.count ended")


def _taken(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
