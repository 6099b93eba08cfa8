"""What monitoring asks the tables, on both databases."""

from __future__ import annotations

from db.session import Database
from db.states import CaseState, FieldState, HoldReason, MessageState
from db.watch_views import TriedMessage
from tests.database_examples import BUNDLE, ManualClock, accept, enqueue, findings, report, to_state

ACK = 0.25


def test_it_counts_what_is_there_and_says_since_when(database: Database, clock: ManualClock) -> None:
    with database.transaction("test") as work:
        to_state(work, CaseState.COMPLETE, "A", "a")
        held = to_state(work, CaseState.OPEN, "B", "b")
        work.cases.hold(held, HoldReason.NO_PATIENT)
        first_at = clock.now
    clock.advance(100)
    with database.transaction("test") as work:
        reported = to_state(work, CaseState.REPORTED, "C", "c")
        enqueue(work, reported)
        queued_at = clock.now
        to_state(work, CaseState.COMPLETE, "D", "d")
    with database.reading() as work:
        standing, percents = work.watch.standing(), work.watch.spherocyte_percents(10)
    assert standing.cases[CaseState.COMPLETE].count == 2
    assert standing.cases[CaseState.COMPLETE].oldest_at == first_at
    assert standing.cases[CaseState.SIGNED].count == 0
    assert standing.cases[CaseState.SIGNED].oldest_at is None
    assert (standing.held[HoldReason.NO_PATIENT], standing.held[HoldReason.CONFLICT]) == (1, 0)
    assert (standing.fields[FieldState.ACCEPTED], standing.fields[FieldState.ANALYSED]) == (3, 1)
    assert standing.outbox["LIS"].counts == {MessageState.WAITING: 1}
    assert standing.outbox["LIS"].oldest_at == queued_at
    assert percents == (10.0,)


def test_only_the_latest_version_of_a_case_counts(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.REPORTED, "A", "a")
        accept(work, "A", "late")
    with database.transaction("test") as work:
        (late,) = work.fields.of_case(case_id, FieldState.ACCEPTED)
        work.cases.complete(case_id)
        assert work.cases.claim(case_id, "w", 60)
        work.analyses.record(late.field_id, BUNDLE, findings())
        work.cases.analysed(case_id, owner="w")
        report(work, case_id, revision=2)
    with database.reading() as work:
        assert work.watch.spherocyte_percents(10) == (10.0,)


def test_what_happened_is_told_once_and_only_attempts_count(database: Database, clock: ManualClock) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.REPORTED)
        enqueue(work, case_id)
        bad = accept(work, "26-2", "bad")
    with database.reading() as work:
        before = work.watch.since(0, most=1000)
        last = work.watch.last()
    assert before.until == last
    (field,) = before.fields
    assert (field.seconds, field.passes, field.refused_for) == (0.25, 2, ("blurred", "thin — end"))

    def claim() -> str:
        with database.transaction("sender") as work:
            (message,) = work.outbox.claim_due("LIS", "me", 60, most=1)
            return message.message_id

    message_id = claim()
    with database.transaction("sender") as work:
        work.outbox.retry(message_id, "me", at=clock.now, reason="AR", spends_attempt=True)
    claim()
    with database.transaction("sender") as work:
        work.outbox.give_back(message_id, "me", reason="not sent")
    claim()
    with database.transaction("sender") as work:
        work.outbox.delivered(message_id, "me", ack_code="AA", ack=b"MSA|AA", seconds=ACK)
        work.fields.quarantine(bad.field_id, "no picture")
    with database.reading() as work:
        after = work.watch.since(last)
        assert work.watch.since(after.until).messages == ()
    assert [(each.outcome, each.ack_seconds) for each in after.messages] == [
        (MessageState.RETRY, None),
        (MessageState.DELIVERED, ACK),
    ]
    assert (after.fields, after.quarantined) == ((), 1)
    seen: list[TriedMessage] = []
    with database.reading() as work:
        until = last
        while (part := work.watch.since(until, most=2)).until != until:
            seen += part.messages
            until = part.until
    assert seen == list(after.messages)
