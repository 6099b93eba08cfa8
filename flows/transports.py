"""The ways to a destination, as a sender sees them: `integrations` knows bytes, the outbox knows messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from db.views import MessageView
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

    def close(self) -> None:
        """Let go of what is kept open."""


class MllpTransport:
    """One message after the other over one connection that is kept."""

    in_one_file = False

    def __init__(self, client: MllpClient) -> None:
        self._client = client

    def probe(self) -> str | None:
        """Connect, if there is no connection."""
        return self._client.probe()

    def send(self, messages: Sequence[MessageView]) -> Delivery:
        """See `Transport.send`."""
        (message,) = messages
        return self._client.send(message.body)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
