"""SIGKILL of any process of the running service, at random, while cases come in: nothing is lost, nothing told twice.

    python -m tests.reliability.kill_matrix [--kills 100] [--minutes M] [--postgresql] [--shipped] [--seed 1] [--json FILE]

The service is `sphero up` with a fake detector, or with `--shipped` the shipped one and drawn smears, its own Prefect server, the DICOM receiver, and python-hl7's server as LIS. A victim is its main process, the
whole process group, the model, the Prefect server or the receiver. A service whose main process was killed is started again;
what else was killed comes back by itself. `tests.reliability.invariants` must hold in the end, no process may be left, and no run of a case may
show as running. Named points without Prefect: `tests.reliability.pipeline_kills`. The exit code is 1 where something does not hold.
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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from db.session import Database
from sphero_core.synthetic import draw_smear, random_style
from tests.lis_process import lis_process, received
from tests.postgresql import PostgresqlServer, find_binaries
from tests.reliability.invariants import Expected, problems, settled
from tests.running import READY_SECONDS, Prefect, RunningService, case_files, manifest
from tests.support import free_port, wait_for

FIELDS = 3
VICTIMS = {"main": 3, "group": 2, "flows.model_child": 3, "flows.prefect_server": 2, "flows.receiver_child": 2}
"""What is killed, and how often beside the others."""
LONGEST_PAUSE = 3.0
SETTLE_EVERY = 10
PATIENCE_SECONDS = 900.0


Draw = Callable[[int, int], dict[str, bytes]]


@dataclass(slots=True)
class Figures:
    """What a run came to; `kills` by victim."""

    database: str
    detector: str
    seed: int
    kills: dict[str, int] = field(default_factory=dict)
    starts: int = 0
    cases: int = 0
    messages: int = 0
    repeats: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Matrix:
    """One service that is killed again and again.

    Parameters
    ----------
    service : RunningService
    figures : Figures
    rng : Random
    draw : callable
        Files of a case from a seed and a number of fields.
    """

    def __init__(self, service: RunningService, figures: Figures, rng: random.Random, draw: Draw) -> None:
        self._draw = draw
        self.expected = Expected()
        self._service = service
        self._figures = figures
        self._rng = rng
        self._kills: Counter[str] = Counter()

    def kill_once(self) -> None:
        """Give it a case or two, kill something at some moment, and see to it that it lives."""
        for _ in range(self._rng.randint(1, 2)):
            self._drop()
        time.sleep(self._rng.uniform(0.0, LONGEST_PAUSE))
        victim = self._rng.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        main = self._service.main
        if victim == "group":
            self._service.kill()
        elif victim == "main":
            os.kill(main, signal.SIGKILL)
        else:
            pid = self._child(victim)
            if pid is None:
                return  # killed a moment ago, and not back yet
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._kills[victim] += 1
        self._figures.kills = dict(self._kills)
        if victim in ("group", "main"):
            self._service.wait_gone()
            self._service.start()
            self._figures.starts += 1

    def settle(self) -> None:
        """Wait until everything that was given has come to its end."""
        database = self._service.database
        wait_for(lambda: settled(database, self.expected), PATIENCE_SECONDS, what="the end of every case", every_s=0.5)

    def look(self, kept: Path) -> None:
        """Compare everything with what must hold; ends the service."""
        service, figures = self._service, self._figures
        figures.problems += self._shown_wrongly()
        service.stop()
        figures.problems += [f"process {pid} is left" for pid in service.processes()]
        texts = [service.output, *(service.data / "logs").glob("*.log*"), *(service.data / "prefect").glob("*.db*")]
        arrived = received(kept)
        folders = {"store": service.data / "store", "quarantine": service.data / "quarantine"}
        figures.problems += problems(service.database, self.expected, arrived, **folders, texts=texts)
        figures.cases = len(self.expected.fields)
        figures.messages = len({body.split(b"|")[9] for body in arrived})
        figures.repeats = len(arrived) - figures.messages

    def _shown_wrongly(self) -> list[str]:
        """Runs of cases that Prefect shows as under way though all is done."""
        prefect = wait_for(lambda: _prefect(self._service.prefect_port), READY_SECONDS, what="Prefect", every_s=0.5)
        assert prefect is not None

        def under_way() -> list[str]:
            runs = prefect.runs("process-case")
            return [run["name"] for run in runs if run["state_type"] in ("RUNNING", "PENDING", "CANCELLING")]

        with suppress(TimeoutError):
            wait_for(lambda: not under_way(), 120, what="Prefect's states", every_s=1.0)
        return [f"Prefect shows {name} as running" for name in under_way()]

    def _drop(self) -> None:
        number = len(self.expected.fields) + 1
        accession, patient = f"ACCESSION{number:06d}", f"PATIENT{number:06d}"
        earlier = 1 if number > 2 * SETTLE_EVERY and self._rng.random() < 0.05 else number
        files, refused = self._draw(earlier, FIELDS), self._rng.random() < 0.1
        if refused:
            files["notes.png"] = b"no picture %d" % number
            self.expected.refused[accession] += 1
        if earlier != number:
            self.expected.doubled.add(accession)
        self.expected.fields[accession] = FIELDS
        self.expected.secrets |= {accession, patient}
        self._service.drop(accession, files, manifest(patient, FIELDS + refused))

    def _child(self, module: str) -> int | None:
        for pid in self._service.processes():
            with suppress(OSError):
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None


def _prefect(port: int) -> Prefect | None:
    try:
        return Prefect(port)
    except Exception:  # noqa: BLE001  # it is on its way
        return None


def smears(seed: int, fields: int) -> dict[str, bytes]:
    """Drawn fields of a case that the shipped detector finds cells in."""
    files = {}
    for number in range(fields):
        rng = np.random.default_rng(1000 * seed + number)
        smear = draw_smear(random_style(rng, width=640, height=480, cell_diameter_px=70.0), rng)
        files[f"field-{number}.png"] = cv2.imencode(".png", smear.pixels[:, :, ::-1])[1].tobytes()
    return files


def run(folder: Path, url: str | None, kills: int, minutes: float, seed: int, *, shipped: bool) -> Figures:
    """Kill so often, or so long; gives what it came to."""
    begun = time.monotonic()
    figures = Figures("sqlite" if url is None else "postgresql", "shipped" if shipped else "fake", seed)
    kept = folder / "received"
    kept.touch()
    more = {
        "SPHERO_DICOM__RECEIVER__ENABLED": "true",
        "SPHERO_DICOM__RECEIVER__PORT": str(free_port()),
        "SPHERO_FOLDER__QUIET_SECONDS": "3600",
    }
    if url is not None:
        more["SPHERO_DATABASE__URL"] = url
    field_seconds = None if shipped else 0.1
    with lis_process(kept) as lis, RunningService(folder, lis, field_seconds=field_seconds, more=more) as service:
        if url is not None:
            service.database = Database(url)
        service.start()
        matrix = Matrix(service, figures, random.Random(seed), smears if shipped else case_files)
        while sum(figures.kills.values()) < kills and time.monotonic() - begun < 60 * minutes:
            matrix.kill_once()
            print(json.dumps(figures.kills), file=sys.stderr, flush=True)
            if sum(figures.kills.values()) % SETTLE_EVERY == 0:
                matrix.settle()
        try:
            matrix.settle()
        except TimeoutError as error:
            figures.problems.append(str(error))
        matrix.look(kept)
    figures.seconds = round(time.monotonic() - begun, 1)
    return figures


@contextmanager
def database(*, postgresql: bool) -> Iterator[str | None]:
    """The URL of a fresh database on PostgreSQL; None leaves SQLite in the data folder."""
    if not postgresql:
        yield None
        return
    with PostgresqlServer(find_binaries()) as server:
        yield server.create_database()[1]


def main() -> int:
    """Print what a run came to; 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=600.0, help="no further kill after so long")
    parser.add_argument("--postgresql", action="store_true", help="our database on a private PostgreSQL")
    parser.add_argument("--shipped", action="store_true", help="with the shipped detector, and drawn smears")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sphero-matrix-") as folder, database(postgresql=options.postgresql) as url:
        figures = run(Path(folder), url, options.kills, options.minutes, options.seed, shipped=options.shipped)
        if figures.problems:
            print((Path(folder) / "output.txt").read_text()[-4000:], file=sys.stderr)
    print(json.dumps(asdict(figures), indent=2))
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=2) + "\n")
    return 1 if figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())
