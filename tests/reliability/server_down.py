"""The Prefect server is down for three minutes while cases are analysed and further ones come: nothing is lost, and the states are right afterwards.

    python -m tests.reliability.server_down [--seconds 180] [--cases 4] [--json FILE]

The server is one of its own (PostgreSQL) and is killed with SIGKILL in the middle of a case. The exit code is 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from db.session import Database
from tests.reliability.invariants import Expected, problems, settled
from tests.reliability.machines import Common, Machine, common
from tests.support import wait_for

FIELDS = 10
PATIENCE_SECONDS = 900.0


@dataclass(slots=True)
class Figures:
    """What a run came to.

    Attributes
    ----------
    told_meanwhile : int
        Results that the LIS had when the server came back.
    states : dict
        How Prefect shows the runs of the cases in the end.
    """

    down_seconds: float = 0.0
    cases: int = 0
    told_meanwhile: int = 0
    states: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    problems: list[str] = field(default_factory=list)


def down_for(site: Common, seconds: float, cases: int) -> Figures:
    """Run it; gives what it came to."""
    figures, expected = Figures(cases=2 * cases), Expected()
    machine, database = Machine("one", site), site.database()
    try:
        machine.begin()
        machine.wait_ready()
        for number in range(cases):
            site.drop(expected, f"BEFORE{number}", FIELDS)
        wait_for(lambda: _in_the_middle(database), PATIENCE_SECONDS, what="a case in the middle", every_s=0.05)
        site.prefect.kill()
        down = time.monotonic()
        for number in range(cases):
            site.drop(expected, f"DURING{number}", FIELDS)
        time.sleep(seconds)
        figures.told_meanwhile = len(site.received())
        site.prefect.start()
        figures.down_seconds = round(time.monotonic() - down, 1)
        wait_for(lambda: settled(database, expected), PATIENCE_SECONDS, what="the end of every case", every_s=0.5)
        _look(site, machine, database, expected, figures)
    finally:
        machine.kill()
        database.close()
    return figures


def _in_the_middle(database: Database) -> bool:
    with database.reading() as work:
        return any(0 < case.fields_analysed < case.fields for case in work.cases.list())


def _look(site: Common, machine: Machine, database: Database, expected: Expected, figures: Figures) -> None:
    def ended() -> bool:
        runs = site.runs()
        return len(runs) >= len(expected.fields) and all(run["end_time"] for run in runs)

    wait_for(ended, PATIENCE_SECONDS, what="the end of every run", every_s=1.0)
    names = [run["name"] for run in site.runs()]
    for run in site.runs():
        figures.states[run["state_type"]] = figures.states.get(run["state_type"], 0) + 1
    arrived = site.received()
    figures.repeats = len(arrived) - len({body.split(b"|")[9] for body in arrived})
    folders = {"store": site.shared / "store", "quarantine": site.shared / "quarantine"}
    figures.problems = problems(database, expected, arrived, **folders, texts=[machine.output])
    if sorted(names) != sorted(set(names)) or len(names) != len(expected.fields):
        figures.problems.append(f"Prefect has {len(names)} runs for {len(expected.fields)} cases")
    if set(figures.states) != {"COMPLETED"}:
        figures.problems.append(f"Prefect shows {figures.states}")


def main() -> int:
    """Print what a run came to; 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--cases", type=int, default=4, help="before, and as many while it is down")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sphero-down-") as folder, common(Path(folder), "127.0.0.1") as site:
        figures = down_for(site, options.seconds, options.cases)
        if figures.problems:
            print((Path(folder) / "one.log").read_text()[-4000:], file=sys.stderr)
    print(json.dumps(asdict(figures), indent=2))
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=2) + "\n")
    return 1 if figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())
