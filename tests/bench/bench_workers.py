"""Cases a minute with 1, 2, 4 and 8 machines that analyse, on one PostgreSQL and one Prefect server.

Each is a whole `sphero up` with the role ``cases`` and a fake detector (0.3 s a field, three at a time); one more watches the folder and delivers. All
of it shares this computer: what the machines cost in processor time bounds what can be seen here.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from db.session import Database
from tests.bench.table import Row
from tests.reliability.invariants import Expected, settled
from tests.reliability.machines import Common, Machine, common
from tests.support import wait_for

MACHINES = (1, 2, 4, 8)
FIELDS = 30
CASES_EACH = 6
WANTED = 7.0
PATIENCE_SECONDS = 1800.0


def measure() -> list[Row]:
    """Seconds a case for each number of machines, beside those of one."""
    seconds: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="sphero-workers-") as folder, common(Path(folder), "127.0.0.1") as site:
        desk = Machine("desk", site, more={"SPHERO_HOST__ROLES": '["intake", "delivery"]'})
        workers: list[Machine] = []
        expected = Expected()
        try:
            desk.begin()
            desk.wait_ready()
            for before, count in pairwise((0, *MACHINES)):
                fresh = [
                    Machine(f"worker-{number}", site, more={"SPHERO_HOST__ROLES": '["cases"]'})
                    for number in range(before, count)
                ]
                workers += fresh
                for machine in fresh:
                    machine.begin()
                for machine in fresh:
                    machine.wait_ready()
                seconds[count] = _seconds_a_case(site, expected, count)
                print(f"{count} machines: {60 / seconds[count]:.1f} cases a minute", file=sys.stderr, flush=True)
        finally:
            for machine in (desk, *workers):
                machine.kill()
    one = seconds[1]
    return [
        Row(f"seconds a case of {FIELDS} fields, {count} machines", took, "s", f"one machine / {count}", one / count)
        for count, took in seconds.items()
    ] + [Row("the same, 8 machines", seconds[8], "s", f"one machine / {WANTED:.0f}", one / WANTED, 1.0)]


def _seconds_a_case(site: Common, expected: Expected, machines: int) -> float:
    """Seconds from one case's result to the next, while all machines have enough to do."""
    first = len(expected.fields)
    for number in range(first, first + CASES_EACH * machines):
        site.drop(expected, f"CASE{number}", FIELDS)
    with site.database() as database:
        wait_for(lambda: settled(database, expected), PATIENCE_SECONDS, what="the end of every case", every_s=1.0)
        times = _reported(database)[first:]
    steady = times[machines : -machines or None]  # without the first and the last of each machine
    return (steady[-1] - steady[0]) / (len(steady) - 1)


def _reported(database: Database) -> list[float]:
    """When each case was reported, in seconds, in that order."""
    with database.reading() as work:
        events = work.audit.list(limit=1_000_000)
    return [event.at.timestamp() for event in events if event.action == "case reported"]
