"""What is done at the start, before anything is accepted or sent: our own tables are put in order.

What belongs to Prefect follows when it answers (`flows.runs.Runs.put_right`): a run that was killed there stays "Running",
and is executed once more under its own id.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from db.session import Database
from flows.unclaimed import set_unclaimed_aside
from integrations.folder.staging import Staging

log = logging.getLogger(__name__)

ACTOR = "service"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What an earlier life of the service had left.

    Attributes
    ----------
    cases : int
        Leases of cases that were ended.
    messages : int
        Messages that were being sent; whether they arrived is not known, the same bytes go out again.
    partial_files : int
        Half copies that were removed; their sources lie where they were.
    """

    cases: int
    messages: int
    partial_files: int


def recover(database: Database, staging: Staging, owner: str, store: Path, *, shared: bool) -> Recovered:
    """End what dead workers of this name held.

    Parameters
    ----------
    owner : str
        What the names of this machine's lease owners begin with; the lock on the data folder says that all of them are
        dead.
    store : Path
    shared : bool
        Whether other machines write into the store.

    Raises
    ------
    DatabaseError, StoreError
    """
    partial_files = staging.prepare()
    set_unclaimed_aside(database, store, shared=shared)
    with database.transaction(ACTOR) as work:
        cases = work.cases.release_leases(owner)
        messages = work.outbox.release_leases(owner)
        work.audit.append("service started", cases_released=cases, messages_released=messages)
    recovered = Recovered(cases, messages, partial_files)
    if cases or messages or partial_files:
        log.info("the service was not stopped but ended: %s", recovered)
    return recovered
