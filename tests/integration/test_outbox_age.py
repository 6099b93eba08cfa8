"""When it is told that results wait too long; on both databases."""

from __future__ import annotations

from datetime import timedelta

from db.session import Database
from flows.outbox_age import AGAIN, OutboxAge
from tests.database_examples import ManualClock, accept, enqueue, queued_cases

LIMIT = timedelta(hours=1)


def test_the_oldest_message_of_each_destination_is_told_once_and_again_after_hours(
    database: Database, clock: ManualClock
) -> None:
    queued_cases(database, 2)
    with database.transaction("test") as work:
        enqueue(work, accept(work, "26-0", "field 0").case_id, destination="archive")
    age, elsewhere = OutboxAge(database, LIMIT), OutboxAge(database, LIMIT)
    assert age.look(clock.now) == []

    clock.advance(LIMIT.total_seconds())
    told = age.look(clock.now)
    assert [(late.destination, late.waiting, late.minutes) for late in told] == [("LIS", 2, 60), ("archive", 1, 60)]
    assert age.look(clock.now + timedelta(minutes=5)) == []
    assert elsewhere.look(clock.now) == told, "another machine tells the same event"

    clock.advance(AGAIN.total_seconds())
    again = age.look(clock.now)
    assert [late.destination for late in again] == ["LIS", "archive"]
    assert {late.event_id for late in again}.isdisjoint(late.event_id for late in told)


def test_what_was_delivered_is_not_told_and_the_next_that_waits_is(database: Database, clock: ManualClock) -> None:
    queued_cases(database, 1)
    age = OutboxAge(database, LIMIT)
    clock.advance(LIMIT.total_seconds())
    (first,) = age.look(clock.now)
    with database.transaction("test") as work:
        (message,) = work.outbox.list()
        work.outbox.skip(message.message_id, "by phone")
    assert age.look(clock.now) == []
    with database.transaction("test") as work:
        enqueue(work, accept(work, "26-2", "other").case_id)
    assert age.look(clock.now) == [], "it waits from now on"
    clock.advance(LIMIT.total_seconds())
    (second,) = age.look(clock.now)
    assert second.event_id != first.event_id
