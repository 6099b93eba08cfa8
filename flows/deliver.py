"""Out of the outbox to one destination: what is due is sent, and what the answer means is recorded.

A destination has one connection and one sender. Whoever wants something delivered asks the sender to drain; two never
drain at once. That a destination cannot be reached is found out by connecting, before a message is taken: it costs the
messages nothing and leaves no line in the audit. One that takes messages and does not answer is left alone for a while as
well, and then tried with one message at a time.

Several messages are taken with one commit, each the first of its order key, sent one after the other, and recorded with one
commit again, at the latest after `RECORD_SECONDS`. What a SIGKILL does, wherever it strikes:

    before the commit that takes them     they wait as they did
    after it, before the first byte       "sending" in the database and never sent: at the next start, or when the lease runs
                                          out, they are *unknown* and go out (for the receiver: for the first time)
    between the bytes and the answer,     the receiver may have them: *unknown*, the same bytes with the same control id go
    or before the answer is recorded      out again; at most as many as were taken at once, and none twice within one life
    after the commit that records them    delivered; nothing is sent again

No message is recorded before its own answer was read, so none is lost; a repeat is the frozen bytes, so the receiver can
match it by its control id. The next message of an order key is taken only after the one before is recorded: order holds
through every crash. What was tried before is taken alone (see `db.deliveries`).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from db.context import Clock
from db.session import Database
from db.states import MessageState
from db.views import MessageView
from flows.backoff import Backoff
from flows.fates import Fate, Recorder, alert
from flows.transports import Transport
from integrations.errors import FramingError
from integrations.hl7.ack import Decision, Outcome

log = logging.getLogger(__name__)

ACTOR = "sender"
DONE = (MessageState.DELIVERED, MessageState.PARKED, MessageState.SKIPPED)
"""States in which nothing more happens to a message by itself."""

AT_ONCE = 50  # messages taken with one commit; so many are repeated at most after a SIGKILL
RECORD_SECONDS = 0.5  # so long an answer stays unrecorded at most, while others are waited for
RENEW_SECONDS = 10.0  # leases taken longer ago are prolonged before the next message
MOST_SILENT = 3  # messages in a row without a valid answer, before the destination is left alone for a while


class Sender:
    """One destination; for any number of threads.

    Parameters
    ----------
    name : str
        Of the destination.
    database : Database
    transport : Transport
    owner : str
        Under which messages are leased; unique to this process.
    lease_seconds : float
        Longer than `RENEW_SECONDS` and an attempt together may take.
    permitted : callable
        Whether this machine is the one that delivers here.
    clock, monotonic, random : callable
        The time; seconds; a number from 0 to 1.
    pause : callable or None
        Wait so many seconds; by default until then or until `stop`.
    gap_seconds : float
        Between two messages.
    at_once : int
        Messages taken with one commit.
    patience_seconds : float
        So long messages may wait for others, until `at_once` of them wait.
    backoff : Backoff
        After which the destination is tried again.
    resend : Backoff
        After which a message without a valid answer, or one that was rejected, is sent again.
    """

    def __init__(
        self,
        *,
        name: str,
        database: Database,
        transport: Transport,
        owner: str,
        lease_seconds: float,
        clock: Clock,
        gap_seconds: float = 0.0,
        at_once: int = AT_ONCE,
        patience_seconds: float = 0.0,
        backoff: Backoff | None = None,
        resend: Backoff | None = None,
        permitted: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.name = name
        self._database = database
        self._transport = transport
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._gap_seconds = gap_seconds
        # A long gap and a lease for many messages do not go together.
        self._at_once = 1 if gap_seconds >= 1.0 and not transport.in_one_file else at_once
        self._patience_seconds = patience_seconds
        self._backoff = backoff or Backoff()
        self._permitted = permitted
        self._monotonic = monotonic
        self._random = random
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait
        self._recorder = Recorder(
            name, database, transport.decide, owner, resend=resend or Backoff(2.0, 300.0), clock=clock, random=random
        )
        self._busy = threading.Lock()
        self._sent_at = float("-inf")
        self._failures = 0
        self._silent = 0
        self._not_before = float("-inf")
        self._problem: str | None = None
        self._expecting = 0
        self._expecting_lock = threading.Lock()

    @property
    def problem(self) -> str | None:
        """Why nothing leaves, in words; None while the destination answers or was not tried."""
        return self._problem

    @property
    def is_permitted(self) -> bool:
        """Whether this machine is the one that delivers here."""
        return self._permitted()

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
            self._transport.close()

    def is_due(self) -> bool:
        """Whether a message may leave now, from here, and the destination may be tried again."""
        return self._permitted() and not self._is_left_alone() and self._is_something_due()

    def reachable(self) -> bool:
        """Connect, if there is no connection; False starts or prolongs the backoff."""
        with self._busy:
            return self._connect()

    def drain(self, *, most: int = 1000) -> tuple[MessageView, ...]:
        """Send everything that is due; gives the messages that were tried, as they stand now.

        Ends when nothing is due, the destination cannot be reached or does not answer, `most` were tried, or `stop` was
        called.

        Raises
        ------
        DatabaseError
            What was answered before is recorded by the next drain; the rest is found again when its lease runs out.
        """
        tried: list[MessageView] = []
        with self._busy:
            tried += self._recorder.record()
            while len(tried) < most and not self._stopping.is_set() and self.is_due() and self._connect():
                moved = self._claim(most - len(tried))
                if not moved:
                    break
                for message in moved:
                    if message.state is MessageState.PARKED:
                        alert(message)
                        tried.append(message)
                tried += self._send_all([message for message in moved if message.state is MessageState.SENDING])
        return tuple(tried)

    # ---------------------------------------------------------------------------------------------------------- inside
    def _may_go_on(self) -> bool:
        return self._permitted() and not self._stopping.is_set() and not self._is_left_alone()

    def _is_left_alone(self) -> bool:
        return self._monotonic() < self._not_before

    def _is_something_due(self) -> bool:
        waits_for_others = self._at_once if self._patience_seconds else 1
        with self._database.reading() as work:
            due = work.outbox.due(self.name, waits_for_others)
        if due.since is None or due.count >= waits_for_others:
            return due.since is not None
        return (self._clock() - due.since).total_seconds() >= self._patience_seconds

    def _claim(self, most: int) -> tuple[MessageView, ...]:
        in_one_file = self._transport.in_one_file
        most = self._at_once if in_one_file else 1 if self._silent else min(most, self._at_once)
        with self._database.transaction(ACTOR) as work:
            return work.outbox.claim_due(
                self.name,
                self._owner,
                self._lease_seconds,
                most=most,
                in_one_file=in_one_file,
            )

    def _send_all(self, taken: Sequence[MessageView]) -> list[MessageView]:
        """Send what was taken and record each fate; what cannot be sent now is given back."""
        done: list[MessageView] = []
        waiting = [list(taken)] if self._transport.in_one_file else [[message] for message in taken]
        leased_at = self._monotonic()
        try:
            while waiting and self._may_go_on():
                if self._monotonic() - leased_at > RENEW_SECONDS:
                    done += self._recorder.record()
                    kept = self._recorder.renew([m for group in waiting for m in group], self._lease_seconds)
                    leased_at = self._monotonic()
                    waiting = [group for group in waiting if all(m.message_id in kept for m in group)]
                    continue
                self._send(waiting.pop(0))
                if self._recorder.is_late(self._monotonic(), RECORD_SECONDS):
                    done += self._recorder.record()
        finally:
            for message in (message for group in waiting for message in group):
                self._recorder.note(Fate(message, None, "not sent"), self._monotonic())
            done += self._recorder.record()
        return done

    def _send(self, group: Sequence[MessageView]) -> None:
        wait = self._sent_at + self._gap_seconds - self._monotonic()
        if wait > 0:
            self._pause(wait)
        fates = [Fate(message, Decision.RESEND, "the attempt was broken off") for message in group]
        try:
            delivery = self._transport.send(group)
            self._judge(delivery.outcome, delivery.reason)
            fates = [self._recorder.fate(message, delivery) for message in group]
        except FramingError as error:
            fates = [Fate(message, Decision.PARK, str(error)) for message in group]
        finally:
            self._sent_at = self._monotonic()
            for fate in fates:
                self._recorder.note(fate, self._sent_at)

    def _judge(self, outcome: Outcome, reason: str) -> None:
        """What an attempt tells about the destination."""
        if outcome is Outcome.REFUSED:
            self._missed(reason)
        elif outcome is Outcome.UNKNOWN:
            self._silent += 1
            if self._silent >= MOST_SILENT:
                self._missed(reason)
        else:
            self._silent = 0
            self._reached()

    def _connect(self) -> bool:
        problem = self._transport.probe()
        if problem is not None:
            self._missed(problem)
        elif self._silent < MOST_SILENT:
            self._reached()
        return problem is None

    def _reached(self) -> None:
        if self._problem is not None:
            log.info("%s answers again", self.name)
        self._failures, self._not_before, self._problem = 0, float("-inf"), None

    def _missed(self, problem: str) -> None:
        if self._problem is None:
            log.warning("nothing leaves to %s (%s); messages wait", self.name, problem)
        elif self._is_left_alone():
            return  # somebody tried out of turn: that tells nothing new
        self._failures += 1
        self._not_before = self._monotonic() + self._backoff.seconds(self._failures, self._random())
        self._problem = problem
