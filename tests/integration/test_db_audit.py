"""The audit chain: append only, one order under many writers, every kind of tampering found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, create_engine, insert, text, update

from db.audit import GENESIS, event_hash
from db.errors import ConstraintBroken, DamagedRecord
from db.schema import AuditHeadRow, AuditRow
from db.session import Database
from db.views import AuditEvent, AuditHead
from tests.database_examples import accept

WRITERS = 8


def write(database: Database, events: int, actor: str = "test") -> None:
    for number in range(events):
        with database.transaction(actor) as work:
            work.audit.append("tried", None, number=number)
            work.audit.append("done", None, number=number, text="ü")


@contextmanager
def forging(url: str) -> Iterator[Connection]:
    """A connection of somebody who may do anything in the database, the triggers removed."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for trigger in ("audit_events_frozen", "audit_events_kept", "audit_head_kept", "audit_head_moves_on"):
            table = f" ON {trigger.rsplit('_', 1)[0].removesuffix('_moves')}" if engine.name == "postgresql" else ""
            connection.execute(text(f"DROP TRIGGER {trigger}{table}"))
        yield connection
    engine.dispose()


def test_a_chain_begins_at_nothing_and_verifies(database: Database) -> None:
    with database.reading() as work:
        assert work.audit.verify().intact
        assert work.audit.head() == AuditHead(0, GENESIS)
    write(database, 3, "somebody")
    with database.reading() as work:
        events, verdict = work.audit.list(), work.audit.verify()
        assert verdict.intact
        assert verdict.head == work.audit.head() == AuditHead(6, events[-1].hash)
        assert work.audit.list(after=4, limit=1) == events[4:5]
    assert [(event.sequence, event.actor, event.detail) for event in events[:2]] == [
        (1, "somebody", '{"number":0}'),
        (2, "somebody", '{"number":0,"text":"ü"}'),
    ]


def test_events_of_a_case_are_found(database: Database) -> None:
    with database.transaction("test") as work:
        one, two = accept(work, "26-1", "one"), accept(work, "26-2", "two")
    with database.reading() as work:
        assert {event.case_id for event in work.audit.list(one.case_id)} == {one.case_id}
        assert len(work.audit.list()) == 2 * len(work.audit.list(two.case_id))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_events SET detail = '{}'",
        "UPDATE audit_events SET hash = hash",
        "DELETE FROM audit_events WHERE sequence = 2",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET sequence = 1",
        "UPDATE audit_head SET hash = 'x'",
    ],
)
def test_the_database_refuses_to_change_the_log(database: Database, change: str) -> None:
    write(database, 2)
    with pytest.raises(ConstraintBroken), database.transaction("test") as work:
        work.audit._session.execute(text(change))
    with database.reading() as work:
        assert work.audit.verify().intact


def test_postgresql_refuses_to_empty_the_log(postgresql_url: str) -> None:
    with Database(postgresql_url) as database:
        database.upgrade()
        for table in ("audit_events", "audit_head", "reports", "messages"):
            with pytest.raises(ConstraintBroken), database.transaction("test") as work:
                work.audit._session.execute(text(f"TRUNCATE {table} CASCADE"))


def edit(connection: Connection, column: str, value: object) -> None:
    connection.execute(update(AuditRow).where(AuditRow.sequence == 3).values({column: value}))


def swap(connection: Connection) -> None:
    for sequence, target in ((3, 99), (4, 3), (99, 4)):
        connection.execute(update(AuditRow).where(AuditRow.sequence == sequence).values(sequence=target))


def cut(connection: Connection, *sequences: int) -> None:
    for sequence in sequences:
        connection.execute(text("DELETE FROM audit_events WHERE sequence = :n"), {"n": sequence})


def close_gap(connection: Connection) -> None:
    cut(connection, 3)
    for sequence in (4, 5, 6):
        connection.execute(update(AuditRow).where(AuditRow.sequence == sequence).values(sequence=sequence - 1))
    connection.execute(update(AuditHeadRow).values(sequence=5))


def put_in_at_the_end(connection: Connection) -> None:
    last = connection.execute(text("SELECT hash FROM audit_events WHERE sequence = 6")).scalar_one()
    forged = AuditEvent(7, AT, "nobody", "forged", None, "{}", last, "")
    connection.execute(insert(AuditRow), [asdict(chained(forged))])


AT = datetime(2020, 1, 1, tzinfo=UTC)


def chained(event: AuditEvent) -> AuditEvent:
    content = {name: value for name, value in asdict(event).items() if name != "hash"}
    return replace(event, hash=event_hash(**content))


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (lambda c: edit(c, "detail", '{"number":7}'), "event 3: its content"),
        (lambda c: edit(c, "actor", "somebody else"), "event 3: its content"),
        (lambda c: edit(c, "action", "other"), "event 3: its content"),
        (lambda c: edit(c, "case_id", "other"), "event 3: its content"),
        (lambda c: edit(c, "at", AT), "event 3: its content"),
        (lambda c: edit(c, "hash", "0" * 64), "event 4: is not chained"),
        (lambda c: edit(c, "previous_hash", "0" * 64), "event 3: is not chained"),
        (swap, "event 3: is not chained"),
        (lambda c: cut(c, 3), "event 4: follows on 2"),
        (lambda c: cut(c, 1), "event 2: follows on 0"),
        (close_gap, "event 3: its content"),
        (lambda c: cut(c, 5, 6), "event 4: the chain does not end"),
        (lambda c: cut(c, 1, 2, 3, 4, 5, 6), "event 0: the chain does not end"),
        (put_in_at_the_end, "event 7: the chain does not end"),
        (lambda c: c.execute(text("DELETE FROM audit_head")), "event 6: the chain does not end"),
    ],
)
def test_tampering_is_found(
    database: Database, database_url: str, forge: Callable[[Connection], object], problem: str
) -> None:
    write(database, 3)
    with forging(database_url) as connection:
        forge(connection)
    with database.reading() as work:
        verdict = work.audit.verify()
    assert not verdict.intact
    assert any(found.startswith(problem) for found in verdict.problems), verdict.problems


def test_a_chain_written_anew_is_found_by_the_head_kept_outside(database: Database, database_url: str) -> None:
    write(database, 3)
    with database.reading() as work:
        kept, events = work.audit.head(), work.audit.list()
    write(database, 1)
    with database.reading() as work:
        assert work.audit.verify([kept]).intact
    previous = GENESIS
    with forging(database_url) as connection:
        cut(connection, *range(1, 9))
        for event in events:
            forged = chained(replace(event, actor="somebody else", previous_hash=previous))
            connection.execute(insert(AuditRow), [asdict(forged)])
            previous = forged.hash
        connection.execute(update(AuditHeadRow).values(sequence=6, hash=previous))
    with database.reading() as work:
        assert work.audit.verify().intact
        assert work.audit.verify([kept]).problems == ("event 6: its hash is not the one that was kept outside",)
        assert work.audit.verify([AuditHead(8, "f" * 64)]).problems == ("event 8: was kept outside, but is not there",)


def test_without_its_head_nothing_is_written(database: Database, database_url: str) -> None:
    with forging(database_url) as connection:
        connection.execute(text("DELETE FROM audit_head"))
    with pytest.raises(DamagedRecord, match="backup"), database.transaction("test") as work:
        accept(work)
    with database.reading() as work:
        assert work.cases.list() == ()


def test_many_threads_write_one_chain(database: Database) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda number: write(database, 5, f"thread {number}"), range(WRITERS)))
    with database.reading() as work:
        verdict, events = work.audit.verify(), work.audit.list()
    assert verdict.intact, verdict.problems
    assert verdict.events == WRITERS * 5 * 2
    # The events of one transaction stand together.
    assert all(one.actor == two.actor for one, two in zip(events[::2], events[1::2], strict=True))


CHILD = """
import sys
from db.session import Database
database = Database(sys.argv[1])
for number in range(25):
    with database.transaction(sys.argv[2]) as work:
        work.audit.append("tried", number=number)
"""


def test_several_processes_write_one_chain(database: Database, database_url: str) -> None:
    children = [subprocess.Popen([sys.executable, "-c", CHILD, database_url, f"process {n}"]) for n in range(2)]
    write(database, 20, "parent")
    assert [child.wait(timeout=120) for child in children] == [0, 0]
    with database.reading() as work:
        verdict = work.audit.verify()
    assert verdict.intact, verdict.problems
    assert verdict.events == 2 * 25 + 40


def test_writers_of_different_cases_do_not_wait_for_each_other(postgresql_url: str) -> None:
    """The chain's head is locked only while committing: else the inner transaction would wait for the outer one."""
    with Database(postgresql_url, busy_seconds=5) as database:
        database.upgrade()
        with database.transaction("test") as work:
            one, two = accept(work, "26-1", "one").case_id, accept(work, "26-2", "two").case_id
        with database.transaction("outer") as outer:
            outer.cases.complete(one)
            with database.transaction("inner") as inner:
                inner.cases.complete(two)
        with database.reading() as work:
            assert [event.actor for event in work.audit.list(after=4)] == ["inner", "outer"]
            assert work.audit.verify().intact
