"""SIGKILL at each named point of the way from the folder to the acknowledgement, without Prefect.

    python -m tests.reliability.pipeline_kills [--kills 100] [--postgresql] [--point POINT] [--json FILE]

For each point a process that takes files in, analyses with a fake detector, reports and delivers to python-hl7's server is
killed so many times, each time at another case, and begun anew as the service does it. Files that are no pictures, and bytes that
came under another patient before, are among what it gets. In the end `tests.reliability.invariants` must hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from db.context import utc_now
from db.session import Database
from db.states import FieldState
from flows.backoff import Backoff
from flows.config import check_settings
from flows.deliver import Sender
from flows.disk import make_disk_guard
from flows.places import Places, places_of
from flows.services import Services
from flows.settings import Settings
from flows.wiring import make_profiles, make_services
from integrations.folder.staging import Staging
from sphero_core.image import DEFAULT_LIMITS, probe_image
from tests.fakes import BUNDLE, FakeEngine
from tests.lis_process import lis_process, received
from tests.reliability.invariants import Expected, problems, settled
from tests.reliability.outbox_kills import Connection, Watched
from tests.running import case_files, manifest

POINTS = (
    "copied", "synced", "renamed", "stored", "quarantined", "done-folder", "done",
    "completed", "claimed", "analysed", "recorded", "reporting", "reported",
    "taken", "sent", "answered", "delivered",
)  # fmt: skip
"""From the file's copy to the recorded answer; at `done-folder` the rows are committed and the source still lies there."""

OWNER = "kills/"
FIELDS = 2
FURTHEST = 3  # a process is killed at the first to so many-th time that it reaches a point
Kill = Callable[[str], None]


@dataclass(slots=True)
class Figures:
    """What the kills at one point led to."""

    point: str
    database: str
    kills: int = 0
    lives: int = 0
    cases: int = 0
    messages: int = 0
    repeats: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Pipeline:
    """Everything between the folder and the LIS, as the service wires it, in this process.

    Parameters
    ----------
    settings : Settings
    kill : callable
        Told each point.
    """

    def __init__(self, settings: Settings, database: Database, kill: Kill) -> None:
        self._kill = kill
        self._database = database
        places = places_of(settings)
        staging = Staging(
            incoming=places.incoming,
            store=places.store,
            quarantine=places.quarantine,
            inspect=probe_image,
            max_bytes=DEFAULT_LIMITS.max_bytes,
            checkpoint=kill,
        )
        staging.prepare()
        with database.transaction("service") as work:
            work.cases.release_leases(OWNER)
            work.outbox.release_leases(OWNER)
        nothing: Any = SimpleNamespace(file=None)
        self._services: Services = make_services(
            settings,
            places,
            database=database,
            staging=staging,
            model=nothing,
            senders={},
            profiles=make_profiles(settings),
            pictures=nothing,
            owner=f"{OWNER}worker",
            disk=make_disk_guard(settings, places),
            duties=nothing,
            stores=nothing,
            stopping=asyncio.Event(),
            nudge=lambda: None,
        )
        self._engine = FakeEngine(lambda: None)
        port = settings.hl7.destination[0].port
        self._sender = Sender(
            name="lis",
            database=database,
            transport=Watched(Connection(port, places.data).transport(kill), kill),
            owner=f"{OWNER}sender",
            lease_seconds=120,
            clock=utc_now,
            backoff=Backoff(0.01, 0.05),
            resend=Backoff(0.01, 0.05),
        )

    def run(self, done: Callable[[], bool]) -> None:
        """Do everything that is to be done, until `done`."""
        while not done():
            intake, completion = self._services.intake, self._services.completion
            for folder in intake.look().cases:
                if folder.ready:
                    intake.take(folder)
            if completion.finish(intake.look()):
                self._kill("completed")
            with self._database.reading() as work:
                cases = work.cases.unfinished(self._services.work.due)
            for number, case in enumerate(cases):
                self._analyse(case.case_id, f"{OWNER}worker/{number}")
            if self._sender.drain():
                self._kill("delivered")
        self._sender.close()

    def _analyse(self, case_id: str, owner: str) -> None:
        work = self._services.work
        case = work.claim(case_id, owner)
        self._kill("claimed")
        for each in work.fields(case_id):
            if each.state is FieldState.ACCEPTED:
                found = self._engine.analyse(work.task(case, each), 40.0)
                self._kill("analysed")
                work.record(case, [(each, found)], BUNDLE)
                self._kill("recorded")

        def committing(_: Session) -> None:
            self._kill("reporting")

        event.listen(Session, "before_commit", committing)
        try:
            work.report(case, owner)
        finally:
            event.remove(Session, "before_commit", committing)
        self._kill("reported")


def never(_: str) -> None:
    """Kill nobody."""


def killing(point: str, number: int) -> Kill:
    """End this process without warning at the `number`-th time that it reaches a point."""
    left = number

    def kill(at: str) -> None:
        nonlocal left
        if at == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return kill


def live(settings: Settings, expected: Expected, kill: Kill) -> bool:
    """Run the pipeline in a process of its own, until all is done or it is killed; whether it was."""
    child = os.fork()
    if child == 0:
        try:
            with Database(settings.database.url) as database:
                Pipeline(settings, database, kill).run(lambda: settled(database, expected))
        except BaseException as error:  # noqa: BLE001  # the end of a process that was forked
            print(f"the pipeline ended: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError(f"a pipeline ended by itself, status {status}")
    return False


def drop(places: Places, expected: Expected, *, refused: bool = False, doubles: int | None = None) -> None:
    """Put one more case into the folder; `doubles`: with the pictures of that earlier case."""
    number = len(expected.fields) + 1
    accession, patient = f"ACC{number:06d}", f"PATIENT{number:06d}"
    files = case_files(doubles or number, FIELDS)
    if refused:
        files["notes.png"] = b"no picture %d" % number
        expected.refused[accession] += 1
    if doubles is not None:
        expected.doubled.add(accession)
    expected.fields[accession] = FIELDS
    folder = places.incoming / accession
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "case.json").write_text(json.dumps(manifest(patient, FIELDS + refused)))


def kill_at(point: str, kills: int, root: Path, url: str, figures: Figures) -> Figures:
    """Kill at one point so many times, let the last one finish, and look what came of it."""
    rng, begun, expected = random.Random(point), time.monotonic(), Expected()
    kept = root / "received"
    kept.touch()
    with lis_process(kept) as port:
        destination = {"name": "lis", "host": "127.0.0.1", "port": port}
        values = {
            "paths": {"data": str(root / "data")},
            "database": {"url": url},
            "folder": {"stable_seconds": 0, "quiet_seconds": 3600},
            "hl7": {"destination": [destination]},
        }
        settings = check_settings(values, root)
        places = places_of(settings)
        places.make()
        with Database(url) as database:
            database.upgrade()
        while figures.kills < kills:
            figures.lives += 1
            plain = len(expected.fields)
            for _ in range(FURTHEST - 1 if point != "quarantined" else 1):
                drop(places, expected, refused=point == "quarantined" or rng.random() < 0.1)
            if plain > 4 * FURTHEST and rng.random() < 0.1:
                drop(places, expected, doubles=1)
            figures.kills += live(settings, expected, killing(point, rng.randint(1, FURTHEST)))
        while live(settings, expected, never):
            pass
        with Database(url) as database:
            figures.problems = problems(
                database, expected, received(kept), store=places.store, quarantine=places.quarantine
            )
    arrived = [body.split(b"|")[9] for body in received(kept)]
    figures.cases, figures.messages = len(expected.fields), len(set(arrived))
    figures.repeats = len(arrived) - figures.messages
    figures.seconds = round(time.monotonic() - begun, 1)
    return figures


def measure(
    points: Sequence[str], kills: int, new_database: Callable[[Path], str], told: Callable[[Figures], None]
) -> list[Figures]:
    """Kill at every point, each with a database of its own."""
    found = []
    for point in points:
        with tempfile.TemporaryDirectory(prefix="sphero-kills-") as name:
            url = new_database(Path(name))
            figures = Figures(point, url.partition(":")[0].partition("+")[0])
            found.append(kill_at(point, kills, Path(name), url, figures))
        told(found[-1])
    return found


def main() -> int:
    """Run it; 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="at each point")
    parser.add_argument("--postgresql", action="store_true", help="on a private PostgreSQL instead of SQLite")
    parser.add_argument("--point", action="append", choices=POINTS, help="only this one; all by default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    def told(figures: Figures) -> None:
        print(json.dumps(asdict(figures)), flush=True)  # noqa: T201  # figures are what this program is for

    points = options.point or POINTS
    if options.postgresql:
        from tests.postgresql import PostgresqlServer, find_binaries

        with PostgresqlServer(find_binaries()) as server:
            found = measure(points, options.kills, lambda _: server.create_database()[1], told)
    else:
        found = measure(points, options.kills, lambda folder: f"sqlite:///{folder / 'sphero.db'}", told)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    return 1 if any(each.problems for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
