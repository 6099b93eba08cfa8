"""SIGKILL of a sender at every step between the commit that takes messages and the one that records their fate.

    python -m tests.reliability.outbox_kills [--kills 100] [--postgresql] [--way WAY] [--step STEP] [--json FILE]

For each step a sender process is killed so many times, each time at another message, and begun anew as the service does it,
while further messages are queued. The receiver is python-hl7's server in a process of its own, or a folder that somebody
empties. In the end every message was received, repeats are byte-identical, no message of a case came after a later one, each
is delivered in the database, and the audit chain is whole. The exit code is 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import hl7
from sqlalchemy import event
from sqlalchemy.orm import Session

from db.context import utc_now
from db.session import Database
from db.states import MessageState
from db.views import MessageView
from flows.backoff import Backoff
from flows.deliver import Sender
from flows.transports import BatchTransport, MllpTransport, Transport
from integrations.hl7.ack import AckPolicy, Decision
from integrations.hl7.batch_file import STEPS, BatchFolder
from integrations.hl7.control_id import stamp_control_id
from integrations.hl7.mllp import Delivery, Endpoint, MllpClient
from tests.hl7_examples import message
from tests.lis_process import lis_process, received

OWNER = "kills/sender"
MLLP_STEPS = ("taken", "sent", "answered", "recording", "recorded")
FILE_STEPS = ("taken", *STEPS, "recording", "recorded")
FURTHEST = {
    "taken": 7,
    "sent": 7,
    "answered": 7,
}  # a sender is killed at the first to so many-th time a step is reached
CASES_AT_ONCE = 3
FILE_MESSAGES = 5
WAYS = {"mllp": MLLP_STEPS, "files": FILE_STEPS}
Kill = Callable[[str], None]


@dataclass(slots=True)
class Figures:
    """What one step's kills led to.

    Attributes
    ----------
    lost : int
        Messages that were never received.
    repeats : int
        Receptions beyond the first.
    altered : int
        Receptions whose bytes are not those that were queued.
    disordered : int
        Cases of which a message came after a later one.
    undelivered : int
        Messages that are not delivered in the database.
    audit_problems : int
    left_over : int
        Temporary files.
    """

    way: str
    step: str
    database: str
    kills: int = 0
    messages: int = 0
    repeats: int = 0
    lost: int = 0
    altered: int = 0
    disordered: int = 0
    undelivered: int = 0
    audit_problems: int = 0
    left_over: int = 0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, changed, or out of order."""
        faults = (self.lost, self.altered, self.disordered, self.undelivered, self.audit_problems, self.left_over)
        return not any(faults)


class Receiver(Protocol):
    """Where messages go to."""

    def transport(self, kill: Kill) -> Transport: ...


@dataclass(slots=True)
class Connection:
    """The receiver behind a connection."""

    port: int
    kept: Path

    def transport(self, kill: Kill) -> Transport:
        class Watched(MllpClient):
            def _hand_over(self, *arguments: Any) -> None:
                super()._hand_over(*arguments)
                kill("sent")

        return MllpTransport(Watched(Endpoint("lis", "127.0.0.1", self.port)), AckPolicy())

    def take(self, rng: random.Random) -> None:
        """It takes by itself."""

    def received(self) -> list[bytes]:
        return received(self.kept)


@dataclass(slots=True)
class Folder:
    """The receiver that empties a folder, now and then."""

    folder: Path
    taken: list[bytes] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def transport(self, kill: Kill) -> Transport:
        return BatchTransport(BatchFolder(self.folder, checkpoint=kill))

    def take(self, rng: random.Random) -> None:
        """Take every visible file, in the order of their names."""
        if rng.random() < 0.5:
            return
        for path in sorted(self.folder.glob("[!.]*")):
            content = path.read_bytes()
            if self.files.setdefault(path.name, content) != content:
                raise RuntimeError("a file was written again with other bytes")
            self.taken += [str(each).encode() for batch in hl7.parse_file(content.decode()) for each in batch]
            path.unlink()

    def received(self) -> list[bytes]:
        self.take(random.Random(2))  # whose first number is above a half
        return self.taken


class Watched:
    """A transport that tells its steps."""

    def __init__(self, inner: Transport, kill: Kill) -> None:
        self._inner = inner
        self._kill = kill
        self.in_one_file = inner.in_one_file
        self.probe, self.close = inner.probe, inner.close

    def send(self, messages: Sequence[MessageView]) -> Delivery:
        self._kill("taken")
        delivery = self._inner.send(messages)
        self._kill("answered")
        return delivery

    def decide(self, delivery: Delivery) -> Decision:
        return self._inner.decide(delivery)


def send_until_killed(database: Database, receiver: Receiver, step: str, number: int) -> None:
    """Drain the outbox, and end without warning at the `number`-th time that `step` is reached."""
    left = number

    def kill(at: str) -> None:
        nonlocal left
        if at == step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    transport = Watched(receiver.transport(kill), kill)
    in_files = isinstance(receiver, Folder)
    sender = Sender(
        name="lis",
        database=database,
        transport=transport,
        owner=OWNER,
        lease_seconds=120,
        clock=utc_now,
        at_once=FILE_MESSAGES if in_files else 50,
        backoff=Backoff(0.01, 0.05),
        resend=Backoff(0.01, 0.05),
    )
    record = sender._recorder.record

    def recorded() -> list[MessageView]:
        after = record()
        if after:
            kill("recorded")
        return after

    def committing(_: Session) -> None:
        if sender._recorder._open:
            kill("recording")

    sender._recorder.record = recorded  # type: ignore[method-assign]
    event.listen(Session, "before_commit", committing)
    try:
        while sender.drain():
            pass
    finally:
        event.remove(Session, "before_commit", committing)
        sender.close()


def run_child(database: Database, receiver: Receiver, step: str, number: int) -> bool:
    """Run a sender in a process of its own; whether it was killed."""
    database.close()  # no connection goes into another process
    child = os.fork()
    if child == 0:
        try:
            send_until_killed(database, receiver, step, number)
        except BaseException as error:  # noqa: BLE001  # the end of a process that was forked
            print(f"the sender ended: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError(f"a sender ended by itself, status {status}")
    return False


def recover(database: Database) -> None:
    """What the service does at its start."""
    with database.transaction("service") as work:
        work.outbox.release_leases(OWNER)


def queue(database: Database, template: bytes, queued: dict[str, bytes], cases: int) -> None:
    """Queue two versions for each of some new cases, all first ones before all second ones."""
    with database.transaction("test") as work:
        ids = [work.identities.find_or_create(f"K{len(queued)}-{number}") for number in range(cases)]
        for revision in (1, 2):
            for case_id in ids:
                control_id = f"K{len(queued):07d}V{revision}"
                body = stamp_control_id(template, control_id)
                work.outbox.enqueue(case_id, revision, "lis", order_key=case_id, control_id=control_id, body=body)
                queued[control_id] = body


def kill_at(step: str, kills: int, database: Database, receiver: Connection | Folder, figures: Figures) -> Figures:
    """Kill senders at one step, let the last one finish, and look what came of it."""
    rng = random.Random(step)
    furthest = 2 if isinstance(receiver, Folder) else FURTHEST.get(step, 2)
    template, queued = message(1), dict[str, bytes]()
    begin = time.monotonic()
    queue(database, template, queued, CASES_AT_ONCE)
    send_until_killed(database, receiver, "none", 1)  # statements are compiled once, and inherited
    while figures.kills < kills:
        queue(database, template, queued, CASES_AT_ONCE)
        figures.kills += run_child(database, receiver, step, rng.randint(1, furthest))
        receiver.take(rng)
        recover(database)
    while run_child(database, receiver, "none", 1):
        pass
    figures.messages = len(queued)
    look(database, receiver.received(), queued, figures)
    if isinstance(receiver, Folder):
        figures.left_over = sum(1 for _ in receiver.folder.iterdir())
    figures.seconds = round(time.monotonic() - begin, 1)
    return figures


def look(database: Database, arrived: Sequence[bytes], queued: dict[str, bytes], figures: Figures) -> None:
    """Compare what arrived with what was queued and what the database says."""
    with database.reading() as work:
        rows = work.outbox.list(limit=1_000_000)
        figures.audit_problems = len(work.audit.verify().problems)
    figures.undelivered = sum(row.state is not MessageState.DELIVERED for row in rows)
    places: dict[str, list[int]] = {}
    for place, body in enumerate(arrived):
        control_id = body.split(b"|")[9].decode()
        figures.altered += queued.get(control_id, b"").rstrip(b"\r") != body.rstrip(b"\r")
        places.setdefault(control_id, []).append(place)
    figures.lost = len(queued.keys() - places.keys())
    figures.repeats = len(arrived) - len(places)
    by_case: dict[str, list[str]] = {}
    for row in rows:
        by_case.setdefault(row.case_id, []).append(row.control_id)
    for first, second in by_case.values():
        if first in places and second in places:
            figures.disordered += max(places[first]) > min(places[second])


@contextmanager
def receivers(way: str, folder: Path) -> Iterator[Connection | Folder]:
    """The receiver of one way."""
    if way == "files":
        (folder / "files").mkdir()
        yield Folder(folder / "files")
        return
    kept = folder / "received"
    kept.touch()
    with lis_process(kept) as port:
        yield Connection(port, kept)


def measure(
    ways: Sequence[str],
    only: Sequence[str],
    kills: int,
    new_database: Callable[[Path], str],
    told: Callable[[Figures], None],
) -> list[Figures]:
    """Kill at every step, each with a database of its own."""
    found = []
    for way in ways:
        for step in [each for each in WAYS[way] if not only or each in only]:
            with tempfile.TemporaryDirectory() as name, receivers(way, Path(name)) as receiver:
                url = new_database(Path(name))
                with Database(url) as database:
                    database.upgrade()
                    figures = Figures(way, step, url.partition(":")[0].partition("+")[0])
                    found.append(kill_at(step, kills, database, receiver, figures))
            told(found[-1])
    return found


def main() -> int:
    """Run it; 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--postgresql", action="store_true", help="on a private PostgreSQL instead of SQLite")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one; both by default")
    parser.add_argument("--step", action="append", default=[], help="only this one; all by default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    def told(figures: Figures) -> None:
        print(json.dumps(asdict(figures)), flush=True)  # noqa: T201  # figures are what this program is for

    if options.postgresql:
        from tests.postgresql import PostgresqlServer, find_binaries

        with PostgresqlServer(find_binaries()) as server:
            found = measure(
                options.way or list(WAYS), options.step, options.kills, lambda _: server.create_database()[1], told
            )
    else:
        found = measure(
            options.way or list(WAYS),
            options.step,
            options.kills,
            lambda folder: f"sqlite:///{folder / 'sphero.db'}",
            told,
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(each) | {"holds": each.holds} for each in found], indent=2) + "\n")
    return 0 if all(each.holds for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
