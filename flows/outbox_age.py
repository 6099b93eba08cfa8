"""Says in Prefect when results wait too long: its automations see events, and not the age of a message."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from prefect.events import emit_event

from db.session import Database
from db.views import OutboxMeasures

LATE = "spheroflow.outbox.late"
AGAIN = timedelta(hours=6)  # while nothing changes people are told once more
_NAMES = uuid.UUID("5f0b9d5e-6a3c-5d0c-9a55-6f1d3a5a7c11")


@dataclass(frozen=True, slots=True)
class Late:
    """A destination whose oldest message waits too long: how many wait, and the oldest for how many minutes."""

    event_id: uuid.UUID
    destination: str
    waiting: int
    minutes: int


class OutboxAge:
    """Looks at the oldest message of each destination that is not accepted.

    Parameters
    ----------
    database : Database
    limit : timedelta
    """

    def __init__(self, database: Database, limit: timedelta) -> None:
        self._database = database
        self._limit = limit
        self._told: set[uuid.UUID] = set()

    def look(self, now: datetime) -> list[Late]:
        """What is to be told now: of each destination whose oldest message waits too long, once, and again each `AGAIN`.

        Raises
        ------
        DatabaseError
        """
        with self._database.reading() as work:
            measures = [work.outbox.measures(destination) for destination in work.outbox.destinations()]
        late = [each for each in (self._late(measure, now) for measure in measures) if each is not None]
        fresh = [each for each in late if each.event_id not in self._told]
        self._told = {each.event_id for each in late}
        return fresh

    def _late(self, measure: OutboxMeasures, now: datetime) -> Late | None:
        since = measure.oldest_unsent_at
        if since is None or now - since < self._limit:
            return None
        # The same on every machine that looks: Prefect takes an event of one id once.
        times = (now - since - self._limit) // AGAIN
        return Late(
            event_id=uuid.uuid5(_NAMES, f"{measure.destination} {since.isoformat()} {times}"),
            destination=measure.destination,
            waiting=measure.depth + measure.parked,
            minutes=int((now - since).total_seconds() // 60),
        )


def tell_late(late: Late) -> None:
    """Say it as an event in Prefect."""
    emit_event(
        LATE,
        {
            "prefect.resource.id": f"spheroflow.destination.{late.destination}",
            "prefect.resource.name": late.destination,
        },
        payload={"destination": late.destination, "waiting": late.waiting, "minutes": late.minutes},
        id=late.event_id,
    )
