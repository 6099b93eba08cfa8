"""A laboratory whose results go to a DICOM archive: cases, the review desk, and archives to send to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt

from db.session import Database
from db.views import CaseView, Identity, MessageView
from flows.analyse import CaseWork
from flows.archive import ArchivePlan, Archiving
from flows.archive_objects import Tools
from flows.archive_transport import ArchiveTransport, object_of
from flows.deliver import Sender
from flows.message_pictures import MessagePictures
from flows.release import Release, ReleasePolicy
from flows.review_desk import ReviewDesk
from integrations.dicom.codes import CodeBook
from integrations.dicom.evidence import ObjectKind
from integrations.dicom.object_store import ObjectStore
from integrations.dicom.peer import Entity
from integrations.dicom.store_scu import EMITTED, StoreScu
from sphero_core.types import BundleId, FieldFindings, Quality
from tests.database_examples import BUNDLE, ManualClock
from tests.dicom_results import SOFTWARE, evidence, plain, source
from tests.support import free_port

PATIENT = Identity("26-1", patient_id="P1", patient_issuer="HOSP", family="Müller", given="Zoe")
BOTH = frozenset({ObjectKind.ANNOTATIONS, ObjectKind.REPORT})
ROWS, COLUMNS = 480, 640
OTHER_BUNDLE = BundleId("other", "2", "c" * 64)


@dataclass
class ArchiveLaboratory:
    """A database, files, the work on cases and the review desk, with an archive called ``pacs``."""

    database: Database
    clock: ManualClock
    folder: Path
    plans: dict[str, ArchivePlan] = field(default_factory=lambda: {"pacs": ArchivePlan(BOTH)})
    policy: ReleasePolicy = ReleasePolicy.PRELIMINARY

    def __post_init__(self) -> None:
        (self.folder / "objects").mkdir()

    @property
    def objects(self) -> ObjectStore:
        return ObjectStore(self.folder / "objects")

    @property
    def archiving(self) -> Archiving:
        tools = Tools(self.folder, self.objects, SOFTWARE, CodeBook(), pixel_aspect=1.0)
        return Archiving(database=self.database, tools=tools, archives=self.plans)

    def work(self) -> CaseWork:
        release = Release(
            database=self.database,
            profiles={},
            pictures=MessagePictures(file=Path, url=""),
            clock=self.clock,
            policy=self.policy,
            archiving=self.archiving,
        )
        return CaseWork(database=self.database, store=self.folder, release=release, pixel_aspect=1.0)

    def desk(self) -> ReviewDesk:
        return ReviewDesk(
            database=self.database,
            profiles={},
            pictures=MessagePictures(file=Path, url=""),
            clock=self.clock,
            archiving=self.archiving,
        )

    def analyse(self, *names: str, identity: Identity = PATIENT, quality: Quality | None = None) -> CaseView:
        """Take fields in, give each its findings, and hold the case for reporting."""
        seen = findings(quality or Quality())
        with self.database.transaction("test") as work:
            case_id = work.identities.find_or_create("26-1")
            for number, name in enumerate(names, start=1):
                accepted = work.fields.accept(f"26-1/{name}", accession="26-1", **self._file(name, number))
                if not accepted.new:
                    continue
                work.analyses.record(accepted.field_id, BUNDLE, seen)
            assert work.identities.set(case_id, identity)
            work.cases.complete(case_id)
            assert work.cases.claim(case_id, "w", 60)
            return work.cases.get(case_id)

    def analyse_anew(self, case: CaseView, quality: Quality) -> CaseView:
        """Give each field the findings of another model, and hold the case for reporting."""
        with self.database.transaction("test") as work:
            for known in work.fields.of_case(case.case_id):
                work.analyses.record(known.field_id, OTHER_BUNDLE, findings(quality))
            work.cases.analysed_anew(case.case_id)
            assert work.cases.claim(case.case_id, "w", 60)
            return work.cases.get(case.case_id)

    def _file(self, name: str, number: int) -> dict[str, Any]:
        body = cv2.imencode(".png", plain((ROWS, COLUMNS), number).pixels)[1].tobytes()
        digest = hashlib.sha256(body + name.encode()).hexdigest()
        (self.folder / f"{digest}.png").write_bytes(body)
        return {
            "sha256": digest,
            "frame": 0,
            "size_bytes": len(body),
            "media_type": "image/png",
            "width": COLUMNS,
            "height": ROWS,
            "stored_name": f"{digest}.png",
        }

    def messages(self) -> tuple[MessageView, ...]:
        with self.database.reading() as work:
            return work.outbox.list()

    def sender(self, client: Any, name: str = "pacs") -> Sender:
        return Sender(
            name=name,
            database=self.database,
            transport=ArchiveTransport(client, self.objects),
            owner="test/sender",
            lease_seconds=30,
            clock=self.clock,
        )


def findings(quality: Quality) -> FieldFindings:
    return replace(evidence(source(plain((ROWS, COLUMNS)))).findings, quality=quality)


@contextmanager
def archive(received: list[tuple[str, bytes]], statuses: list[int]) -> Iterator[int]:
    """A scripted archive: answers with each of `statuses` in turn, then with success."""

    def store(event: Any) -> int:
        received.append((str(event.request.AffectedSOPInstanceUID), event.request.DataSet.getvalue()))
        return statuses.pop(0) if statuses else 0

    ae = AE(ae_title="ARCHIVE")
    for sop_class in dict(EMITTED):
        ae.add_supported_context(sop_class, ALL_TRANSFER_SYNTAXES)
    port = free_port()
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield port
    finally:
        server.shutdown()


def scu(port: int, title: str = "ARCHIVE") -> StoreScu:
    return StoreScu(Entity("127.0.0.1", port, title, "SPHERO", 3.0, 10.0))


def kinds(messages: tuple[MessageView, ...]) -> list[str]:
    return [object_of(message).kind for message in messages]
