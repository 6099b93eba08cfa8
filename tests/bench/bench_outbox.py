"""Draining the outbox after an outage, beside python-hl7's asyncio client that sends the same bytes without a queue.

Both send to the same receiver, python-hl7's server in a process of its own. Ours takes, sends, checks each acknowledgement,
records and writes the audit chain, on SQLite and on PostgreSQL, each with its commits made durable.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import hl7.mllp

from db.context import utc_now
from db.session import Database
from db.states import MessageState
from flows.deliver import Sender
from flows.transports import MllpTransport
from integrations.hl7.ack import AckPolicy
from integrations.hl7.control_id import stamp_control_id
from integrations.hl7.mllp import Endpoint, MllpClient
from tests.bench.table import Row
from tests.hl7_examples import message
from tests.lis_process import lis_process
from tests.postgresql import PostgresqlServer, find_binaries

MESSAGES = 10_000
VERSIONS = 2  # messages of one case, which leave one after the other
FLOOR_PER_SECOND = 100.0


def measure() -> list[Row]:
    """Drain on each database, and send without one."""
    template = message(1)
    bodies = [stamp_control_id(template, f"BENCH{number:08d}") for number in range(MESSAGES)]
    size = f"{MESSAGES} messages of {len(template) / 1024:.1f} KiB"
    rows = []
    for name, database in _databases():
        bare = MESSAGES / _bare_seconds(bodies)
        _queue(database, bodies)
        rate = MESSAGES / _drain_seconds(database)
        _check(database)
        what = f"drain {size} from {name}"
        # Time per message, ours over the floor's: at most 1 where the floor holds.
        rows.append(Row(what, 1e3 / rate, "ms each", f"{FLOOR_PER_SECOND:.0f}/s", 1e3 / FLOOR_PER_SECOND, 1.0))
        rows.append(Row(what, 1e3 / rate, "ms each", "python-hl7's client, no queue", 1e3 / bare))
    return rows


@contextmanager
def _postgresql(folder: Path) -> Iterator[Database]:
    """A private server whose commits are durable, as in a hospital; the tests' own is not."""
    durable = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    with PostgresqlServer(find_binaries(), settings=durable) as server:
        _, url = server.create_database()
        with Database(url) as database:
            yield database


@contextmanager
def _sqlite(folder: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{folder / 'sphero.db'}") as database:
        yield database


def _databases() -> Iterator[tuple[str, Database]]:
    for name, opened in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as database:
            database.upgrade()
            yield name, database


def _queue(database: Database, bodies: Sequence[bytes]) -> None:
    """Queue the messages as an outage leaves them: the first versions of all cases, then the second ones."""
    with database.transaction("bench") as work:
        cases = [work.identities.find_or_create(f"B{number}") for number in range(len(bodies) // VERSIONS)]
    for begin in range(0, len(bodies), 500):
        with database.transaction("bench") as work:
            for number, body in enumerate(bodies[begin : begin + 500], start=begin):
                case_id, control_id = cases[number % len(cases)], f"BENCH{number:08d}"
                revision = 1 + number // len(cases)
                work.outbox.enqueue(case_id, revision, "lis", order_key=case_id, control_id=control_id, body=body)


def _drain_seconds(database: Database) -> float:
    with lis_process() as port:
        sender = Sender(
            name="lis",
            database=database,
            transport=MllpTransport(MllpClient(Endpoint("lis", "127.0.0.1", port)), AckPolicy()),
            owner="bench/sender",
            lease_seconds=80,
            clock=utc_now,
        )
        begin = time.perf_counter()
        sent = 0
        while tried := sender.drain():
            sent += len(tried)
        seconds = time.perf_counter() - begin
        sender.close()
    if sent != MESSAGES:
        raise RuntimeError(f"{sent} of {MESSAGES} messages were sent: {sender.problem}")
    return seconds


def _check(database: Database) -> None:
    """What was drained is delivered, in order for each case, and the audit chain is whole."""
    with database.reading() as work:
        delivered = work.outbox.list(MessageState.DELIVERED, limit=MESSAGES)
        intact = work.audit.verify().intact
    last: dict[str, tuple[int, datetime]] = {}
    for each in delivered:
        before = last.get(each.order_key, (0, datetime.min.replace(tzinfo=UTC)))
        if each.delivered_at is None or before > (each.revision, each.delivered_at):
            raise RuntimeError("the messages of a case left out of order")
        last[each.order_key] = (each.revision, each.delivered_at)
    if len(delivered) != MESSAGES or not intact:
        raise RuntimeError(f"{len(delivered)} of {MESSAGES} messages are delivered; audit chain intact: {intact}")


def _bare_seconds(bodies: Sequence[bytes]) -> float:
    async def send_all(port: int) -> float:
        reader, writer = await hl7.mllp.open_hl7_connection("127.0.0.1", port, encoding="utf-8")
        begin = time.perf_counter()
        for body in bodies:
            writer.writeblock(body)
            await writer.drain()
            await reader.readblock()
        seconds = time.perf_counter() - begin
        writer.close()
        return seconds

    with lis_process() as port:
        return asyncio.run(send_all(port))
