"""2,000 fields that come at once: what the service needs for them in memory, and whether Prefect can still be used meanwhile.

The service runs with a fake detector (0.3 s a field, three at a time), its own Prefect server, SQLite, and python-hl7's server as LIS. A person at
Prefect's pages is played by asking for a page and for the list of runs every few seconds.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from flows.model_child import WORKERS
from tests.bench.processes import memory_mib
from tests.bench.table import Row
from tests.lis_process import lis_process, received
from tests.reliability.invariants import Expected, problems, settled
from tests.running import Prefect, RunningService, case_files, manifest

CASES, FIELDS = 100, 20
FIELD_SECONDS = 0.3
AT_A_TIME = WORKERS
LOOK_SECONDS = 5.0
USABLE_SECONDS = 5.0
MEMORY_MIB = 1024.0
LONGEST_SECONDS = 3600.0


@dataclass(slots=True)
class _Watched:
    memory: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)


def measure() -> list[Row]:
    """Peak memory, the slowest answer of Prefect, seconds for all, and what does not hold."""
    expected, watched = Expected(), _Watched()
    with tempfile.TemporaryDirectory(prefix="sphero-backlog-") as name:
        folder, kept = Path(name), Path(name) / "received"
        kept.touch()
        with (
            lis_process(kept) as lis,
            RunningService(folder, lis, field_seconds=FIELD_SECONDS, quiet_seconds=3600) as service,
        ):
            service.start()
            before = memory_mib(service.main)
            for number in range(1, CASES + 1):
                service.drop(f"CASE{number}", case_files(number, FIELDS), manifest(f"P{number}", FIELDS))
                expected.fields[f"CASE{number}"] = FIELDS
            took = _watch(service, expected, watched)
            found = problems(
                service.database,
                expected,
                received(kept),
                store=service.data / "store",
                quarantine=service.data / "quarantine",
            )
    for problem in found:
        print(problem)
    bare = CASES * FIELDS * FIELD_SECONDS / AT_A_TIME
    slowest = sorted(watched.answers)[int(0.95 * len(watched.answers))]
    return [
        Row(f"{CASES * FIELDS} fields at once, until the last is acknowledged", took, "s", "bare model time", bare),
        Row("memory of the service at its peak (PSS)", max(watched.memory), "MiB", "limit", MEMORY_MIB, 1.0),
        Row("the same before the fields came", before, "MiB", "limit", MEMORY_MIB),
        Row("a look at Prefect's runs, 95th of 100", slowest, "s", "usable", USABLE_SECONDS, 1.0),
        Row("lost, doubled or otherwise wrong", float(len(found)), "", "limit", 0.5, 1.0),
    ]


def _watch(service: RunningService, expected: Expected, watched: _Watched) -> float:
    """Look again and again until all is done; gives the seconds."""
    begun = time.monotonic()
    prefect = Prefect(service.prefect_port)
    page = f"http://127.0.0.1:{service.prefect_port}/runs"
    while not settled(service.database, expected):
        if time.monotonic() - begun > LONGEST_SECONDS:
            break
        asked = time.monotonic()
        httpx.get(page, trust_env=False, timeout=60, follow_redirects=True)
        prefect.runs("process-case")
        watched.answers.append(time.monotonic() - asked)
        watched.memory.append(memory_mib(service.main))
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - begun
