"""What a further field of a case costs the running service, beside the bare passes of the network; and its memory.

The service runs as a user starts it (`sphero up`: Prefect server, folder, model process, SQLite) with a simulated LIS. Cases of few
and of many fields take turns; their times come from the audit log, and the difference is what further fields cost, recording, pictures
and Prefect's task runs included. The passes are measured in a process of their own between the cases, while the service idles.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from db.session import Database
from integrations.hl7.simulator import LisSimulator
from sphero_core.synthetic import draw_smear, random_style
from tests.bench.processes import memory_mib, processor_seconds, tree
from tests.bench.table import Row
from tests.support import free_port

WIDTH, HEIGHT, CELL = 2400, 1800, 280.0
FEW, MANY, ROUNDS = 8, 28, 3  # the scale of a case is measured in its first eight
PASSES = 12
PATIENCE_S = 300.0
MEMORY_MIB = 2048.0

_FORWARD = """
import sys, time, numpy as np
from sphero_core.bundle import load_bundle, shipped_bundle
from sphero_core.detector import load_detector
detector = load_detector(load_bundle(shipped_bundle()))
smears = np.load(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    taken, worked = [], []
    for turn in range(int(line)):
        begin, working = time.perf_counter(), time.process_time()
        detector.forward(smears[turn % len(smears)])
        taken.append(time.perf_counter() - begin)
        worked.append(time.process_time() - working)
    print(sorted(taken)[len(taken) // 2], sorted(worked)[len(worked) // 2], flush=True)
"""


def measure() -> list[Row]:
    """Cost of a further field, memory, and how many processes hold TensorFlow."""
    smears = [_smear(seed) for seed in range(4)]
    with tempfile.TemporaryDirectory() as folder, LisSimulator() as lis, _forward(Path(folder), smears) as passes:
        data = Path(folder) / "data"
        with _service(data, lis.port) as process:
            database = Database(f"sqlite:///{data}/sphero.db")
            cases = 0
            seconds: dict[int, list[float]] = {FEW: [], MANY: []}
            work: dict[int, list[float]] = {FEW: [], MANY: []}
            bare = [passes()]
            for turn in range(ROUNDS + 1):
                for fields in (FEW, MANY):
                    cases += 1
                    before = processor_seconds(process.pid)
                    _drop(data / "incoming" / f"bench-{cases}", smears, fields, cases)
                    lis.wait_for(cases, PATIENCE_S)
                    took = _seconds_of_newest(database)
                    bare.append(passes())  # meanwhile Prefect writes down what it was told
                    if turn:
                        seconds[fields].append(took)
                        work[fields].append(processor_seconds(process.pid) - before)
            memory, holders = memory_mib(process.pid), _holders_of_tensorflow(process.pid)
            database.close()
    field = f"{WIDTH} x {HEIGHT}, cells {CELL:.0f} px"
    wall, worked = (statistics.median(each) * 1e3 for each in zip(*bare, strict=True))
    few = statistics.median(seconds[FEW]) * 1e3
    return [
        Row(f"a further field ({field}) in a case", _further(seconds), "ms", "its passes: 1", wall, 1.3),
        Row("processor time of it, all processes", _further(work), "ms", "its pass", worked),
        Row(
            f"a case of {FEW} fields, complete to reported, without its passes",
            few - FEW * wall,
            "ms",
            "limit",
            2000.0,
            1.0,
        ),
        Row("memory of the service (PSS, all processes)", memory, "MiB", "limit", MEMORY_MIB, 1.0),
        Row("processes that hold TensorFlow", float(holders), "", "one", 1.0, 1.0),
    ]


def _further(of_case: dict[int, list[float]]) -> float:
    """What a further field adds, in milliseconds, from seconds of cases of few and of many fields."""
    few, many = (statistics.median(of_case[fields]) for fields in (FEW, MANY))
    return (many - few) / (MANY - FEW) * 1e3


def _smear(seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return draw_smear(random_style(rng, width=WIDTH, height=HEIGHT, cell_diameter_px=CELL), rng).pixels


@contextmanager
def _forward(folder: Path, smears: list[NDArray[np.uint8]]) -> Iterator[Callable[[], tuple[float, float]]]:
    """A process that runs bare passes on request; gives the median seconds that one takes, and of its processor time."""
    inputs = folder / "inputs.npy"
    np.save(inputs, np.stack([cv2.resize(s, (512, 384), interpolation=cv2.INTER_AREA) for s in smears]))
    with subprocess.Popen(
        [sys.executable, "-c", _FORWARD, str(inputs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, answers = process.stdin, process.stdout
        answers.readline()

        def passes() -> tuple[float, float]:
            to.write(f"{PASSES}\n")
            to.flush()
            wall, worked = map(float, answers.readline().split())
            return wall, worked

        yield passes
        to.close()


@contextmanager
def _service(data: Path, lis_port: int) -> Iterator[subprocess.Popen[str]]:
    settings = {
        "SPHERO_PATHS__DATA": str(data),
        "SPHERO_PREFECT__PORT": str(free_port()),
        "SPHERO_HTTP__PORT": str(free_port()),
        "SPHERO_FOLDER__SCAN_SECONDS": "0.5",
        "SPHERO_FOLDER__STABLE_SECONDS": "1",
        "SPHERO_FOLDER__QUIET_SECONDS": "600",
        "SPHERO_HL7__DESTINATION": json.dumps([{"name": "lis", "host": "127.0.0.1", "port": lis_port}]),
    }
    log = data.with_name("service.log").open("wb")
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("sphero")), "up"],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        cwd=data.parent,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready"):
            raise RuntimeError(f"the service did not start: {data.with_name('service.log').read_text()[-2000:]}")
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)
            log.close()


def _drop(case: Path, smears: list[NDArray[np.uint8]], fields: int, number: int) -> None:
    """Put a case into the watched folder; a corner pixel makes every file another one."""
    case.mkdir(parents=True)
    manifest = {"patient": {"id": f"B{number}", "issuer": "BENCH"}, "expected_fields": fields, "pixel_aspect": 1.0}
    (case / "case.json").write_text(json.dumps(manifest))
    for index in range(fields):
        pixels = smears[index % len(smears)].copy()
        pixels[:2, :8] = np.random.default_rng(1000 * number + index).integers(0, 255, (2, 8, 3))
        cv2.imwrite(str(case / f"{index}.jpg"), pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


def _seconds_of_newest(database: Database) -> float:
    """Seconds from complete to reported of the case that came last, by its audit events."""
    with database.reading() as work:
        case = max(work.cases.list(), key=lambda view: view.created_at)
        at = {event.action: event.at for event in work.audit.list(case.case_id)}
    return (at["case reported"] - at["case complete"]).total_seconds()


def _holders_of_tensorflow(pid: int) -> int:
    return sum("libtensorflow" in Path(f"/proc/{member}/maps").read_text() for member in tree(pid))
