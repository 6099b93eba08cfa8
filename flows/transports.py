"""The ways to a destination, as a sender sees them: `integrations` knows bytes, the outbox knows messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from db.views import MessageView
from integrations.errors import FramingError
from integrations.hl7.ack import AckPolicy, Decision, Outcome
from integrations.hl7.batch_file import BatchFolder
from integrations.hl7.mllp import Delivery, MllpClient


class Transport(Protocol):
    """One destination's way.

    Attributes
    ----------
    in_one_file : bool
        Whether messages that are taken at once leave in one piece, and so have one fate.
    """

    @property
    def in_one_file(self) -> bool:
        """See above."""

    def probe(self) -> str | None:
        """Return None where the destination can be reached, or in words why not; nothing is sent."""

    def send(self, messages: Sequence[MessageView]) -> Delivery:
        """Send and wait for the answer, within a time that is known beforehand.

        Parameters
        ----------
        messages : sequence of MessageView
            One, unless `in_one_file`.

        Raises
        ------
        FramingError
            The bytes cannot leave this way. Nothing was sent.
        """

    def decide(self, delivery: Delivery) -> Decision:
        """What the outcome of an attempt means for its messages."""

    def close(self) -> None:
        """Let go of what is kept open."""


class MllpTransport:
    """One message after the other over one connection that is kept."""

    in_one_file = False

    def __init__(self, client: MllpClient, policy: AckPolicy) -> None:
        self._client = client
        self._policy = policy

    def probe(self) -> str | None:
        """Connect, if there is no connection."""
        return self._client.probe()

    def send(self, messages: Sequence[MessageView]) -> Delivery:
        """See `Transport.send`."""
        (message,) = messages
        return self._client.send(message.body)

    def decide(self, delivery: Delivery) -> Decision:
        """By the destination's table of answers."""
        return delivery.decision(self._policy)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class BatchTransport:
    """Several messages in one file, which the receiver takes out of a folder; there are no answers."""

    in_one_file = True

    def __init__(self, folder: BatchFolder) -> None:
        self._folder = folder

    def probe(self) -> str | None:
        """Look whether the folder can be written."""
        return self._folder.probe()

    def send(self, messages: Sequence[MessageView]) -> Delivery:
        """See `Transport.send`."""
        number = messages[0].batch
        if number is None:
            raise FramingError("the messages have no file number; it is given when they are taken")
        return self._folder.put(number, [message.body for message in messages])

    def decide(self, delivery: Delivery) -> Decision:
        """A file that is durably there is delivered; one that may be there is written again, the same."""
        return _OF_FILES[delivery.outcome]

    def close(self) -> None:
        """Nothing is kept open."""


_OF_FILES = {
    Outcome.ACKNOWLEDGED: Decision.DELIVERED,
    Outcome.REJECTED: Decision.PARK,
    Outcome.REFUSED: Decision.BACKOFF,
    Outcome.UNKNOWN: Decision.RESEND,
}
