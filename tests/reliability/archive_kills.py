"""SIGKILL of the sender to an archive at every step, while the archive is busy, aborts, or does not answer.

    python -m tests.reliability.archive_kills [--kills 20] [--step STEP] [--json FILE]

For each step a sender process is killed so many times and begun anew as the service does it, while further objects are queued: annotations
and then the report of a case. The archive is a process of its own (`tests.archive_process`). In the end it has every object, repeats are
the same bytes, no report came before the annotations that it refers to, every message is delivered in the database, and the audit chain is
whole. The exit code is 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pynetdicom import evt
from pynetdicom.pdu import P_DATA_TF

from db.object_views import NewObject
from db.session import Database
from db.states import MessageState
from flows.archive_transport import ArchiveTransport
from flows.transports import Transport
from integrations.dicom.evidence import CaseEvidence, DicomObject, Origin
from integrations.dicom.object_store import ObjectStore
from integrations.dicom.peer import Entity
from integrations.dicom.sr import build_report
from integrations.dicom.store_scu import StoreScu
from tests.archive_process import TITLE, archive_process, kept_by
from tests.dicom_results import BUNDLE, COUNTS, ORIGIN, SOFTWARE, SUBJECT, plain, source
from tests.reliability.outbox_kills import Figures, Kill, recover, run_child

STEPS = ("taken", "sent", "answered", "recording", "recorded")
"""`sent`: a part of an object has left."""
FURTHEST = 3
FAULTS = ("busy", "abort", "hang")
TIMEOUT_SECONDS = 1.0
OBJECTS = 2


@dataclass(slots=True)
class Archive:
    """The way to the archive."""

    port: int
    objects: ObjectStore

    def transport(self, kill: Kill) -> Transport:
        class Watched(StoreScu):
            def _associated(self) -> Any:
                before = self._association
                association = super()._associated()
                if association is not before:
                    association.bind(evt.EVT_PDU_SENT, _part_left, [kill])
                return association

        entity = Entity("127.0.0.1", self.port, TITLE, "SPHERO", 5.0, TIMEOUT_SECONDS)
        return ArchiveTransport(Watched(entity), self.objects)


def _part_left(event: Any, kill: Kill) -> None:
    if isinstance(event.pdu, P_DATA_TF):
        kill("sent")


def make_object(case_id: str, number: int) -> DicomObject:
    """The `number`-th object of a case; another for each."""
    case = CaseEvidence(COUNTS, BUNDLE, (source(plain((8, 8))),))
    return build_report(case, SUBJECT, Origin(case_id, number, ORIGIN.made), software=SOFTWARE)


def queue(database: Database, objects: ObjectStore, name: str) -> list[NewObject]:
    """Queue the objects of one new case."""
    queued = []
    with database.transaction("test") as work:
        case_id = work.identities.find_or_create(name)
        for number in range(1, OBJECTS + 1):
            made = make_object(case_id, number)
            stored = objects.keep(made)
            ref = made.ref
            new = NewObject(
                ref.sop_instance_uid,
                "ann" if number < OBJECTS else "sr",
                None,
                ref.sop_class_uid,
                ref.series_uid,
                ref.study_uid,
                made.transfer_syntax_uid,
                stored.sha256,
                stored.size_bytes,
                stored.name,
            )
            work.objects.queue(case_id, 1, new, {"lis": False})
            queued.append(new)
    return queued


def kill_at(step: str, kills: int, folder: Path) -> Figures:
    """Kill senders at one step, let the last one finish, and look what came of it."""
    rng, begin = random.Random(step), time.monotonic()
    figures, objects, kept = Figures("archive", step, "sqlite"), ObjectStore(folder / "objects"), folder / "kept"
    (folder / "objects").mkdir()
    kept.touch()
    with Database(f"sqlite:///{folder / 'sphero.db'}") as database, archive_process(kept, *FAULTS) as port:
        database.upgrade()
        archive = Archive(port, objects)
        queued: list[list[NewObject]] = []
        while figures.kills < kills:
            queued += [queue(database, objects, f"K{len(queued)}-{number}") for number in range(2)]
            figures.kills += run_child(database, archive, step, rng.randint(1, FURTHEST))
            recover(database)
        while True:
            run_child(database, archive, "none", 1)
            recover(database)
            with database.reading() as work:
                states = {message.state for message in work.outbox.list(limit=1_000_000)}
            if states == {MessageState.DELIVERED} or time.monotonic() - begin > 60 * (1 + kills):
                break
            time.sleep(0.1)  # an archive that was busy is left alone for a moment
        look(database, kept_by(kept), queued, figures)
    figures.seconds = round(time.monotonic() - begin, 1)
    return figures


def look(
    database: Database, arrived: Sequence[tuple[str, str]], queued: Sequence[Sequence[NewObject]], figures: Figures
) -> None:
    """Compare what the archive has with what was queued and what the database says."""
    with database.reading() as work:
        rows = work.outbox.list(limit=1_000_000)
        figures.audit_problems = len(work.audit.verify().problems)
    figures.messages = len(rows)
    figures.undelivered = sum(row.state is not MessageState.DELIVERED for row in rows)
    places: dict[str, list[int]] = {}
    contents: dict[str, set[str]] = {}
    for place, (uid, digest) in enumerate(arrived):
        places.setdefault(uid, []).append(place)
        contents.setdefault(uid, set()).add(digest)
    figures.altered = sum(len(each) > 1 for each in contents.values())
    figures.lost = sum(made.sop_instance_uid not in places for case in queued for made in case)
    figures.repeats = len(arrived) - len(places)
    for case in queued:
        first, second = (places.get(made.sop_instance_uid, []) for made in case)
        figures.disordered += bool(first and second) and max(first) > min(second)


def main() -> int:
    """Run it; 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--step", action="append", default=[], help="only this one; all by default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    for step in options.step or STEPS:
        with tempfile.TemporaryDirectory() as name:
            found.append(kill_at(step, options.kills, Path(name)))
        print(json.dumps(asdict(found[-1])), flush=True)  # noqa: T201  # figures are what this program is for
    if options.json:
        options.json.write_text(json.dumps([asdict(each) | {"holds": each.holds} for each in found], indent=2) + "\n")
    return 0 if all(each.holds for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
