"""What becomes of messages after an attempt, and its recording: several fates with one commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from db.context import Clock
from db.outbox import MAX_ATTEMPTS, Outbox
from db.session import Database
from db.states import MessageState
from db.views import MessageView
from flows.backoff import Backoff
from integrations.hl7.ack import Decision
from integrations.hl7.mllp import Delivery

log = logging.getLogger(__name__)

ACTOR = "sender"
MAX_REJECTED = 3


@dataclass(frozen=True, slots=True)
class Fate:
    """What is to be recorded about one message.

    Attributes
    ----------
    message : MessageView
        As it was taken.
    decision : Decision or None
        None: not one byte left, it is given back.
    reason : str
        In words, without personal data.
    delivery : Delivery or None
        None where there was no attempt.
    """

    message: MessageView
    decision: Decision | None
    reason: str
    delivery: Delivery | None = None

    @property
    def code(self) -> str | None:
        """MSA-1, or the status of a DICOM store, when the receiver answered."""
        return (self.delivery.code or self.delivery.status or None) if self.delivery else None

    @property
    def answer(self) -> bytes | None:
        """The acknowledgement as it came."""
        return (self.delivery.raw or None) if self.delivery else None


class Recorder:
    """Collects fates and records them together; what cannot be recorded now is kept for the next time.

    For one thread at a time. `decide` reads what an attempt means; the others as those of `flows.deliver.Sender`.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        decide: Callable[[Delivery], Decision],
        owner: str,
        *,
        resend: Backoff,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._name = name
        self._database = database
        self._decide = decide
        self._owner = owner
        self._resend = resend
        self._clock = clock
        self._random = random
        self._open: list[Fate] = []
        self._since = 0.0

    def fate(self, message: MessageView, delivery: Delivery) -> Fate:
        """Read what an attempt means; what was tried too often is parked."""
        decision, failures, reason = self._decide(delivery), message.attempts + 1, delivery.reason
        if decision is Decision.RETRY and failures >= MAX_REJECTED:
            return Fate(message, Decision.PARK, f"{reason}, {failures} times", delivery)
        if decision is Decision.AWAIT:
            decision, reason = Decision.RESEND, f"{reason}; no application acknowledgement came"
        if decision is Decision.RESEND and failures >= MAX_ATTEMPTS:
            return Fate(message, Decision.PARK, f"no valid answer to {failures} attempts; last: {reason}", delivery)
        return Fate(message, decision, reason, delivery)

    def note(self, fate: Fate, now: float) -> None:
        """Keep a fate until `record`; `now` in monotonic seconds."""
        if not self._open:
            self._since = now
        self._open.append(fate)

    def is_late(self, now: float, seconds: float) -> bool:
        """Whether something is to be recorded now: a fate other than an acceptance, or one noted so long ago."""
        return bool(self._open) and (now - self._since >= seconds or self._open[-1].decision is not Decision.DELIVERED)

    def record(self) -> list[MessageView]:
        """Record what was noted, with one commit; gives the messages as they stand then.

        Raises
        ------
        DatabaseError
            What was noted is kept.
        """
        if not self._open:
            return []
        with self._database.transaction(ACTOR) as work:
            work.outbox.lock([fate.message.message_id for fate in self._open])
            for fate in self._open:
                self._write(work.outbox, fate)
            after = [work.outbox.get(fate.message.message_id) for fate in self._open]
        recorded, self._open = self._open, []
        for fate, message in zip(recorded, after, strict=True):
            self._tell(fate, message)
        return [message for fate, message in zip(recorded, after, strict=True) if fate.decision is not None]

    def renew(self, messages: Sequence[MessageView], lease_seconds: float) -> set[str]:
        """Prolong leases; gives the ids of the messages that are still ours."""
        with self._database.transaction(ACTOR) as work:
            work.outbox.lock([message.message_id for message in messages])
            return {
                message.message_id
                for message in messages
                if work.outbox.renew(message.message_id, self._owner, lease_seconds)
            }

    def _write(self, outbox: Outbox, fate: Fate) -> None:
        message_id, reason = fate.message.message_id, fate.reason
        at = self._clock() + timedelta(seconds=self._resend.seconds(fate.message.attempts + 1, self._random()))
        if fate.decision is Decision.DELIVERED:
            seconds = fate.delivery.seconds if fate.delivery else None
            told = None if fate.code else reason
            outbox.delivered(message_id, self._owner, ack_code=fate.code, ack=fate.answer, seconds=seconds, reason=told)
        elif fate.decision is Decision.PARK:
            outbox.park(message_id, self._owner, reason=reason, ack_code=fate.code, ack=fate.answer)
        elif fate.decision is Decision.RETRY:
            outbox.retry(message_id, self._owner, at=at, reason=reason, spends_attempt=True)
        elif fate.decision in (Decision.BACKOFF, None):
            outbox.give_back(message_id, self._owner, reason=reason)
        else:
            outbox.unknown(message_id, self._owner, at=at, reason=reason, ack_code=fate.code, ack=fate.answer)

    def _tell(self, fate: Fate, message: MessageView) -> None:
        if message.state is MessageState.PARKED:
            alert(message)
        elif fate.decision is not None:
            extra = {"case": message.case_id, "control_id": message.control_id}
            log.info("message %s to %s: %s", message.state, self._name, fate.reason, extra=extra)


def alert(message: MessageView) -> None:
    """Tell in the log that a message is parked."""
    log.warning(
        "message to %s is parked (%s): a person must look, see `sphero message list --state parked`",
        message.destination,
        message.reason,
        extra={"case": message.case_id, "control_id": message.control_id},
    )
