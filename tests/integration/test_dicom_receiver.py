"""The receiver with real senders (dcmtk, pynetdicom): what is taken, what is refused, and that nothing half is left."""

from __future__ import annotations

import socket
import struct
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from db.errors import DatabaseUnavailable
from db.session import Database
from db.states import InstanceState
from integrations.dicom.catalogue import IMAGE_CLASSES, SYNTAXES
from tests.dicom_objects import Kind, write_study
from tests.dicom_peers import Modality, Orthanc, run_dcmtk
from tests.dicom_receiving import receiving, small_object, write_small
from tests.support import wait_for


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sphero.db'}"
    found: str = request.getfixturevalue("postgresql_url")
    return found


def test_dcmtk_stores_and_the_same_again_is_nothing_new(tmp_path: Path, url: str) -> None:
    files = write_study(tmp_path / "study", objects=3, width=64, height=64)
    with receiving(tmp_path, url=url) as ours:
        for _ in range(2):
            done = ours.send(*files)
            assert done.returncode == 0, done.stderr
        assert ours.uids == [str(dcmread(file).SOPInstanceUID) for file in files]
        assert len(ours.files) == 3
        with ours.database.reading() as work:
            views = work.instances.waiting()
        for file, view in zip(files, views, strict=True):
            kept, sent = dcmread(ours.store / view.stored_name), dcmread(file)
            assert kept == sent
            assert kept.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
            assert (view.study_uid, view.series_uid) == (sent.StudyInstanceUID, sent.SeriesInstanceUID)
            assert (view.source, view.calling_ae) == ("receiver", "SCANNER")


def test_other_bytes_under_a_known_uid_are_kept_and_told_as_a_failure(tmp_path: Path) -> None:
    first, other = write_small(tmp_path, 1, grey=10), write_small(tmp_path, 1, grey=11)
    with receiving(tmp_path) as ours:
        assert ours.send(first).returncode == 0
        for _ in range(2):
            done = ours.send(other)
            assert done.returncode != 0
            assert "CannotUnderstand" in done.stderr
        assert len(ours.uids) == 1
        assert len(ours.files) == 2
        with ours.database.reading() as work:
            assert len(work.instances.list(InstanceState.CONFLICT)) == 1


def test_echo_and_wrong_titles(tmp_path: Path) -> None:
    file = write_small(tmp_path)
    with receiving(tmp_path, allowed_ae_titles=["SCANNER"]) as ours:
        assert run_dcmtk("echoscu", "-aet", "SCANNER", "-aec", "SPHERO", "127.0.0.1", ours.port).returncode == 0
        stranger, wrong = ours.send(file, caller="STRANGER"), ours.send(file, called="OTHER")
        assert "Calling AE Title Not Recognized" in stranger.stderr + stranger.stdout
        assert "Called AE Title Not Recognized" in wrong.stderr + wrong.stdout
        assert ours.uids == []
        assert ours.send(file).returncode == 0


def test_other_addresses_are_turned_away(tmp_path: Path) -> None:
    with receiving(tmp_path, allowed_addresses=["10.0.0.0/8"]) as ours:
        assert ours.send(write_small(tmp_path)).returncode != 0
        with socket.create_connection(("127.0.0.1", ours.port), timeout=5) as connection:
            assert connection.recv(1) == b""
        assert ours.files == []
    with receiving(tmp_path, allowed_addresses=["127.0.0.1"]) as ours:
        assert ours.send(write_small(tmp_path)).returncode == 0


def test_one_association_more_than_are_taken_is_asked_to_come_again(tmp_path: Path) -> None:
    with receiving(tmp_path, max_associations=1) as ours:
        entity = AE("SCANNER")
        entity.add_requested_context("1.2.840.10008.1.1")
        first = entity.associate("127.0.0.1", ours.port, ae_title="SPHERO")
        assert first.is_established
        second = entity.associate("127.0.0.1", ours.port, ae_title="SPHERO")
        assert second.is_rejected
        assert second.acceptor.primitive.result == 2  # transient
        first.release()
        wait_for(lambda: ours.send(write_small(tmp_path)).returncode == 0, 10, what="a free association")


def test_every_class_is_taken_in_every_transfer_syntax(tmp_path: Path) -> None:
    with receiving(tmp_path) as ours:
        for sop_class in IMAGE_CLASSES:
            entity = AE("SCANNER")
            for syntax in SYNTAXES:
                entity.add_requested_context(sop_class, syntax)
            association = entity.associate("127.0.0.1", ours.port, ae_title="SPHERO")
            accepted = {str(context.transfer_syntax[0]) for context in association.accepted_contexts}
            association.release()
            assert accepted == set(SYNTAXES)


def test_what_is_compressed_stays_as_it_is(tmp_path: Path) -> None:
    data_set = small_object()
    jpeg = b"\xff\xd8" + bytes(98)  # not decoded here, whatever it holds
    data_set.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x64\0\0\0" + jpeg
    data_set["PixelData"].VR, data_set["PixelData"].is_undefined_length = "OB", True
    data_set.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    entity = AE("SCANNER")
    entity.add_requested_context(Kind.MICROSCOPIC.sop_class, JPEGBaseline8Bit)
    with receiving(tmp_path) as ours:
        association = entity.associate("127.0.0.1", ours.port, ae_title="SPHERO")
        assert association.send_c_store(data_set).Status == 0x0000
        association.release()
        (file,) = ours.files
        kept = dcmread(file)
        assert kept.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        assert kept.PixelData == data_set.PixelData


def test_the_status_tells_what_is_wrong(tmp_path: Path) -> None:
    entity = AE("SCANNER")
    for kind in (Kind.MICROSCOPIC, Kind.PHOTOGRAPHIC):
        entity.add_requested_context(kind.sop_class, ExplicitVRLittleEndian)
    with receiving(tmp_path) as ours:
        association = entity.associate("127.0.0.1", ours.port, ae_title="SPHERO")
        assert send_raw(association, small_object(), uid="1.2.3") == 0xA900
        assert send_raw(association, small_object(), sop_class=Kind.PHOTOGRAPHIC.sop_class) == 0xA900
        assert send_raw(association, small_object(), cut=1) == 0xC000
        assert send_raw(association, small_object(), cut=5000) == 0xC000
        assert ours.files == []
        assert send_raw(association, small_object()) == 0x0000
        assert send_raw(association, small_object(grey=7)) == 0xC111
        association.release()


def send_raw(association: Any, data_set: Dataset, *, uid: str = "", sop_class: str = "", cut: int = 0) -> int:
    """Send a data set with a command that says what is asked for, and without its last bytes; gives the status."""
    content = encode(data_set, False, True)
    assert content is not None
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = sop_class or data_set.SOPClassUID
    request.AffectedSOPInstanceUID = uid or data_set.SOPInstanceUID
    request.DataSet = BytesIO(content[: len(content) - cut])
    contexts = {str(each.abstract_syntax): each.context_id for each in association.accepted_contexts}
    association._reactor_checkpoint.clear()
    wait_for(lambda: association._is_paused, 10, every_s=0.001)
    association.dimse.send_msg(request, contexts[str(request.AffectedSOPClassUID)])
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return int(response.Status)


def test_data_sets_come_whole_however_they_are_cut_and_nothing_of_the_one_before(tmp_path: Path) -> None:
    entity = AE("SCANNER")
    entity.add_requested_context(Kind.MICROSCOPIC.sop_class, ExplicitVRLittleEndian)
    objects = [small_object(1, side=900), small_object(2, side=64), small_object(3, side=600)]
    with receiving(tmp_path) as ours:
        association = entity.associate("127.0.0.1", ours.port, ae_title="SPHERO")
        encoded = association.dul.socket.send

        def cut(pdu: bytes) -> None:
            if pdu[0] != 0x04 or pdu[11] & 1:  # no data, or of a command
                encoded(pdu)
                return
            (length, context, control), data = struct.unpack_from(">IBB", pdu, 6), pdu[12:]
            assert length == len(data) + 2
            # An empty one, two in a PDU, and a PDU that arrives in pieces.
            first, second, rest = data[:1], data[1:5000], data[5000:]
            items = [
                item(context, 0, b""),
                item(context, 0, first) + item(context, 0, second),
                item(context, control, rest),
            ]
            for content in items:
                whole = struct.pack(">BxI", 0x04, len(content)) + content
                for begin in range(0, len(whole), 60_000):
                    association.dul.socket.socket.sendall(whole[begin : begin + 60_000])

        association.dul.socket.send = cut
        assert [association.send_c_store(each).Status for each in objects] == [0, 0, 0]
        association.release()
        with ours.database.reading() as work:
            kept = [dcmread(ours.store / view.stored_name) for view in work.instances.waiting()]
        assert kept == objects
        assert [encode(each, False, True) for each in kept] == [encode(each, False, True) for each in objects]


def item(context: int, control: int, data: bytes) -> bytes:
    """A presentation data value item: PS3.8 section 9.3.5.1."""
    return struct.pack(">IBB", len(data) + 2, context, control) + data


def test_no_space_and_no_database_are_told_as_such_and_a_later_attempt_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_small(tmp_path)

    def away(*_: object) -> None:
        raise DatabaseUnavailable("the database cannot be reached")

    with receiving(tmp_path) as ours:
        with monkeypatch.context() as patched:
            patched.setattr(Database, "transaction", away)
            done = ours.send(file)
        assert "OutOfResources" in done.stderr
        assert ours.send(file).returncode == 0
        assert len(ours.uids) == 1


def test_a_connection_cut_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    entity = AE("SCANNER")
    entity.add_requested_context(Kind.MICROSCOPIC.sop_class, ExplicitVRLittleEndian)
    with receiving(tmp_path) as ours:
        association = entity.associate("127.0.0.1", ours.port, ae_title="SPHERO")
        begun = threading.Event()
        sent = association.dul.socket.send

        def send_half(data: bytes) -> None:
            sent(data[: len(data) // 2])
            begun.set()
            association.dul.socket._shutdown_socket()

        association.dul.socket.send = send_half
        threading.Thread(target=association.send_c_store, args=(small_object(side=600),), daemon=True).start()
        assert begun.wait(10)
        wait_for(lambda: ours.receiver._scp.associations == 0, 15, what="the end of the association")
        assert ours.files == []
        assert ours.uids == []
        assert ours.send(write_small(tmp_path)).returncode == 0


def test_what_is_too_large_or_too_long_ends_the_association_only(tmp_path: Path) -> None:
    large = write_small(tmp_path, side=700)  # 1.4 MiB
    with receiving(tmp_path, max_object_mib=1) as ours:
        assert ours.send(large).returncode != 0
        with socket.create_connection(("127.0.0.1", ours.port), timeout=10) as connection:
            connection.sendall(b"\x01\x00\x7f\xff\xff\xff")  # an association request of 2 GiB
            assert connection.recv(1) == b""
        assert ours.files == []
        assert ours.send(write_small(tmp_path, 2)).returncode == 0


def test_objects_sent_without_waiting_are_together_no_larger_than_one_may_be(tmp_path: Path) -> None:
    entity = AE("SCANNER")
    entity.add_requested_context(Kind.MICROSCOPIC.sop_class, ExplicitVRLittleEndian)
    in_hand, may_go_on = threading.Event(), threading.Event()

    def wait_in_hand() -> None:
        in_hand.set()
        may_go_on.wait(10)

    with receiving(tmp_path, max_object_mib=1, check_room=wait_in_hand) as ours:
        association = entity.associate("127.0.0.1", ours.port, ae_title="SPHERO")
        for number in (1, 2, 3):  # 0.7 MiB each
            threading.Thread(target=association.send_c_store, args=(small_object(number, side=490),)).start()
            assert in_hand.wait(10)
        wait_for(lambda: association.is_aborted, 10, what="the abort")
        may_go_on.set()
        wait_for(lambda: ours.receiver._scp.associations == 0, 10, what="the end of the association")


def test_peers_that_connect_and_leave_take_no_place(tmp_path: Path) -> None:
    with receiving(tmp_path, max_associations=2) as ours:
        for _ in range(30):  # as a load balancer does to see whether somebody listens
            socket.create_connection(("127.0.0.1", ours.port), timeout=5).close()
        # On a busy machine some of them are accepted only now; an association request may be waited for longer than this.
        wait_for(lambda: ours.send(write_small(tmp_path)).returncode == 0, 10, what="a free place")


def test_a_fragment_that_does_not_fit_ends_its_association_only(tmp_path: Path) -> None:
    entity = AE("SCANNER")
    entity.add_requested_context("1.2.840.10008.1.1")
    with receiving(tmp_path) as ours:
        association = entity.associate("127.0.0.1", ours.port, ae_title="SPHERO")
        association.dul.socket.socket.sendall(b"\x04\x00\x00\x00\x00\x06\x00\x00\xff\xff\x01\x03")
        wait_for(lambda: association.is_aborted, 10, what="the abort")
        assert ours.send(write_small(tmp_path)).returncode == 0


def test_a_silent_association_and_a_slow_pdu_end_by_their_deadlines(tmp_path: Path) -> None:
    with receiving(tmp_path, handshake_seconds=0.5, idle_seconds=1.0) as ours:
        begun = time.monotonic()
        stalled = stalling_association(ours.port)
        with socket.create_connection(("127.0.0.1", ours.port), timeout=10) as silent:
            with socket.create_connection(("127.0.0.1", ours.port), timeout=10) as slow:
                slow.sendall(b"\x01\x00\x00")
                assert ours.send(write_small(tmp_path)).returncode == 0
                assert slow.recv(1) == b""
            assert silent.recv(1) == b""
        wait_for(lambda: stalled.is_aborted, 5, what="the abort of the one that sent no more")
        assert time.monotonic() - begun < 5
        assert len(ours.files) == 1
        wait_for(lambda: ours.receiver._scp.associations == 0, 5, what="the end of the associations")


def stalling_association(port: int) -> Any:
    """Begin a data set, and send nothing after its first PDU."""
    entity = AE("SCANNER")
    entity.add_requested_context(Kind.MICROSCOPIC.sop_class, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title="SPHERO")
    sent, data = association.dul.socket.send, []

    def send_once(pdu: bytes) -> None:
        data.append(pdu) if pdu[0] == 0x04 and not pdu[11] & 1 else sent(pdu)
        if len(data) == 1:
            sent(pdu)

    association.dul.socket.send = send_once
    threading.Thread(target=association.send_c_store, args=(small_object(9, side=600),), daemon=True).start()
    return association


def test_four_associations_of_one_study_at_once(tmp_path: Path, url: str) -> None:
    files = write_study(tmp_path / "study", objects=12, width=64, height=64)
    results: list[int] = []
    with receiving(tmp_path, url=url) as ours:
        # Each sends most of the study, so that instances come twice at the same time.
        shares = [files[start:] + files[: start - 3] for start in (0, 3, 6, 9)]
        threads = [
            threading.Thread(target=lambda share=share: results.append(ours.send(*share).returncode))
            for share in shares
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert results == [0, 0, 0, 0]
        assert sorted(ours.uids) == sorted(str(dcmread(file).SOPInstanceUID) for file in files)
        assert len(ours.files) == 12


def test_a_receiver_that_stops_answers_what_it_has_in_hand(tmp_path: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def checkpoint(step: str) -> None:
        if step == "filed":
            entered.set()
            go_on.wait(10)

    results: list[int] = []
    with receiving(tmp_path, checkpoint=checkpoint) as ours:
        file = write_small(tmp_path)
        sender = threading.Thread(target=lambda: results.append(ours.send(file).returncode))
        sender.start()
        assert entered.wait(10)
        stopper = threading.Thread(target=ours.receiver.stop, args=(10.0,))
        stopper.start()
        time.sleep(0.2)
        go_on.set()
        stopper.join(15)
        sender.join(15)
        assert len(ours.uids) == 1
        assert not ours.receiver.is_listening
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", ours.port), timeout=1)


def test_orthanc_sends_a_study(tmp_path: Path) -> None:
    files = write_study(tmp_path / "study", objects=2, width=64, height=64)
    with receiving(tmp_path) as ours, Orthanc([Modality("ours", "SPHERO", ours.port)]) as orthanc:
        orthanc.send("ours", orthanc.put(*files))
        assert sorted(ours.uids) == sorted(str(dcmread(file).SOPInstanceUID) for file in files)
