"""A watched folder with its database for tests, without Prefect; time is the test's own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from db.session import Database
from db.views import CaseView
from flows.completion import Completion
from flows.dicom_accept import InstanceDesk
from flows.dicom_assembly import Assembly
from flows.dicom_folder import DicomFolder
from flows.intake import Intake
from flows.scanners import Scanners
from flows.taken import Taken
from integrations.dicom.frames import FrameStore
from integrations.dicom.part10 import InstanceStore
from integrations.dicom.sandbox import Sandbox
from integrations.folder.memory import FileMemory
from integrations.folder.scanner import Scanner
from integrations.folder.staging import Staging
from sphero_core.image import probe_image
from sphero_core.types import ImageInfo
from tests.database_template import give_tables

QUIET = 60.0
BERLIN = ZoneInfo("Europe/Berlin")


@dataclass
class Site:
    """A watched folder with its database, and a clock that stands still until it is moved."""

    root: Path
    url: str = ""
    require_order: bool = False
    scanners: Scanners = field(default_factory=Scanners)
    now: datetime = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    database: Database = field(init=False)
    intake: Intake = field(init=False)
    completion: Completion = field(init=False)
    desk: InstanceDesk = field(init=False)
    assembly: Assembly = field(init=False)
    sandbox: Sandbox = field(default_factory=Sandbox)

    def __post_init__(self) -> None:
        incoming, store = self.root / "incoming", self.root / "store"
        incoming.mkdir()
        if not self.url:
            give_tables(self.root / "sphero.db")
        self.database = Database(self.url or f"sqlite:///{self.root / 'sphero.db'}", lambda: self.now)
        if self.url:
            self.database.upgrade()
        staging = Staging(
            incoming=incoming,
            store=store,
            quarantine=self.root / "quarantine",
            inspect=probe_image,
            max_bytes=10_000_000,
        )
        staging.prepare()
        self.desk = InstanceDesk(self.database, InstanceStore(store, "test"))
        self.assembly = Assembly(self.database, FrameStore(store, self.sandbox))
        memory = FileMemory(self.root / "taken.jsonl")
        self.intake = Intake(
            incoming=incoming,
            store=store,
            database=self.database,
            scanner=Scanner(incoming, stable_seconds=0, clock=lambda: 0.0, memory=memory),
            staging=staging,
            memory=memory,
            page_info=_page_info,
            dicom=DicomFolder(incoming=incoming, database=self.database, desk=self.desk, assembly=self.assembly),
        )
        self.completion = Completion(
            database=self.database,
            intake=self.intake,
            quiet_seconds=QUIET,
            time_zone=BERLIN,
            clock=lambda: self.now,
            require_order=self.require_order,
            scanners=self.scanners,
        )

    def put(self, accession: str, name: str, content: bytes) -> None:
        folder = self.root / "incoming" / accession
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    def tell(self, accession: str, values: dict[str, Any]) -> None:
        self.put(accession, "case.json", json.dumps(values).encode())

    def look(self) -> tuple[list[Taken], tuple[str, ...]]:
        """Take in what is there, then complete what is due."""
        scan = self.intake.look()
        taken = [self.intake.take(folder) for folder in scan.cases if folder.ready]
        taken += [self.assembly.assemble(instance) for instance in self.assembly.waiting()]
        return taken, self.completion.finish(self.intake.look())

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def case(self, accession: str) -> CaseView:
        with self.database.reading() as work:
            case_id = work.identities.find(accession)
            assert case_id is not None
            return work.cases.get(case_id)


def _page_info(path: Path, page: int) -> ImageInfo:
    return probe_image(path, frame=page)
