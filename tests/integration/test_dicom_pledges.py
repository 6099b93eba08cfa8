"""Storage Commitment as its provider: real requesters are told what is durably kept, and what is not, until they take it."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from db.pledges import PledgeView
from db.session import Database
from db.states import PledgeState
from integrations.dicom.pledge import COMMITMENT, COMMITMENT_INSTANCE, NotKept
from tests.database_examples import ManualClock
from tests.dicom_objects import Kind
from tests.dicom_peers import Modality, Orthanc
from tests.dicom_receiving import Receiving, receiving, write_small
from tests.support import free_port, wait_for

TRANSACTION = "1.2.276.0.7230010.9.1"
MICROSCOPIC = Kind.MICROSCOPIC.sop_class


class Requester:
    """A requester that also listens, and keeps what it is told."""

    def __init__(self, status: int = 0x0000) -> None:
        self.told: queue.Queue[tuple[int, Dataset]] = queue.Queue()
        self.status = status

    @property
    def handlers(self) -> list[Any]:
        return [(evt.EVT_N_EVENT_REPORT, self._take)]

    def _take(self, event: Any) -> tuple[int, None]:
        self.told.put((event.event_type, event.event_information))
        return self.status, None

    @contextmanager
    def listening(self, port: int) -> Iterator[None]:
        entity = AE("SCANNER")
        entity.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)
        server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=self.handlers)
        try:
            yield
        finally:
            server.shutdown()

    def associate(self, port: int) -> Any:
        entity = AE("SCANNER")
        entity.add_requested_context(COMMITMENT)
        association = entity.associate("127.0.0.1", port, ae_title="SPHERO", evt_handlers=self.handlers)
        assert association.is_established
        return association

    def hears(self) -> tuple[int, set[str], dict[str, int]]:
        """Event type, the UIDs that are kept, and those that are not with the reason."""
        event, told = self.told.get(timeout=30)
        assert told.TransactionUID == TRANSACTION
        kept = {str(item.ReferencedSOPInstanceUID) for item in told.get("ReferencedSOPSequence", [])}
        failed = {str(i.ReferencedSOPInstanceUID): int(i.FailureReason) for i in told.get("FailedSOPSequence", [])}
        return event, kept, failed


def request(*references: tuple[str, str], transaction: str = TRANSACTION) -> Dataset:
    wanted = Dataset()
    wanted.TransactionUID = transaction
    wanted.ReferencedSOPSequence = []
    for sop_class, uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        wanted.ReferencedSOPSequence.append(item)
    return wanted


def ask(association: Any, wanted: Dataset, action: int = 1) -> int:
    status, _ = association.send_n_action(wanted, action, COMMITMENT, COMMITMENT_INSTANCE)
    return int(status.Status)


def is_answered(ours: Receiving) -> bool:
    with ours.database.reading() as work:
        query = work.pledges._session.connection().exec_driver_sql("SELECT state FROM pledges")
        return [row[0] for row in query] == [PledgeState.ANSWERED.value]


def test_a_requester_that_waits_is_told_on_its_association(tmp_path: Path) -> None:
    files = [write_small(tmp_path, number) for number in (1, 2, 3)]
    kept, conflict, other_class = (str(dcmread(file).SOPInstanceUID) for file in files)
    requester = Requester()
    with receiving(tmp_path) as ours:
        assert ours.send(*files).returncode == 0
        assert ours.send(write_small(tmp_path, 2, grey=99)).returncode != 0
        association = requester.associate(ours.port)
        pairs = (MICROSCOPIC, kept), (MICROSCOPIC, conflict), (Kind.PHOTOGRAPHIC.sop_class, other_class)
        assert ask(association, request(*pairs, (MICROSCOPIC, "1.2.3"))) == 0x0000
        assert requester.hears() == (
            2,
            {kept},
            {
                conflict: NotKept.PROCESSING_FAILURE,
                other_class: NotKept.CLASS_CONFLICT,
                "1.2.3": NotKept.NO_SUCH_INSTANCE,
            },
        )
        wait_for(lambda: is_answered(ours), 10)
        assert ask(association, request((MICROSCOPIC, kept))) == 0x0000  # the same transaction: told again
        assert requester.hears()[0] == 2
        association.release()


def test_a_requester_that_left_is_told_on_an_association_of_ours_when_it_is_there_again(tmp_path: Path) -> None:
    file = write_small(tmp_path)
    uid = str(dcmread(file).SOPInstanceUID)
    port = free_port()
    requester = Requester()
    with receiving(tmp_path, requester=[{"ae_title": "SCANNER", "host": "127.0.0.1", "port": port}]) as ours:
        assert ours.send(file).returncode == 0
        association = requester.associate(ours.port)
        assert ask(association, request((MICROSCOPIC, uid))) == 0x0000
        association.release()

        def was_tried() -> bool:
            with ours.database.reading() as work:
                found = work.pledges._session.connection().exec_driver_sql("SELECT attempts FROM pledges").scalar()
            return bool(found)

        wait_for(was_tried, 20, what="the first attempt, in vain")
        with requester.listening(port):
            assert requester.hears() == (1, {uid}, {})
            wait_for(lambda: is_answered(ours), 20)


def test_requests_survive_the_receiver(tmp_path: Path) -> None:
    file = write_small(tmp_path)
    uid = str(dcmread(file).SOPInstanceUID)
    requester = Requester()
    with receiving(tmp_path) as ours:
        assert ours.send(file).returncode == 0
        ours.receiver._pledges._stopping.set()  # killed before it answers
        association = requester.associate(ours.port)
        assert ask(association, request((MICROSCOPIC, uid))) == 0x0000
        association.release()
    with receiving(tmp_path) as ours:
        association = requester.associate(ours.port)
        assert requester.hears() == (1, {uid}, {})
        wait_for(lambda: is_answered(ours), 10)
        association.release()


def test_requests_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    requester = Requester()
    with receiving(tmp_path) as ours:
        association = requester.associate(ours.port)
        assert ask(association, request(("1.2", "1.2.3")), action=7) == 0x0123
        assert ask(association, request()) == 0x0115
        nameless = request((MICROSCOPIC, "1.2.3"))
        del nameless.TransactionUID
        assert ask(association, nameless) == 0x0115
        association.release()
        with ours.database.reading() as work:
            assert work.pledges.due() == ()


def test_orthanc_is_told(tmp_path: Path) -> None:
    files = [write_small(tmp_path, number) for number in (1, 2)]
    kept, unknown = (str(dcmread(file).SOPInstanceUID) for file in files)
    with Orthanc() as orthanc:
        requester = [{"ae_title": "ORTHANC", "host": "127.0.0.1", "port": orthanc.port}]
        with receiving(tmp_path, requester=requester) as ours:
            orthanc.know(Modality("ours", "SPHERO", ours.port))
            orthanc.send("ours", orthanc.put(files[0]))
            wanted = {"DicomInstances": [[MICROSCOPIC, kept], [MICROSCOPIC, unknown]]}
            transaction = orthanc.rest("POST", "/modalities/ours/storage-commitment", wanted)["ID"]

            def report() -> Any:
                found = orthanc.rest("GET", f"/storage-commitment/{transaction}")
                return found if found["Status"] != "Pending" else None

            found = wait_for(report, 30, what="the report of Orthanc")
    assert found["Status"] == "Failure"
    assert [each["SOPInstanceUID"] for each in found["Success"]] == [kept]
    failures = [(each["SOPInstanceUID"], each["FailureReason"]) for each in found["Failures"]]
    assert failures == [(unknown, NotKept.NO_SUCH_INSTANCE)]


def test_the_table_of_requests(database: Database, clock: ManualClock) -> None:
    pairs = (("1.2", "1.2.3"), ("1.2", "1.2.4"))

    def due() -> tuple[PledgeView, ...]:
        with database.reading() as work:
            return work.pledges.due()

    with database.transaction("test") as work:
        pledge_id = work.pledges.ask("SCANNER", TRANSACTION, pairs, delay_seconds=1)
        assert work.pledges.ask("SCANNER", TRANSACTION, pairs, delay_seconds=1) == pledge_id
        assert work.pledges.ask("OTHER", TRANSACTION, pairs[:1], delay_seconds=1) != pledge_id
    assert due() == ()
    clock.advance(1)
    assert [view.references for view in due()] == [pairs, pairs[:1]]
    with database.transaction("test") as work:
        work.pledges.postpone(pledge_id, 60, "away")
    assert [view.requester for view in due()] == ["OTHER"]
    clock.advance(60)
    assert {view.reason for view in due()} == {"away", None}
    with database.transaction("test") as work:
        for _ in range(2):
            work.pledges.settle(pledge_id, PledgeState.ANSWERED, kept=2)
    assert [view.requester for view in due()] == ["OTHER"]
    clock.advance(100_000)
    with database.transaction("test") as work:
        work.pledges.ask("SCANNER", TRANSACTION, pairs, delay_seconds=0)
        again = work.pledges.get(pledge_id)
        assert again.state is PledgeState.WAITING
        assert again.received_at == again.next_attempt_at, "else it would be given up for its age at once"
    with database.reading() as work:
        actions = [event.action for event in work.audit.list()]
    assert actions.count("commitment asked again") == 2
    assert actions.count("commitment answered") == 1


@pytest.mark.parametrize("missing", [True, False])
def test_a_file_that_is_gone_or_short_is_not_promised(tmp_path: Path, missing: bool) -> None:
    file = write_small(tmp_path)
    uid = str(dcmread(file).SOPInstanceUID)
    requester = Requester()
    with receiving(tmp_path) as ours:
        assert ours.send(file).returncode == 0
        (kept,) = ours.files
        kept.unlink()
        if not missing:
            kept.write_bytes(b"short")
        association = requester.associate(ours.port)
        assert ask(association, request((MICROSCOPIC, uid))) == 0x0000
        assert requester.hears() == (2, set(), {uid: NotKept.PROCESSING_FAILURE})
        wait_for(lambda: is_answered(ours), 10)  # a requester that leaves before its answer left is told once more
        association.release()
