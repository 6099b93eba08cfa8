"""Three machines on one PostgreSQL, one Prefect server and one share: one is killed, one is cut off from all of them and comes back.

    python -m tests.reliability.hosts [--cases 24] [--fields 6] [--lease 10] [--away 45] [--json FILE]

The machines are network namespaces (root is needed). The first to be killed is the one that watches the folder; the one that is cut
off has a case in its hands. In the end nothing is lost, nothing is told twice, every repeat is the same byte by byte, and
Prefect shows one completed run a case. The exit code is 1 where that does not hold.
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
from db.states import MessageState
from flows.duties import FOLDER
from tests.reliability.invariants import Expected, problems, settled
from tests.reliability.machines import Common, Machine, common
from tests.reliability.networks import HERE, NETWORK, Network
from tests.support import wait_for

NAMES = ("sph-a", "sph-b", "sph-c")
PATIENCE_SECONDS = 900.0
FENCED = "another worker has the case by now"


@dataclass(slots=True)
class Figures:
    """What a run came to.

    Attributes
    ----------
    takeover_seconds : float
        From the kill until another machine watched the folder.
    freed_seconds : float
        From the cut until the cases of the machine were free for others.
    fenced : int
        How often the machine that came back was told that another one has its case.
    """

    cases: int = 0
    fields: int = 0
    takeover_seconds: float = 0.0
    freed_seconds: float = 0.0
    away_seconds: float = 0.0
    fenced: int = 0
    claims_by_machine: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    repeats: int = 0
    lost_hosts: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def folder_owner(database: Database) -> str:
    """Which machine watches the folder."""
    with database.reading() as work:
        return next((each.host for each in work.hosts.duties() if each.duty == FOLDER and each.running), "")


def holders(database: Database) -> set[str]:
    """The machines that have a case in their hands."""
    with database.reading() as work:
        return {case.lease_owner.partition("/")[0] for case in work.cases.list() if case.lease_owner}


def delivered(database: Database) -> int:
    """How many messages are delivered."""
    with database.reading() as work:
        return work.outbox.summary().counts[MessageState.DELIVERED]


def one_killed_one_cut_off(site: Common, network: Network, cases: int, fields: int, away: float) -> Figures:
    """Run it all; gives what it came to."""
    begun, figures, expected = time.monotonic(), Figures(cases, cases * fields), Expected()
    machines = {name: Machine(name, site, network.inside(name)) for name in NAMES}
    database = site.database()
    try:
        for machine in machines.values():
            machine.begin()
        for machine in machines.values():
            machine.wait_ready()
        by_worker = {machine.owner.rstrip("/"): machine for machine in machines.values()}
        for number in range(cases // 2):
            site.drop(expected, f"ACC{number:05d}", fields)
        wait_for(lambda: delivered(database) >= 1, PATIENCE_SECONDS, what="a first delivery", every_s=0.2)
        killed = by_worker[folder_owner(database)]
        killed.kill()
        at = time.monotonic()
        living = set(by_worker) - {killed.owner.rstrip("/")}
        wait_for(lambda: folder_owner(database) in living, PATIENCE_SECONDS, what="another watcher", every_s=0.2)
        figures.takeover_seconds = round(time.monotonic() - at, 1)
        for number in range(cases // 2, cases - 2):
            site.drop(expected, f"ACC{number:05d}", fields)
        _cut_off(site, network, database, living, by_worker, figures, away)
        for number in range(cases - 2, cases):
            site.drop(expected, f"ACC{number:05d}", fields)
        killed.begin()
        wait_for(lambda: settled(database, expected), PATIENCE_SECONDS, what="the end of every case", every_s=0.5)
        killed.wait_ready()
        _look(site, database, machines, figures, expected)
    finally:
        for machine in machines.values():
            machine.kill()
        database.close()
    figures.seconds = round(time.monotonic() - begun, 1)
    return figures


def _cut_off(
    site: Common,
    network: Network,
    database: Database,
    living: set[str],
    by_worker: dict[str, Machine],
    figures: Figures,
    away: float,
) -> None:
    """Cut off a machine that has a case in its hands, wait until others have taken over, and let it come back."""
    name = wait_for(lambda: holders(database) & living, PATIENCE_SECONDS, what="a case in work", every_s=0.02).pop()
    cut = by_worker[name]
    network.cut(cut.name)
    at = time.monotonic()
    wait_for(lambda: name not in holders(database), PATIENCE_SECONDS, what="its cases to be free", every_s=0.2)
    figures.freed_seconds = round(time.monotonic() - at, 1)
    before = delivered(database)
    wait_for(lambda: delivered(database) > before, PATIENCE_SECONDS, what="a delivery without it", every_s=0.2)
    time.sleep(max(0.0, away - (time.monotonic() - at)))
    network.mend(cut.name)
    figures.away_seconds = round(time.monotonic() - at, 1)
    wait_for(lambda: name in _living(database), PATIENCE_SECONDS, what="the machine to come back", every_s=0.2)


def _living(database: Database) -> set[str]:
    with database.reading() as work:
        return {host.host for host in work.hosts.list() if host.living}


def _look(site: Common, database: Database, machines: dict[str, Machine], figures: Figures, expected: Expected) -> None:
    received = site.received()
    figures.messages = len({body.split(b"|")[9] for body in received})
    figures.repeats = len(received) - figures.messages
    figures.fenced = sum(machine.output.read_text().count(FENCED) for machine in machines.values())
    texts = [machine.output for machine in machines.values()]
    where = {"store": site.shared / "store", "quarantine": site.shared / "quarantine", "texts": texts}
    wait_for(
        lambda: all(run["state_type"] == "COMPLETED" for run in site.runs()), 180, what="Prefect's states", every_s=1.0
    )
    figures.problems = problems(database, expected, received, **where)  # type: ignore[arg-type]
    names = [run["name"] for run in site.runs()]
    if len(names) != len(set(names)) or len(names) != len(expected.fields):
        figures.problems.append(f"Prefect has {len(names)} runs for {len(expected.fields)} cases")
    owners = {machine.owner: machine.name for machine in machines.values()}
    with database.reading() as work:
        events = work.audit.list(limit=1_000_000)
    figures.lost_hosts = sum(event.action == "host lost" for event in events)
    claims = [json.loads(event.detail)["owner"] for event in events if event.action == "case claimed"]
    figures.claims_by_machine = {
        name: sum(claim.startswith(owner) for claim in claims) for owner, name in owners.items()
    }


def main() -> int:
    """Print what a run came to; 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--fields", type=int, default=6)
    parser.add_argument("--lease", type=float, default=10.0, help="[host] lease_seconds")
    parser.add_argument("--away", type=float, default=45.0, help="seconds for which a machine is cut off at least")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="sphero-hosts-") as folder,
        Network(*NAMES) as network,
        common(Path(folder), HERE, [f"{NETWORK}.0/24"], lease_seconds=options.lease) as site,
    ):
        try:
            figures = one_killed_one_cut_off(site, network, options.cases, options.fields, options.away)
        except TimeoutError as error:
            for name in NAMES:
                print(f"--- {name}\n{(Path(folder) / f'{name}.log').read_text()[-3000:]}", file=sys.stderr)
            print(error, file=sys.stderr)
            return 1
    print(json.dumps(asdict(figures), indent=2))
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=2) + "\n")
    return 1 if figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())
