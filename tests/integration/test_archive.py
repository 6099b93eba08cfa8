"""From a case's fields to what a real archive holds: objects queued with the report, sent in order, confirmed, and traced."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from db.errors import ConstraintBroken
from db.header_views import InstanceHeaderView
from db.instance_views import InstanceOutcome
from db.lineage import SourceView
from db.session import Database
from db.states import CommitmentState, MessageState
from flows.archive import ArchivePlan
from flows.archive_transport import object_of
from flows.commitments import Commitments
from flows.errors import CaseStopped
from integrations.dicom.commitment import CommitmentReport
from integrations.dicom.commitment_listener import CommitmentListener
from integrations.dicom.dicomweb import WebService
from integrations.dicom.evidence import ObjectKind
from integrations.dicom.part10 import MEDIA_TYPE
from integrations.dicom.peer import Entity
from integrations.dicom.stow import StowClient
from tests.archive_laboratory import BOTH, COLUMNS, PATIENT, ROWS, ArchiveLaboratory, archive, kinds, scu
from tests.database_examples import BUNDLE, ManualClock
from tests.dicom_peers import Modality, Orthanc
from tests.support import free_port, wait_for

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Where nothing of the database's own is looked at."""


@pytest.fixture
def laboratory(database: Database, clock: ManualClock, tmp_path: Path) -> ArchiveLaboratory:
    return ArchiveLaboratory(database, clock, tmp_path)


def read(orthanc: Orthanc, uid: str) -> Dataset:
    return dcmread(io.BytesIO(orthanc.file(uid)))


def test_a_report_and_its_objects_are_one_commit_and_a_step_run_twice_makes_nothing_new(
    laboratory: ArchiveLaboratory,
) -> None:
    case = laboratory.analyse("one", "two")
    laboratory.work().report(case, "w")
    before = laboratory.messages()
    assert kinds(before) == ["image", "image", "ann", "ann", "sr"]
    assert len({message.order_key for message in before}) == 1
    laboratory.clock.advance(5)
    laboratory.work().report(case, "w")
    assert laboratory.messages() == before
    for message in before:
        made = object_of(message)
        path = laboratory.objects.checked(made.stored_name, made.sha256)
        assert dcmread(path).PatientName == "Müller^Zoe"
        assert b"ller" not in message.body  # the message itself names nobody
    with laboratory.database.reading() as work:
        actions = [each.action for each in work.audit.list()]
        assert work.audit.verify().intact
    assert actions.count("object made") == 5


@ON_SQLITE
def test_nothing_is_made_without_an_archive(laboratory: ArchiveLaboratory) -> None:
    laboratory.plans.clear()
    laboratory.work().report(laboratory.analyse("one"), "w")
    assert laboratory.messages() == ()
    assert not list((laboratory.folder / "objects").iterdir())


@ON_SQLITE
def test_a_name_that_fits_no_object_holds_the_case_and_commits_nothing(laboratory: ArchiveLaboratory) -> None:
    case = laboratory.analyse("one", identity=replace(PATIENT, family="a^b"))
    with pytest.raises(CaseStopped, match="unsendable"):
        laboratory.work().report(case, "w")
    assert laboratory.messages() == ()


def test_what_was_made_cannot_be_changed(laboratory: ArchiveLaboratory) -> None:
    from sqlalchemy import text

    laboratory.work().report(laboratory.analyse("one"), "w")
    for statement in ("UPDATE result_objects SET sha256 = 'x'", "DELETE FROM result_objects"):
        with (
            pytest.raises(ConstraintBroken),
            laboratory.database.transaction("test") as work,
        ):
            work.audit._context.session.execute(text(statement))


@ON_SQLITE
def test_a_case_goes_into_orthanc_and_its_lineage_is_one_query(laboratory: ArchiveLaboratory, orthanc: Orthanc) -> None:
    laboratory.plans["web"] = ArchivePlan(frozenset({ObjectKind.REPORT}))
    case = laboratory.analyse("one")
    laboratory.work().report(case, "w")
    by_dimse = laboratory.sender(scu(orthanc.port, "ORTHANC"))
    assert {message.state for message in by_dimse.drain()} == {MessageState.DELIVERED}
    by_dimse.close()
    sent = {object_of(message).sop_instance_uid for message in laboratory.messages()}
    assert orthanc.sop_uids == sent
    by_web = laboratory.sender(StowClient(WebService(orthanc.dicomweb_url, 3.0, 10.0)), "web")
    assert [message.state for message in by_web.drain()] == [MessageState.DELIVERED] * 2  # the image, and the report
    by_web.close()

    with laboratory.database.reading() as work:
        lineage = work.objects.lineage(case.case_id)
        (field,) = work.fields.of_case(case.case_id)
    (ann,) = [each for each in lineage if each.kind == "ann"]
    assert (ann.sources, ann.bundle_sha256, ann.answer) == (
        (SourceView(1, None, 0, field.sha256),),
        BUNDLE.sha256,
        "0x0000",
    )
    assert ann.result_uid in sent
    assert [each.answer for each in lineage if each.destination == "web"] == ["HTTP 200"] * 2
    report = read(orthanc, next(each.result_uid or "" for each in lineage if each.kind == "sr"))
    assert report.PatientID == "P1"


def test_a_later_version_replaces_the_report_and_leaves_the_image(laboratory: ArchiveLaboratory) -> None:
    laboratory.work().report(laboratory.analyse("one"), "w")
    laboratory.clock.advance(60)
    second = laboratory.analyse("one", "two")
    assert second.revision == 2
    laboratory.work().report(second, "w")
    messages = laboratory.messages()
    assert kinds(messages) == ["image", "ann", "sr", "image", "ann", "ann", "sr"]
    made = [object_of(message) for message in messages]
    assert len({each.sop_instance_uid for each in made}) == 7
    assert made[6].replaces == made[2].sop_instance_uid
    assert {made[4].replaces, made[5].replaces} == {made[1].sop_instance_uid, None}
    told = dcmread(laboratory.objects.checked(made[6].stored_name, made[6].sha256))
    named = told.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == made[2].sop_instance_uid


def test_a_field_that_came_as_dicom_is_referred_to_as_it_is(laboratory: ArchiveLaboratory) -> None:
    case = laboratory.analyse("one")
    with laboratory.database.transaction("test") as work:
        (field,) = work.fields.of_case(case.case_id)
        received = work.instances.receive(
            sop_instance_uid="1.2.3.4",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.77.1.2",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sha256=field.sha256,
            size_bytes=1,
            stored_name="x.dcm",
            source="receiver",
            study_uid="1.2",
            series_uid="1.2.3",
        )
        assert received.outcome is InstanceOutcome.NEW
        header = InstanceHeaderView(
            study_uid="1.2",
            series_uid="1.2.3",
            study_date="20261120",
            study_time="093000.5",
            study_id="S7",
            rows=ROWS,
            columns=COLUMNS,
            frames=1,
        )
        work.headers.record(received.instance.instance_id, header)
    assert MEDIA_TYPE == "application/dicom"
    laboratory.work().report(case, "w")
    messages = laboratory.messages()
    assert kinds(messages) == ["ann", "sr"]
    for message in messages:
        made = object_of(message)
        assert made.study_uid == "1.2"
        path = laboratory.objects.checked(made.stored_name, made.sha256)
        assert b"1.2.3.4" in path.read_bytes()
        object_ = dcmread(path)  # it tells of its study what the source tells
        assert (object_.StudyDate, object_.StudyTime, object_.StudyID) == ("20261120", "093000.5", "S7")
    with laboratory.database.reading() as work:
        of_field, of_case = work.objects.lineage(case.case_id)
    assert of_field.sources == of_case.sources == (SourceView(1, "1.2.3.4", 0, field.sha256),)


@ON_SQLITE
def test_an_archive_out_of_resources_is_left_alone_and_costs_no_attempt(laboratory: ArchiveLaboratory) -> None:
    laboratory.work().report(laboratory.analyse("one"), "w")
    received: list[tuple[str, bytes]] = []
    with archive(received, [0xA700]) as port:
        sender = laboratory.sender(scu(port))
        sender.drain()
        assert "out of resources" in str(sender.problem)
        assert {(message.state, message.attempts) for message in laboratory.messages()} == {(MessageState.WAITING, 0)}
        again = laboratory.sender(scu(port))  # as after the pause
        again.drain()
        sender.close()
        again.close()
    assert {message.state for message in laboratory.messages()} == {MessageState.DELIVERED}
    assert received[0] == received[1]


@ON_SQLITE
def test_an_object_that_is_refused_is_parked_and_holds_back_those_that_refer_to_it(
    laboratory: ArchiveLaboratory,
) -> None:
    laboratory.work().report(laboratory.analyse("one"), "w")
    received: list[tuple[str, bytes]] = []
    with archive(received, [0, 0xC000]) as port:
        sender = laboratory.sender(scu(port))
        sender.drain()
        assert [message.state for message in laboratory.messages()] == [
            MessageState.DELIVERED,
            MessageState.PARKED,
            MessageState.WAITING,
        ]
        parked = laboratory.messages()[1]
        assert (parked.ack_code, parked.reason) == ("0xC000", "the archive cannot understand it")
        with laboratory.database.transaction("person") as work:
            work.outbox.resend(work.outbox.find(parked.part).message_id)
        sender.drain()
        sender.close()
    assert {message.state for message in laboratory.messages()} == {MessageState.DELIVERED}
    assert received[1] == received[2]


@ON_SQLITE
def test_an_object_whose_file_was_changed_does_not_leave(laboratory: ArchiveLaboratory) -> None:
    laboratory.work().report(laboratory.analyse("one"), "w")
    made = object_of(laboratory.messages()[0])
    (laboratory.folder / "objects" / made.stored_name).write_bytes(b"other")
    received: list[tuple[str, bytes]] = []
    with archive(received, []) as port:
        sender = laboratory.sender(scu(port))
        sender.drain()
        sender.close()
    assert received == []
    first = laboratory.messages()[0]
    assert (first.state, first.reason) == (MessageState.PARKED, "the object's file is not what was frozen")


@ON_SQLITE
def test_files_of_work_that_was_broken_off_are_removed_and_no_others(laboratory: ArchiveLaboratory) -> None:
    laboratory.work().report(laboratory.analyse("one"), "w")
    folder = laboratory.folder / "objects"
    orphan = folder / "ab" / f"{'ab' * 32}.dcm"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"never queued")
    with laboratory.database.reading() as work:
        known = work.objects.stored_names()
    assert laboratory.objects.sweep(known, before=orphan.stat().st_mtime) == 0  # it may be of work that is under way
    assert laboratory.objects.sweep(known, before=orphan.stat().st_mtime + 60) == 1
    assert {path.relative_to(folder).as_posix() for path in folder.glob("*/*.dcm")} == known


KILLED = """
import os, signal, sys
from pathlib import Path
from db.context import utc_now
from db.session import Database
from flows.archive_transport import ArchiveTransport
from flows.deliver import Sender
from integrations.dicom.object_store import ObjectStore
from integrations.dicom.peer import Entity
from integrations.dicom.store_scu import StoreScu

url, folder, port = sys.argv[1:]

class Killed(StoreScu):
    def send(self, made):
        answer = super().send(made)
        os.kill(os.getpid(), signal.SIGKILL)  # the archive has it, and nobody here knows

client = Killed(Entity("127.0.0.1", int(port), "ARCHIVE", "SPHERO", 3.0, 10.0))
transport = ArchiveTransport(client, ObjectStore(Path(folder)))
Sender(name="pacs", database=Database(url), transport=transport, owner="test/sender", lease_seconds=30, clock=utc_now).drain()
"""


@ON_SQLITE
def test_a_sender_that_is_killed_between_sending_and_recording_repeats_the_same_bytes(
    laboratory: ArchiveLaboratory, database_url: str
) -> None:
    laboratory.work().report(laboratory.analyse("one"), "w")
    received: list[tuple[str, bytes]] = []
    with archive(received, []) as port:
        command = [sys.executable, "-c", KILLED, database_url, str(laboratory.folder / "objects"), str(port)]
        ended = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, capture_output=True, timeout=120, check=False
        )
        assert ended.returncode == -9, ended.stderr.decode()[-2000:]
        with laboratory.database.transaction("service") as work:
            assert work.outbox.release_leases("test/") == 1
        sender = laboratory.sender(scu(port))
        sender.drain()
        sender.close()
    assert {message.state for message in laboratory.messages()} == {MessageState.DELIVERED}
    assert received[0] == received[1]
    assert len({uid for uid, _ in received}) == 3
    assert len(received) == 4


# ------------------------------------------------------------------------------------------------------------- commitment
def confirming(laboratory: ArchiveLaboratory, port: int, title: str, listen: int, ask: Any = None) -> Commitments:
    return Commitments(
        database=laboratory.database,
        entities={"pacs": lambda: Entity("127.0.0.1", port, title, "SPHERO", 3.0, 10.0)},
        make_listener=lambda on_report: CommitmentListener(on_report, ae_title="SPHERO", host="127.0.0.1", port=listen),
        patience_seconds=60.0,
        clock=laboratory.clock,
        **({"ask": ask} if ask else {}),
    )


def states(laboratory: ArchiveLaboratory) -> set[CommitmentState]:
    with laboratory.database.reading() as work:
        found = work.objects.commitments_of([message.message_id for message in work.outbox.list()])
    return {each.state for each in found.values()}


@ON_SQLITE
def test_orthanc_confirms_what_it_took(laboratory: ArchiveLaboratory, orthanc: Orthanc) -> None:
    laboratory.plans["pacs"] = ArchivePlan(BOTH, commitment=True)
    laboratory.work().report(laboratory.analyse("one"), "w")
    listen = free_port()
    orthanc.know(Modality("sphero", "SPHERO", listen))
    commitments = confirming(laboratory, orthanc.port, "ORTHANC", listen)
    assert commitments.ask("pacs") == 0  # nothing was delivered yet
    sender = laboratory.sender(scu(orthanc.port, "ORTHANC"))
    sender.drain()
    sender.close()
    commitments.start()
    try:
        wait_for(lambda: states(laboratory) == {CommitmentState.COMMITTED}, 30, what="the commitment")
    finally:
        commitments.stop()
    with laboratory.database.reading() as work:
        assert [each.action for each in work.audit.list()].count("commitment committed") == 3


def test_what_an_archive_does_not_keep_is_parked_and_may_be_sent_again(laboratory: ArchiveLaboratory) -> None:
    laboratory.plans["pacs"] = ArchivePlan(BOTH, commitment=True)
    laboratory.work().report(laboratory.analyse("one"), "w")
    received: list[tuple[str, bytes]] = []
    with archive(received, []) as port:
        sender = laboratory.sender(scu(port))
        sender.drain()
        lost = laboratory.messages()[1]

        def ask(_: Any, transaction: str, objects: Any, on_report: Any) -> bool:
            kept = tuple(uid for _, uid in objects if uid != lost.part)
            on_report(CommitmentReport(transaction, kept, {lost.part: "it does not have the object (0x0112)"}))
            on_report(CommitmentReport(transaction, kept, {lost.part: "it does not have the object (0x0112)"}))
            return True

        commitments = confirming(laboratory, port, "ARCHIVE", free_port(), ask)
        assert commitments.ask("pacs") == 3
        parked = laboratory.messages()[1]
        assert (parked.state, parked.message_id) == (MessageState.PARKED, lost.message_id)
        assert "does not have the object" in str(parked.reason)
        with laboratory.database.transaction("person") as work:
            work.outbox.resend(parked.message_id)
        sender.drain()
        sender.close()
    assert laboratory.messages()[1].state is MessageState.DELIVERED
    assert states(laboratory) == {CommitmentState.COMMITTED, CommitmentState.DUE}


@ON_SQLITE
def test_an_archive_that_never_answers_is_asked_again_and_then_a_person_is_told(laboratory: ArchiveLaboratory) -> None:
    laboratory.plans["pacs"] = ArchivePlan(frozenset({ObjectKind.REPORT}), commitment=True)
    laboratory.work().report(laboratory.analyse("one"), "w")
    with archive([], []) as port:
        sender = laboratory.sender(scu(port))
        sender.drain()
        sender.close()
    asked: list[str] = []

    def ask(_: Any, transaction: str, *__: Any) -> bool:
        asked.append(transaction)
        return False

    commitments = confirming(laboratory, 1, "ARCHIVE", free_port(), ask)
    for _ in range(8):
        commitments.ask("pacs")
        assert commitments.ask("pacs") == 0  # patience first
        laboratory.clock.advance(61)
    assert len(asked) == len(set(asked)) == 5
    assert {message.state for message in laboratory.messages()} == {MessageState.PARKED}


@ON_SQLITE
def test_an_archive_that_cannot_be_asked_costs_nothing(laboratory: ArchiveLaboratory) -> None:
    laboratory.plans["pacs"] = ArchivePlan(frozenset({ObjectKind.REPORT}), commitment=True)
    laboratory.work().report(laboratory.analyse("one"), "w")
    with archive([], []) as port:
        sender = laboratory.sender(scu(port))
        sender.drain()
        sender.close()
    away = confirming(laboratory, free_port(), "ARCHIVE", free_port())
    for _ in range(7):
        away.ask("pacs")
        laboratory.clock.advance(31)
    with laboratory.database.reading() as work:
        found = work.objects.commitments_of([message.message_id for message in work.outbox.list()])
    assert {(each.state, each.requests) for each in found.values()} == {(CommitmentState.ASKED, 0)}
