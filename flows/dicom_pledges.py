"""Storage Commitment as its provider: requests are recorded, then answered from the table of instances until they are taken.

N-ACTION: the request is committed, then success -> N-EVENT-REPORT on the association that is open still
                                                 -> or on one of our own, to the address in the settings
                                                 -> or on the next one that the requester opens; for a day
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from db.errors import DatabaseError
from db.instance_views import InstanceView
from db.pledges import PledgeView
from db.session import Database, UnitOfWork
from db.states import InstanceState, PledgeState
from flows.backoff import Backoff
from flows.log import tell
from integrations.dicom.pledge import NotKept, Promise, Requester, report_on, report_to
from integrations.errors import InstanceNotTaken, ReportNotTaken

log = logging.getLogger(__name__)

ACTOR = "dicom"
FIRST_SECONDS = 0.5  # the N-ACTION's own answer goes first
LOOK_SECONDS = 0.5
MOST_SECONDS = 86_400.0
BACKOFF = Backoff(first=2.0, longest=300.0)


class PledgeDesk:
    """Takes requests, and answers them from a thread of its own.

    Parameters
    ----------
    database : Database
    store : Path
        Root of our store: a file that is missing there is not promised.
    requesters : mapping
        Where answers go to, by AE title.
    own_title : str
    open_association : callable
        Gives an open association of an AE title on which commitment is spoken, or None.
    """

    def __init__(
        self,
        database: Database,
        store: Path,
        *,
        requesters: Mapping[str, Requester],
        own_title: str,
        open_association: Callable[[str], object | None],
    ) -> None:
        self._database = database
        self._store = store
        self._requesters = requesters
        self._own_title = own_title
        self._open_association = open_association
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commitment", daemon=True)

    def start(self) -> None:
        """Answer what is due, from now on."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Begin no further answer; one that is under way is waited for so long, and else given again."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def ask(self, requester: str, transaction_uid: str, references: tuple[tuple[str, str], ...]) -> None:
        """Record a request; on return it is durable.

        Raises
        ------
        InstanceNotTaken
            The database cannot be used now.
        """
        try:
            with self._database.transaction(ACTOR) as work:
                work.pledges.ask(requester, transaction_uid, references, delay_seconds=FIRST_SECONDS)
        except DatabaseError as error:
            raise InstanceNotTaken(tell(error)) from None

    def answer_due(self) -> int:
        """Answer everything whose time has come, as far as it can be; gives how many answers were taken.

        Raises
        ------
        DatabaseError
        """
        with self._database.reading() as work:
            due = work.pledges.due()
        taken = 0
        for pledge in due:
            if self._stopping.is_set():
                break
            taken += self._answer(pledge)
        return taken

    # ---------------------------------------------------------------------------------------------------------- inside
    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.answer_due()
            except DatabaseError as error:
                log.warning("requests for commitment cannot be answered now: %s", tell(error))
                self._stopping.wait(BACKOFF.longest / 10)
            except Exception as error:  # noqa: BLE001  # the edge of the job: the thread goes on
                log.error("a request for commitment could not be answered: %s", tell(error))  # noqa: TRY400
                self._stopping.wait(BACKOFF.longest / 10)

    def _answer(self, pledge: PledgeView) -> bool:
        with self._database.reading() as work:
            promise = self._promise(work, pledge)
        try:
            self._report(pledge.requester, promise)
        except ReportNotTaken as error:
            self._postpone(pledge, str(error))
            return False
        with self._database.transaction(ACTOR) as work:
            detail = {"kept": len(promise.kept), "failed": len(promise.failed)}
            work.pledges.settle(pledge.pledge_id, PledgeState.ANSWERED, **detail)
        log.info("commitment answered", extra={"pledge": pledge.pledge_id, **detail})
        return True

    def _report(self, title: str, promise: Promise) -> None:
        association = self._open_association(title)
        if association is not None:
            report_on(association, promise)
        elif title in self._requesters:
            report_to(self._requesters[title], promise, own_title=self._own_title)
        else:
            raise ReportNotTaken("it has no association open, and no [[dicom.receiver.requester]] says where it is")

    def _postpone(self, pledge: PledgeView, reason: str) -> None:
        seconds = BACKOFF.seconds(pledge.attempts + 1, 1.0)
        with self._database.transaction(ACTOR) as work:
            work.pledges.postpone(pledge.pledge_id, seconds, reason)
            waited = (work.pledges.get(pledge.pledge_id).next_attempt_at - pledge.received_at).total_seconds()
            if waited > MOST_SECONDS:
                work.pledges.settle(pledge.pledge_id, PledgeState.GIVEN_UP, reason=reason)
        log.warning("a commitment was not taken by %r: %s", pledge.requester, reason)

    def _promise(self, work: UnitOfWork, pledge: PledgeView) -> Promise:
        standing = {
            view.sop_instance_uid: view for view in work.instances.standing([uid for _, uid in pledge.references])
        }
        kept, failed = [], []
        for pair in pledge.references:
            why_not = self._why_not(work, pair, standing.get(pair[1]))
            if why_not is None:
                kept.append(pair)
            else:
                failed.append((pair, why_not))
        return Promise(pledge.transaction_uid, tuple(kept), tuple(failed))

    def _why_not(self, work: UnitOfWork, pair: tuple[str, str], instance: InstanceView | None) -> NotKept | None:
        """Why an instance is not promised. One that could not be used, or came with two contents, stays with its sender."""
        if instance is None:
            return NotKept.NO_SUCH_INSTANCE
        if instance.sop_class_uid != pair[0]:
            return NotKept.CLASS_CONFLICT
        if instance.state is InstanceState.REFUSED or work.instances.conflicting(pair[1]):
            return NotKept.PROCESSING_FAILURE
        try:
            whole = (self._store / instance.stored_name).stat().st_size == instance.size_bytes
        except OSError:
            whole = False
        return None if whole else NotKept.PROCESSING_FAILURE
