"""The way of a DICOM object to an archive: the message names the file, whose bytes are checked and sent as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from db.object_views import NewObject
from db.views import MessageView
from integrations.dicom.object_store import ObjectStore
from integrations.dicom.storing import FrozenObject, StoreAnswer, StoreOutcome
from integrations.errors import FramingError, ObjectDamaged
from integrations.hl7.ack import Decision, Outcome
from integrations.hl7.mllp import Delivery


class ArchiveClient(Protocol):
    """What sends objects to one archive: `StoreScu` or `StowClient`."""

    def probe(self) -> str | None:
        """Return None where the archive can be reached, or in words why not."""

    def send(self, made: FrozenObject) -> StoreAnswer:
        """Send one object and wait for the answer, within a time that is known beforehand."""

    def close(self) -> None:
        """Let go of what is kept open."""


class ArchiveTransport:
    """One object after the other.

    Parameters
    ----------
    client : ArchiveClient
    objects : ObjectStore
    """

    in_one_file = False

    def __init__(self, client: ArchiveClient, objects: ObjectStore) -> None:
        self._client = client
        self._objects = objects

    def probe(self) -> str | None:
        """Connect, if there is no connection."""
        return self._client.probe()

    def send(self, messages: Sequence[MessageView]) -> Delivery:
        """See `flows.transports.Transport.send`; an object whose file was changed does not leave."""
        (message,) = messages
        made = object_of(message)
        try:
            path = self._objects.checked(made.stored_name, made.sha256)
        except ObjectDamaged as error:
            raise FramingError(str(error)) from None
        answer = self._client.send(
            FrozenObject(path, made.sop_class_uid, made.sop_instance_uid, made.transfer_syntax_uid, made.size_bytes)
        )
        return Delivery(_OUTCOMES[answer.outcome], answer.reason, answer.seconds, status=answer.code)

    def decide(self, delivery: Delivery) -> Decision:
        """What is stored is delivered, what is refused waits for a person; all else goes out again, the same."""
        return _DECISIONS[delivery.outcome]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def object_of(message: MessageView) -> NewObject:
    """The object that a message brings, as its frozen body names it.

    Raises
    ------
    FramingError
        The message brings no object.
    """
    try:
        return NewObject(**json.loads(message.body))
    except (ValueError, TypeError):
        raise FramingError("the message names no DICOM object; was the destination's kind changed?") from None


# An archive that is busy or away is left alone, and costs the messages no attempts.
_OUTCOMES = {
    StoreOutcome.ACCEPTED: Outcome.ACKNOWLEDGED,
    StoreOutcome.REFUSED: Outcome.REJECTED,
    StoreOutcome.BUSY: Outcome.REFUSED,
    StoreOutcome.NOT_SENT: Outcome.REFUSED,
    StoreOutcome.UNKNOWN: Outcome.UNKNOWN,
}
_DECISIONS = {
    Outcome.ACKNOWLEDGED: Decision.DELIVERED,
    Outcome.REJECTED: Decision.PARK,
    Outcome.REFUSED: Decision.BACKOFF,
    Outcome.UNKNOWN: Decision.RESEND,
}
