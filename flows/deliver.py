"""Out of the outbox to one destination: what is due is sent, and what the answer means is recorded.

A destination has one connection and one sender. Whoever wants something delivered asks the sender to drain; two never
drain at once. That a destination cannot be reached is found out by connecting, before a message is taken: it costs the
messages nothing and leaves no line in the audit.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from db.context import Clock
from db.outbox import Outbox
from db.session import Database
from db.states import MessageState
from db.views import MessageView
from integrations.errors import FramingError
from integrations.hl7.ack import AckPolicy, Decision
from integrations.hl7.mllp import Delivery, MllpClient

log = logging.getLogger(__name__)

ACTOR = "sender"
MAX_REJECTED = 3
DONE = (MessageState.DELIVERED, MessageState.PARKED, MessageState.SKIPPED)
"""States in which nothing more happens to a message by itself."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next attempt: doubled each time, up to a limit, with jitter.

    Attributes
    ----------
    first, longest : float
        Seconds.
    """

    first: float = 2.0
    longest: float = 30.0

    def seconds(self, failures: int, jitter: float) -> float:
        """Wait after so many failures in a row; `jitter` is a random number from 0 to 1."""
        return min(self.longest, self.first * 2.0 ** min(max(failures - 1, 0), 16)) * (0.5 + 0.5 * jitter)


class Sender:
    """One destination; for any number of threads.

    Parameters
    ----------
    name : str
        Of the destination.
    database : Database
    client : MllpClient
    policy : AckPolicy
    owner : str
        Under which messages are leased; unique to this process.
    lease_seconds : float
        Longer than an attempt may take.
    clock, monotonic, random, pause : callable
        The time; seconds; a number from 0 to 1; wait so many seconds.
    gap_seconds : float
        Between two messages.
    backoff : Backoff
    """

    def __init__(
        self,
        *,
        name: str,
        database: Database,
        client: MllpClient,
        policy: AckPolicy,
        owner: str,
        lease_seconds: float,
        clock: Clock,
        gap_seconds: float = 0.0,
        backoff: Backoff | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._database = database
        self._client = client
        self._policy = policy
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._gap_seconds = gap_seconds
        self._backoff = backoff or Backoff()
        self._monotonic = monotonic
        self._random = random
        self._pause = pause
        self._busy = threading.Lock()
        self._sent_at = float("-inf")
        self._failures = 0
        self._not_before = float("-inf")
        self._problem: str | None = None
        self._expecting = 0
        self._expecting_lock = threading.Lock()
        self._stopping = threading.Event()

    @property
    def problem(self) -> str | None:
        """Why the destination cannot be reached, in words; None while it can or was not tried."""
        return self._problem

    @property
    def is_busy(self) -> bool:
        """Whether somebody drains now."""
        return self._busy.locked()

    @property
    def is_expecting(self) -> bool:
        """Whether somebody is about to drain."""
        return self._expecting > 0

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Say that a message is about to be queued and will be drained by whoever queues it."""
        with self._expecting_lock:
            self._expecting += 1
        try:
            yield
        finally:
            with self._expecting_lock:
                self._expecting -= 1

    def stop(self) -> None:
        """Let a drain end after the message it is at."""
        self._stopping.set()

    def close(self) -> None:
        """Close the connection, once nobody drains any more."""
        with self._busy:
            self._client.close()

    def is_due(self) -> bool:
        """Whether a message is due and the destination may be tried again."""
        if self._monotonic() < self._not_before:
            return False
        with self._database.reading() as work:
            due = work.outbox.next_due_at(self.name)
        return due is not None and due <= self._clock()

    def reachable(self) -> bool:
        """Connect, if there is no connection; False starts or prolongs the backoff."""
        with self._busy:
            return self._connect()

    def drain(self, *, most: int = 1000) -> tuple[MessageView, ...]:
        """Send everything that is due; gives the messages that were tried, as they stand now.

        Ends when nothing is due, the destination cannot be reached, `most` were tried, or `stop` was called.

        Raises
        ------
        DatabaseError
            The message that was at work is found again when its lease runs out.
        """
        tried: list[MessageView] = []
        with self._busy:
            while len(tried) < most and not self._stopping.is_set() and self._is_something_due() and self._connect():
                with self._database.transaction(ACTOR) as work:
                    message = work.outbox.claim_due(self.name, self._owner, self._lease_seconds)
                if message is None:
                    break
                tried.append(self._send(message))
        return tuple(tried)

    # ---------------------------------------------------------------------------------------------------------- inside
    def _is_something_due(self) -> bool:
        with self._database.reading() as work:
            due = work.outbox.next_due_at(self.name)
        return due is not None and due <= self._clock()

    def _connect(self) -> bool:
        problem = self._client.probe()
        if problem is None:
            self._reached()
        else:
            self._missed(problem)
        return problem is None

    def _reached(self) -> None:
        if self._problem is not None:
            log.info("%s answers again", self.name)
        self._failures, self._not_before, self._problem = 0, float("-inf"), None

    def _missed(self, problem: str) -> None:
        if self._problem is None:
            log.warning("%s cannot be reached (%s); messages wait", self.name, problem)
        elif self._monotonic() < self._not_before:
            return  # somebody tried out of turn: that tells nothing new
        self._failures += 1
        self._not_before = self._monotonic() + self._backoff.seconds(self._failures, self._random())
        self._problem = problem

    def _send(self, message: MessageView) -> MessageView:
        wait = self._sent_at + self._gap_seconds - self._monotonic()
        if wait > 0:
            self._pause(wait)
        try:
            delivery = self._client.send(message.body)
        except FramingError as error:
            with self._database.transaction(ACTOR) as work:
                work.outbox.park(message.message_id, self._owner, reason=str(error))
                return work.outbox.get(message.message_id)
        self._sent_at = self._monotonic()
        with self._database.transaction(ACTOR) as work:
            decision = self._record(work.outbox, message, delivery)
            after = work.outbox.get(message.message_id)
        log.info(
            "message %s to %s: %s",
            decision,
            self.name,
            delivery.reason,
            extra={"case": message.case_id, "control_id": message.control_id},
        )
        return after

    def _record(self, outbox: Outbox, message: MessageView, delivery: Delivery) -> Decision:
        decision = delivery.decision(self._policy)
        code, failures = delivery.code, message.attempts + 1
        if decision is Decision.RETRY and failures >= MAX_REJECTED:
            decision = Decision.PARK
        at = self._clock() + timedelta(seconds=self._backoff.seconds(failures, self._random()))
        if decision is Decision.DELIVERED and code is not None:
            outbox.delivered(message.message_id, self._owner, ack_code=code, ack=delivery.raw)
        elif decision is Decision.PARK:
            outbox.park(
                message.message_id, self._owner, reason=delivery.reason, ack_code=code, ack=delivery.raw or None
            )
        elif decision is Decision.RETRY:
            outbox.retry(message.message_id, self._owner, at=at, reason=delivery.reason, spends_attempt=True)
        elif decision is Decision.BACKOFF:
            self._missed(delivery.reason)
            outbox.retry(
                message.message_id, self._owner, at=self._clock(), reason=delivery.reason, spends_attempt=False
            )
        else:
            outbox.unknown(
                message.message_id, self._owner, at=at, reason=delivery.reason, ack_code=code, ack=delivery.raw or None
            )
        return decision
