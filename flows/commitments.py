"""Sees to it that archives confirm what they took: asks, hears the answer, asks again where none comes.

    delivered -> asked (written before the question leaves) -> committed | failed: the message is parked
                   ^ no answer for a while, or the archive was away

A report that comes twice, late, or after a restart finds its transaction in our tables.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import uuid4

from db.context import Clock
from db.errors import DatabaseError
from db.session import Database
from flows.log import tell
from integrations.dicom.commitment import (
    MOST_AT_ONCE,
    CommitmentReport,
    request_commitment,
)
from integrations.dicom.commitment_listener import CommitmentListener
from integrations.dicom.peer import Entity
from integrations.dicom.uids import derive_uid
from integrations.errors import PeerUnavailable, TlsError

log = logging.getLogger(__name__)

ACTOR = "archive"
LOOK_SECONDS = 1.0
AWAY_SECONDS = 30.0  # an archive that could not be asked is asked again after so long
GATHER_SECONDS = 2.0

Ask = Callable[..., bool]


class Commitments:
    """One thread an archive that confirms, and one listener for all.

    Parameters
    ----------
    database : Database
    entities : mapping of str to callable
        ``() -> Entity`` of each archive that confirms, by name.
    make_listener : callable
        ``(on_report) -> CommitmentListener``; called only where an archive confirms.
    patience_seconds : float
        How long an answer is waited for before the archive is asked again.
    clock : callable
        The time, aware.
    permitted : callable
        Whether this machine is the one that asks an archive.
    ask : callable
        `request_commitment`.
    """

    def __init__(
        self,
        *,
        database: Database,
        entities: Mapping[str, Callable[[], Entity]],
        make_listener: Callable[[Callable[[CommitmentReport], None]], CommitmentListener],
        patience_seconds: float,
        clock: Clock,
        permitted: Callable[[str], bool] = lambda _name: True,
        ask: Ask = request_commitment,
    ) -> None:
        self._database = database
        self._entities = entities
        self._make_listener = make_listener
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._permitted = permitted
        self._ask = ask
        self._stopping = threading.Event()
        self._listener: CommitmentListener | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"commitments of {name}", daemon=True)
            for name in entities
        ]

    def start(self) -> None:
        """Begin.

        Raises
        ------
        OSError
            The listener's port is taken.
        TlsError
        """
        if not self._entities:
            return
        self._listener = self._make_listener(self.record)
        self._listener.start()
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """End; an archive that is being asked is left behind."""
        self._stopping.set()
        if self._listener is not None:
            self._listener.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(seconds)

    def record(self, report: CommitmentReport) -> None:
        """Make an archive's answer ours.

        Raises
        ------
        DatabaseError
            It is to be sent again.
        """
        with self._database.transaction(ACTOR) as work:
            ours = work.objects.answered(report.transaction_uid, report.committed, report.failed)
        if report.failed and ours:
            log.warning("an archive does not keep %d objects that it took: a person must look", len(report.failed))

    def ask(self, name: str) -> int:
        """Ask one archive about all that it took and has not confirmed; gives of how many objects.

        Raises
        ------
        DatabaseError
        """
        with self._database.reading() as work:
            waiting = work.objects.to_ask(name, MOST_AT_ONCE)
        if not waiting:
            return 0
        transaction = derive_uid("commitment", uuid4().hex)
        with self._database.transaction(ACTOR) as work:
            work.objects.asked(
                [each.message_id for each in waiting], transaction, patience_seconds=self._patience_seconds
            )
            asked = work.objects.of_transaction(transaction)
        if not asked:
            return 0
        try:
            self._ask(self._entities[name](), transaction, asked, self.record)
        except (PeerUnavailable, TlsError) as error:
            log.warning("%s cannot be asked whether it keeps what it took: %s", name, error)
            later = self._clock() + timedelta(seconds=AWAY_SECONDS)
            with self._database.transaction(ACTOR) as work:
                work.objects.not_asked(transaction, str(error), at=later)
        return len(asked)

    def _run(self, name: str) -> None:
        problem = ""
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                if self._permitted(name) and self.ask(name):
                    self._stopping.wait(GATHER_SECONDS)  # what follows goes into one question
                problem = ""
            except DatabaseError as error:
                if tell(error) != problem:
                    problem = tell(error)
                    log.warning("what %s has to confirm cannot be looked at: %s", name, problem)
