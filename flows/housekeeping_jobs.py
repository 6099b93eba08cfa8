"""What housekeeping does: one job for each kind of thing that is kept no longer. A new job is one more line in `JOBS`.

Jobs may be repeated, broken off and run beside the service; they say what they removed and leave alone what they do not know.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flows.retention import apply_policy
from flows.services import Services

DAY = 86_400.0
PARTIAL_SECONDS = DAY  # a copy takes minutes at most; what is older was left by a process that was killed
KEPT_OUTPUT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Removed:
    """What a job removed: how many things, and how many bytes they took."""

    count: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One thing that housekeeping does.

    Attributes
    ----------
    name : str
        In words: what is removed, for Prefect's pages.
    run : callable
        Does it; may raise `OSError` and our own errors, which fail this job and no other.
    """

    name: str
    run: Callable[[Services], Removed]


def remove_pictures(at_hand: Services) -> Removed:
    """Rendered pictures that nobody drew or looked at for so long; they can be drawn anew."""
    age = at_hand.settings.housekeeping.picture_days * DAY
    return _remove(_older(at_hand.places.pictures.rglob("*"), age))


def remove_partial_files(at_hand: Services) -> Removed:
    """Half copies that a killed process left; their sources lie where they were."""
    places = at_hand.places
    halves = [*(places.store / ".partial").glob("*"), *(places.quarantine / ".partial").glob("*")]
    halves += [*places.pictures.rglob("*.part"), *places.reports.rglob("*.part")]
    return _remove(_older(halves, PARTIAL_SECONDS))


def trim_output(at_hand: Services) -> Removed:
    """What child processes printed: files that grew large are begun anew, and old ones removed."""
    logs = at_hand.places.logs
    for file in logs.glob("*.log"):
        with suppress(FileNotFoundError):
            if file.stat().st_size > KEPT_OUTPUT:
                # The child keeps its file open and appends, so the file is emptied and not moved.
                shutil.copyfile(file, file.with_suffix(".log.old"))
                with file.open("r+b") as grown:
                    grown.truncate(0)
    return _remove(_older(logs.glob("*.log.old"), at_hand.settings.housekeeping.output_days * DAY))


def remove_by_policy(at_hand: Services) -> Removed:
    """Originals, cells and reports for people of closed cases, as `[retention]` says; by default nothing."""
    gone = apply_policy(at_hand.settings, at_hand.database, at_hand.places, stop=at_hand.stopping.is_set)
    return Removed(sum(each.items for each in gone), sum(each.size for each in gone))


JOBS: tuple[Job, ...] = (
    Job("rendered pictures", remove_pictures),
    Job("partial files", remove_partial_files),
    Job("output of child processes", trim_output),
    Job("originals, cells and reports", remove_by_policy),
)


def _older(files: Iterable[Path], seconds: float) -> Iterator[tuple[Path, int]]:
    """The files that were neither written nor read for so long, with their sizes."""
    before = time.time() - seconds
    for file in files:
        with suppress(FileNotFoundError):  # somebody else removed it
            status = file.lstat()
            if file.is_file() and max(status.st_mtime, status.st_atime) < before:
                yield file, status.st_size


def _remove(files: Iterable[tuple[Path, int]]) -> Removed:
    count = size = 0
    for file, bytes_ in files:
        file.unlink(missing_ok=True)
        count, size = count + 1, size + bytes_
    return Removed(count, size)
