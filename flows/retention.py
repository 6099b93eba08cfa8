"""Takes away what the policy of `[retention]` says, case by case; it can be killed and run again at any time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from db.session import Database
from db.states import Removable
from flows.places import Places
from flows.settings import Settings
from integrations.dicom.frames import frame_name

log = logging.getLogger(__name__)

ACTOR = "housekeeping"
BATCH = 100


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken away of one case, or would be.

    Attributes
    ----------
    kind : Removable
    items : int
        Files or cells.
    size : int
        Bytes of the files.
    """

    case_id: str
    kind: Removable
    items: int
    size: int


def policy_of(settings: Settings) -> dict[Removable, int]:
    """Days for each kind that does not stay for ever."""
    section = settings.retention
    days = {
        Removable.IMAGES: section.image_days,
        Removable.CELLS: section.cell_days,
        Removable.REPORTS: section.report_days,
    }
    return {kind: number for kind, number in days.items() if number}


def apply_policy(
    settings: Settings, database: Database, places: Places, *, stop: Callable[[], bool] = lambda: False
) -> tuple[Removed, ...]:
    """Take away what is due, and say what that was; the job that a schedule calls.

    Parameters
    ----------
    stop : callable
        Asked between two cases.

    Raises
    ------
    DatabaseError
    OSError
        A file cannot be removed; the next run goes on there.
    """
    done: list[Removed] = []
    for kind, days in policy_of(settings).items():
        for case_id in due_cases(database, kind, days):
            if stop():
                return tuple(done)
            removed = remove(database, places, case_id, kind, days)
            if removed is not None:
                done.append(removed)
                log.info("%d %s of a case were removed", removed.items, kind.value, extra={"case": case_id})
    return tuple(done)


def due_cases(database: Database, kind: Removable, days: int) -> Iterator[str]:
    """Give the ids of cases of which something is due; nothing is changed."""
    after = ""
    while True:
        with database.reading() as work:
            batch = work.retention.due(kind, days, after=after, limit=BATCH)
        if not batch:
            return
        yield from batch
        after = batch[-1]


def remove(database: Database, places: Places, case_id: str, kind: Removable, days: int) -> Removed | None:
    """Take one kind of thing of one case away; None where the case is not closed any more."""
    with database.transaction(ACTOR) as work:
        if not work.retention.begin(case_id, kind, days):
            return None
    items = size = 0
    for path in files_of(database, places, case_id, kind):
        if path.exists():
            size += path.stat().st_size
            path.unlink()
            items += 1
    with database.transaction(ACTOR) as work:
        if kind is Removable.CELLS:
            items = work.retention.remove_cells(case_id)
        work.retention.done(case_id, kind, items)
    return Removed(case_id, kind, items, size)


def files_of(database: Database, places: Places, case_id: str, kind: Removable) -> Iterator[Path]:
    """Give the files that go: originals with their decoded frames and drawn pictures, or reports for people."""
    with database.reading() as work:
        images = work.retention.images(case_id) if kind is Removable.IMAGES else ()
        pictures = work.retention.pictures(case_id) if kind is Removable.IMAGES else ()
        reports = work.retention.reports(case_id) if kind is Removable.REPORTS else ()
    for image in images:
        yield from (places.store / frame_name(image.stored_name, frame) for frame in range(image.frames))
        yield places.store / image.stored_name
    yield from (places.pictures / name for name in pictures)
    yield from (places.reports / name for name in reports)
