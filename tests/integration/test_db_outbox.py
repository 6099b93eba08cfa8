"""The outbox: order, leases, outcomes, frozen bytes, many senders at once."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, delete, text, update

from db.errors import ConstraintBroken, IllegalMove, NotFound
from db.schema import Message
from db.session import Database
from db.states import MessageState
from db.views import MessageView
from tests.database_examples import ManualClock, accept, enqueue, queued_cases

SENDERS = 4


def claim(database: Database, owner: str = "s", **options: int) -> MessageView | None:
    with database.transaction(owner) as work:
        return work.outbox.claim_due("LIS", owner, 60, **options)


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


@pytest.mark.parametrize("column", ["body", "sha256", "control_id", "order_key", "position", "case_id"])
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
        assert work.outbox.next_due_at("LIS") == clock.now  # the second one waits, though held back
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
        assert work.outbox.next_due_at("LIS") == clock.now + timedelta(seconds=60)
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
        message = work.outbox.claim_due("LIS", sys.argv[2], 60)
    if message is None:
        break
    print(message.position, flush=True)
    with database.transaction(sys.argv[2]) as work:
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
