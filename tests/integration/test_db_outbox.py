"""The outbox: order, leases, outcomes, frozen bytes, many senders at once."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, delete, text, update

from db.errors import ConstraintBroken, IllegalMove, NotFound
from db.schema import Message
from db.session import Database
from db.states import MessageState
from db.views import AckLatency, Due, MessageView
from tests.database_examples import ManualClock, accept, enqueue, queued_cases

SENDERS = 4


def claim_all(database: Database, owner: str = "s", **options: Any) -> tuple[MessageView, ...]:
    with database.transaction(owner) as work:
        return work.outbox.claim_due("LIS", owner, 60, **options)


def claim(database: Database, owner: str = "s", **options: Any) -> MessageView | None:
    """Take one message; those that were parked meanwhile are left out."""
    taken = [message for message in claim_all(database, owner, **options) if message.state is MessageState.SENDING]
    return taken[0] if taken else None


def deliver(database: Database, message: MessageView, owner: str = "s") -> None:
    with database.transaction(owner) as work:
        assert work.outbox.delivered(message.message_id, owner, ack_code="AA", ack=b"MSA|AA")


def test_messages_leave_in_order_within_a_case_and_are_done_with_an_answer(database: Database) -> None:
    first, second = queued_cases(database, 2, revisions=2)
    seen = []
    while (message := claim(database)) is not None:
        seen.append((message.case_id, message.revision))
        assert message.body == f"MSH|{message.case_id}|{message.revision}\r".encode()
        deliver(database, message)
    assert seen == [(first, 1), (second, 1), (first, 2), (second, 2)]
    with database.reading() as work:
        done = work.outbox.of_case(first)[0]
        summary = work.outbox.summary("LIS")
    assert (done.state, done.ack_code, done.ack, done.attempts) == (MessageState.DELIVERED, "AA", b"MSA|AA", 1)
    assert (summary.counts[MessageState.DELIVERED], summary.oldest_unsent_at) == (4, None)


def test_a_message_is_frozen_once(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = accept(work).case_id
        first = enqueue(work, case_id)
        again = work.outbox.enqueue(case_id, 1, "LIS", order_key="x", control_id="other", body=b"other")
        other = enqueue(work, case_id, destination="archive")
        with pytest.raises(NotFound):
            enqueue(work, "nothing")
    assert again == first
    assert other.message_id != first.message_id
    assert "MSH" not in repr(first)


@pytest.mark.parametrize("column", ["body", "sha256", "control_id", "order_key", "position", "edition", "supersedes"])
def test_the_database_refuses_to_change_what_is_frozen(database: Database, column: str) -> None:
    queued_cases(database, 1)
    for change in (update(Message).values({column: Message.__table__.c[column]}), delete(Message)):
        with pytest.raises(ConstraintBroken), database.transaction("test") as work:
            work.outbox._session.execute(change)


def test_altered_bytes_are_parked_and_never_sent(database: Database, database_url: str) -> None:
    first, second = queued_cases(database, 2)
    engine = create_engine(database_url)
    with engine.begin() as connection:
        on_table = " ON messages" if engine.dialect.name == "postgresql" else ""
        connection.execute(text(f"DROP TRIGGER messages_frozen{on_table}"))
        connection.execute(
            text("UPDATE messages SET body = :body WHERE case_id = :id"), {"body": b"forged", "id": first}
        )
    engine.dispose()
    message = claim(database)
    assert message is not None
    assert message.case_id == second
    with database.reading() as work:
        [parked] = work.outbox.of_case(first)
    assert (parked.state, parked.reason) == (MessageState.PARKED, "its bytes are not those that were frozen")


def test_a_parked_message_holds_back_only_its_own_case(database: Database) -> None:
    first, second = queued_cases(database, 2, revisions=2)
    message = claim(database)
    assert message is not None
    with database.transaction("s") as work:
        assert work.outbox.park(message.message_id, "s", reason="AE 207", ack_code="AE", ack=b"MSA|AE")
        assert not work.outbox.park(message.message_id, "s", reason="AE 207")
    sent = []
    while (following := claim(database)) is not None:
        sent.append((following.case_id, following.revision))
        deliver(database, following)
    assert sent == [(second, 1), (second, 2)]
    with database.transaction("operator") as work:
        assert work.outbox.get(message.message_id).ack == b"MSA|AE"
        work.outbox.skip(message.message_id, "sent by hand")
        work.outbox.skip(message.message_id, "sent by hand")
    following = claim(database)
    assert following is not None
    assert (following.case_id, following.revision) == (first, 2)


def test_retry_waits_for_its_time_and_holds_back_its_case(database: Database, clock: ManualClock) -> None:
    queued_cases(database, 1, revisions=2)
    message = claim(database)
    assert message is not None
    at = clock.now + timedelta(seconds=30)
    with database.transaction("s") as work:
        assert work.outbox.retry(message.message_id, "s", at=at, reason="refused", spends_attempt=False)
        assert not work.outbox.retry(message.message_id, "s", at=at, reason="refused", spends_attempt=False)
        assert work.outbox.due("LIS") == Due(0, None), "the second one waits, held back by the first"
    clock.advance(29.999)
    assert claim(database) is None
    clock.advance(0.001)
    again = claim(database)
    assert again is not None
    assert (again.message_id, again.body, again.control_id) == (message.message_id, message.body, message.control_id)
    assert again.attempts == 0
    with database.transaction("s") as work:
        assert work.outbox.unknown(message.message_id, "s", at=at, reason="no answer")
        assert work.outbox.get(message.message_id).attempts == 1


def test_spent_attempts_park(database: Database, clock: ManualClock) -> None:
    queued_cases(database, 1)
    for attempt in range(3):
        message = claim(database, max_attempts=3)
        assert message is not None
        assert message.attempts == attempt
        with database.transaction("s") as work:
            work.outbox.unknown(message.message_id, "s", at=clock.now, reason="garbled")
    assert claim(database, max_attempts=3) is None
    assert message is not None
    with database.transaction("operator") as work:
        parked = work.outbox.get(message.message_id)
        assert (parked.state, parked.reason) == (MessageState.PARKED, "3 attempts without success")
        work.outbox.resend(message.message_id)
        work.outbox.resend(message.message_id)
    again = claim(database, max_attempts=3)
    assert again is not None
    assert (again.attempts, again.body) == (0, message.body)


def test_a_lost_lease_leads_to_the_same_bytes_again(database: Database, clock: ManualClock) -> None:
    queued_cases(database, 1)
    lost = claim(database, "dead")
    assert lost is not None
    assert claim(database, "s") is None
    with database.transaction("dead") as work:
        clock.advance(59)
        assert work.outbox.renew(lost.message_id, "dead", 60)
        clock.advance(60)
    again = claim(database, "s")
    assert again is not None
    assert (again.message_id, again.body, again.attempts) == (lost.message_id, lost.body, 1)
    with database.transaction("dead") as work:
        assert not work.outbox.renew(lost.message_id, "dead", 60)
        assert not work.outbox.retry(lost.message_id, "dead", at=clock.now, reason="x", spends_attempt=True)
        assert work.outbox.delivered(lost.message_id, "dead", ack_code="AA", ack=b"late but true")
    with database.transaction("s") as work:
        assert not work.outbox.unknown(lost.message_id, "s", at=clock.now, reason="no answer")
        assert work.outbox.delivered(lost.message_id, "s", ack_code="AA", ack=b"again")
        assert work.outbox.get(lost.message_id).ack == b"late but true"
        actions = [event.action for event in work.audit.list(lost.case_id)]
    assert actions.count("message sending") == 2
    assert actions.count("message unknown") == actions.count("message delivered") == 1


def test_leases_of_dead_senders_end_at_once(database: Database) -> None:
    queued_cases(database, 2)
    mine, other = claim(database, "host-1/9"), claim(database, "host-2/9")
    assert mine is not None
    assert other is not None
    with database.transaction("recovery") as work:
        assert (work.outbox.release_leases("host-1/"), work.outbox.release_leases("host-1/")) == (1, 0)
        assert work.outbox.get(mine.message_id).state is MessageState.UNKNOWN
    again = claim(database, "host-1/10")
    assert again is not None
    assert (again.message_id, again.body) == (mine.message_id, mine.body)


def test_what_an_operator_may_not_do(database: Database) -> None:
    queued_cases(database, 1)
    message = claim(database)
    assert message is not None
    for move in ("resend", "skip"):
        with pytest.raises(IllegalMove), database.transaction("operator") as work:
            work.outbox.resend(message.message_id) if move == "resend" else work.outbox.skip(message.message_id, "x")
    deliver(database, message)
    with pytest.raises(IllegalMove), database.transaction("operator") as work:
        work.outbox.skip(message.message_id, "x")
    with database.transaction("operator") as work:
        work.outbox.resend(message.message_id)
        assert not work.outbox.delivered(message.message_id, "s", ack_code="AA", ack=b"")
        assert work.outbox.get(message.message_id).state is MessageState.WAITING


def test_many_senders_never_send_the_same_and_keep_the_order(database: Database) -> None:
    queued_cases(database, 12, revisions=3)

    def send(owner: str) -> list[tuple[int, str, int]]:
        sent = []
        while (message := claim(database, owner)) is not None:
            sent.append((message.position, message.case_id, message.revision))
            deliver(database, message, owner)
        return sent

    with ThreadPoolExecutor(SENDERS) as pool:
        by_sender = list(pool.map(send, [f"s{number}" for number in range(SENDERS)]))
    # A sender that found only held-back messages has stopped; what it left goes now.
    by_sender.append(send("last"))
    sent = [message for messages in by_sender for message in messages]
    assert len(sent) == len({position for position, _, _ in sent}) == 36
    revisions = defaultdict(list)
    with database.reading() as work:
        for event in work.audit.list(limit=10_000):
            if event.action == "message delivered":
                revisions[event.case_id].append(event.sequence)
        verdict = work.audit.verify()
        order = {case_id: [message.revision for message in work.outbox.of_case(str(case_id))] for case_id in revisions}
    assert verdict.intact, verdict.problems
    assert all(revision == [1, 2, 3] for revision in order.values())
    assert len(revisions) == 12


CHILD = """
import sys
from db.schema import Message
from db.session import Database
database = Database(sys.argv[1])
while True:
    with database.transaction(sys.argv[2]) as work:
        messages = work.outbox.claim_due("LIS", sys.argv[2], 60, most=3)
    if not messages:
        break
    for message in messages:
        print(message.position, flush=True)
    with database.transaction(sys.argv[2]) as work:
        work.outbox.lock([message.message_id for message in messages])
        for message in messages:
            work.outbox.delivered(message.message_id, sys.argv[2], ack_code="AA", ack=b"")
"""


def test_senders_in_several_processes_share_the_queue(database: Database, database_url: str) -> None:
    queued_cases(database, 40)
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, database_url, f"p{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    sent = [int(line) for child in children for line in child.communicate(timeout=120)[0].split()]
    assert [child.returncode for child in children] == [0, 0]
    assert len(sent) == len(set(sent)) == 40
    with database.reading() as work:
        assert work.outbox.summary().counts[MessageState.DELIVERED] == 40
        assert work.audit.verify().intact


def test_several_are_taken_at_once_each_the_first_of_its_case(database: Database) -> None:
    first, second = queued_cases(database, 2, revisions=2)
    taken = claim_all(database, most=50)
    assert [(each.case_id, each.revision) for each in taken] == [(first, 1), (second, 1)]
    assert {each.state for each in taken} == {MessageState.SENDING}
    assert claim_all(database, "other", most=50) == ()
    with database.transaction("s") as work:
        work.outbox.lock([each.message_id for each in taken])
        assert work.outbox.delivered(taken[0].message_id, "s", ack_code="AA", ack=b"", seconds=0.25)
        assert work.outbox.give_back(taken[1].message_id, "s", reason="not sent")
        assert not work.outbox.give_back(taken[1].message_id, "s", reason="not sent")
        assert work.outbox.get(taken[0].message_id).state is MessageState.DELIVERED
    again = claim_all(database, most=50)
    assert [(each.case_id, each.revision, each.attempts) for each in again] == [(second, 1, 0), (first, 2, 0)]


def test_what_was_tried_before_is_taken_alone(database: Database, clock: ManualClock) -> None:
    queued_cases(database, 4)
    assert len(claim_all(database, "dead", most=3)) == 3
    clock.advance(61)
    taken = [claim_all(database, most=50) for _ in range(4)]
    assert [[each.attempts for each in some] for some in taken] == [[1], [1], [1], [0]]


def test_large_messages_are_taken_in_smaller_numbers(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    queued_cases(database, 5)
    size = len(claim_all(database, most=1)[0].body)
    monkeypatch.setattr("db.deliveries.CLAIM_BYTES", 2 * size)
    assert len(claim_all(database, most=50)) == 2
    monkeypatch.setattr("db.deliveries.CLAIM_BYTES", size - 1)
    assert len(claim_all(database, most=50)) == 1


def test_attempts_spent_by_crashes_park_and_are_told(database: Database, clock: ManualClock) -> None:
    queued_cases(database, 1)
    for _ in range(2):
        assert claim(database, "dead", max_attempts=2) is not None
        clock.advance(61)
    (parked,) = claim_all(database, max_attempts=2)
    assert (parked.state, parked.reason) == (MessageState.PARKED, "2 attempts without success")


def test_a_file_is_filled_again_with_the_same_messages(database: Database, clock: ManualClock) -> None:
    queued_cases(database, 3)
    first = claim_all(database, "dead", most=2, in_one_file=True)
    second = claim_all(database, "s", most=2, in_one_file=True)
    assert [[each.batch for each in some] for some in (first, second)] == [[1, 1], [2]]
    clock.advance(61)
    again = claim_all(database, most=1, in_one_file=True)
    assert [(each.message_id, each.batch, each.attempts) for each in again] == [
        (each.message_id, 1, 1) for each in first
    ]
    with database.transaction("s") as work:
        for each in again:
            assert work.outbox.give_back(each.message_id, "s", reason="the folder is away")
        assert [work.outbox.get(each.message_id).batch for each in again] == [None, None]


def test_a_corrected_message_supersedes_the_parked_one_and_keeps_its_history(database: Database) -> None:
    (case_id,) = queued_cases(database, 1)
    message = claim(database)
    assert message is not None
    with pytest.raises(IllegalMove, match="only a parked"), database.transaction("anna") as work:
        work.outbox.supersede(message.message_id, control_id="NEW", body=b"corrected")
    with database.transaction("s") as work:
        work.outbox.park(message.message_id, "s", reason="answered AE", ack_code="AE", ack=b"MSA|AE")
    for _ in range(2):
        with database.transaction("anna") as work:
            corrected = work.outbox.supersede(message.message_id, control_id="NEW", body=b"corrected")
    assert (corrected.edition, corrected.supersedes) == (2, message.message_id)
    with pytest.raises(IllegalMove, match="superseded by NEW"), database.transaction("anna") as work:
        work.outbox.resend(message.message_id)
    taken = claim(database)
    assert taken is not None
    assert (taken.body, taken.control_id) == (b"corrected", "NEW")
    with database.reading() as work:
        before = work.outbox.get(message.message_id)
        events = [(each.actor, each.action) for each in work.audit.list(case_id)]
        assert work.outbox.find("NEW").message_id == corrected.message_id
    assert (before.state, before.body, before.ack) == (MessageState.SKIPPED, message.body, b"MSA|AE")
    assert before.reason == "superseded by NEW"
    assert events[-3:-1] == [("anna", "message skipped"), ("anna", "message queued")]


def test_a_message_is_not_corrected_when_a_later_one_follows(database: Database) -> None:
    queued_cases(database, 1, revisions=2)
    message = claim(database)
    assert message is not None
    with database.transaction("s") as work:
        work.outbox.park(message.message_id, "s", reason="answered AE")
    with pytest.raises(IllegalMove, match="a later message"), database.transaction("anna") as work:
        work.outbox.supersede(message.message_id, control_id="NEW", body=b"corrected")


def test_lists_and_measures(database: Database, clock: ManualClock) -> None:
    first, second, _ = queued_cases(database, 3)
    started = clock.now
    clock.advance(100)
    with database.transaction("test") as work:
        enqueue(work, first, revision=2)
    one, two = claim_all(database, most=2)
    with database.transaction("s") as work:
        assert work.outbox.delivered(one.message_id, "s", ack_code="AA", ack=b"", seconds=0.5)
        assert work.outbox.park(two.message_id, "s", reason="answered AE")
        assert work.outbox.destinations() == ("LIS",)
        measures = work.outbox.measures("LIS")
        listed = work.outbox.list(MessageState.PARKED, destination="LIS", case_id=second)
        old = work.outbox.list(queued_before=started + timedelta(seconds=1))
    assert (measures.depth, measures.parked, measures.unknown) == (2, 1, 0)
    assert measures.oldest_unsent_at == started
    assert measures.latency == AckLatency(1, 0.5, 0.5, 0.5)
    assert [each.message_id for each in listed] == [two.message_id]
    assert len(old) == 3
