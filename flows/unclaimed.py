"""What a killed process left in the store without a row: set aside at the start."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

from db.session import Database
from integrations.folder.unclaimed import UNCLAIMED, looking, set_aside, stored_contents

log = logging.getLogger(__name__)

ACTOR = "service"
SHARED_SECONDS = 3600.0  # another machine records what it wrote long before that
_MANY = 2000


def set_unclaimed_aside(database: Database, store: Path, *, shared: bool) -> int:
    """Move files that no row refers to out of the store; gives their number.

    Nothing of that was ever accepted: its sender was not told so, and brings it again under the same name.

    Parameters
    ----------
    database : Database
    store : Path
    shared : bool
        Whether other machines write into the store; their latest files are let be. Else nobody may be writing now.

    Raises
    ------
    DatabaseError, StoreError
    """
    moved = 0
    with looking(store) as (now, last):
        before = now - SHARED_SECONDS if shared else float("inf")
        found = stored_contents(store, after=last - SHARED_SECONDS, before=before)
        while some := list(itertools.islice(found, _MANY)):
            with database.reading() as work:
                known = work.contents.known([sha256 for _, sha256 in some])
            unclaimed = [file for file, sha256 in some if sha256 not in known]
            set_aside(store, unclaimed)
            moved += len(unclaimed)
    if moved:
        with database.transaction(ACTOR) as work:
            work.audit.append("unclaimed files set aside", files=moved)
        log.warning("%d files of the store that no row refers to were moved to %s", moved, store / UNCLAIMED)
    return moved
