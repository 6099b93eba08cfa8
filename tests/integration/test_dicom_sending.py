"""Objects to archives: into a real Orthanc and back, by C-STORE and STOW-RS; archives that refuse, break off or are away."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt

from integrations.dicom.commitment import CommitmentReport, request_commitment
from integrations.dicom.commitment_listener import CommitmentListener
from integrations.dicom.dicomweb import WebService
from integrations.dicom.evidence import DicomObject
from integrations.dicom.peer import Entity
from integrations.dicom.seg import build_segmentation
from integrations.dicom.store_scu import EMITTED, StoreScu
from integrations.dicom.storing import FrozenObject, StoreOutcome, outcome_of
from integrations.dicom.stow import StowClient
from integrations.dicom.uids import derive_uid
from integrations.dicom.vl_image import build_image
from tests.dicom_peers import Modality, Orthanc
from tests.dicom_results import BUNDLE, ORIGIN, SOFTWARE, SUBJECT, evidence, objects, plain, source
from tests.support import free_port, wait_for

OURS = "SPHERO"


@pytest.fixture(scope="module")
def orthanc() -> Iterator[Orthanc]:
    with Orthanc() as peer:
        yield peer


@pytest.fixture(scope="module")
def made() -> tuple[DicomObject, ...]:
    field = plain()
    segmentation = build_segmentation(evidence(source(field)), SUBJECT, ORIGIN, bundle=BUNDLE, software=SOFTWARE)
    assert segmentation is not None
    return (*objects(), segmentation)


def frozen(made: DicomObject, folder: Path) -> FrozenObject:
    path = folder / f"{made.ref.sop_instance_uid}.dcm"
    path.write_bytes(made.body)
    return FrozenObject(
        path, made.ref.sop_class_uid, made.ref.sop_instance_uid, made.transfer_syntax_uid, len(made.body)
    )


def entity(port: int, *, title: str = "ORTHANC", seconds: float = 10.0) -> Entity:
    return Entity("127.0.0.1", port, title, OURS, connect_seconds=3.0, timeout_seconds=seconds)


def data_set(file: bytes) -> bytes:
    """What follows the file meta group, which every store writes anew."""
    stream = io.BytesIO(file)
    length = dcmread(stream, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
    return file[128 + 4 + 12 + length :]


# ---------------------------------------------------------------------------------------------------------------- Orthanc
@pytest.mark.parametrize("way", ["c-store", "stow"])
def test_every_object_comes_back_byte_for_byte(
    way: str, orthanc: Orthanc, made: tuple[DicomObject, ...], tmp_path: Path
) -> None:
    orthanc.clear()
    client = (
        StoreScu(entity(orthanc.port)) if way == "c-store" else StowClient(WebService(orthanc.dicomweb_url, 3.0, 10.0))
    )
    assert client.probe() is None
    taken = made[:3] if way == "c-store" else made
    if way == "c-store":  # Orthanc 1.10.1 does not offer the class of label maps, which is of 2024
        assert client.send(frozen(made[3], tmp_path)).outcome is StoreOutcome.REFUSED
    for each in taken:
        answer = client.send(frozen(each, tmp_path))
        assert answer.outcome is StoreOutcome.ACCEPTED, answer
    again = client.send(frozen(taken[0], tmp_path))
    assert again.outcome is StoreOutcome.ACCEPTED
    client.close()
    for each in taken:
        assert data_set(orthanc.file(each.ref.sop_instance_uid)) == data_set(each.body)


def test_orthanc_confirms_what_it_keeps_and_names_what_it_lacks(
    orthanc: Orthanc, made: tuple[DicomObject, ...], tmp_path: Path
) -> None:
    port = free_port()
    reports: list[CommitmentReport] = []
    listener = CommitmentListener(reports.append, ae_title=OURS, host="127.0.0.1", port=port)
    listener.start()
    try:
        orthanc.know(Modality("us", OURS, port))
        scu = StoreScu(entity(orthanc.port))
        assert scu.send(frozen(made[1], tmp_path)).outcome is StoreOutcome.ACCEPTED
        scu.close()
        kept = made[1].ref.sop_class_uid, made[1].ref.sop_instance_uid
        lacking = made[2].ref.sop_class_uid, derive_uid("never sent")
        transaction = derive_uid("transaction", 1)
        request_commitment(entity(orthanc.port), transaction, [kept, lacking], reports.append, stay_seconds=0.1)
        wait_for(lambda: reports, 20, what="the report")
    finally:
        listener.stop()
    (report,) = reports
    assert report.transaction_uid == transaction
    assert report.committed == (kept[1],)
    assert report.failed == {lacking[1]: "it does not have the object (0x0112)"}


def test_an_archive_that_went_away_is_found_again(
    orthanc: Orthanc, made: tuple[DicomObject, ...], tmp_path: Path
) -> None:
    scu = StoreScu(entity(orthanc.port, seconds=3.0))
    assert scu.send(frozen(made[1], tmp_path)).outcome is StoreOutcome.ACCEPTED
    orthanc.stop(kill=True)
    wait_for(lambda: scu.send(frozen(made[1], tmp_path)).outcome is StoreOutcome.NOT_SENT, 10, what="the loss")
    assert "cannot be reached" in str(scu.probe())
    orthanc.start()
    assert scu.send(frozen(made[1], tmp_path)).outcome is StoreOutcome.ACCEPTED
    scu.close()


# ------------------------------------------------------------------------------------------------------ scripted archives
@contextmanager
def archive(handler: Any, *, port: int = 0, contexts: Any = EMITTED) -> Iterator[int]:
    """A scripted archive that answers C-STORE by `handler`."""
    ae = AE(ae_title="ARCHIVE")
    for sop_class in dict(contexts):
        ae.add_supported_context(sop_class, ALL_TRANSFER_SYNTAXES)
    port = port or free_port()
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, handler)])
    try:
        yield port
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0xA700, StoreOutcome.BUSY),
        (0xA701, StoreOutcome.BUSY),
        (0xA900, StoreOutcome.REFUSED),
        (0xC000, StoreOutcome.REFUSED),
        (0x0122, StoreOutcome.REFUSED),
        (0xB000, StoreOutcome.ACCEPTED),
        (0x0111, StoreOutcome.ACCEPTED),
    ],
)
def test_a_status_says_what_becomes_of_the_object(
    status: int, outcome: StoreOutcome, made: tuple[DicomObject, ...], tmp_path: Path
) -> None:
    assert outcome_of(status)[0] is outcome
    if status in (0xA700, 0xC000):  # on the wire, too
        with archive(lambda _: status) as port:
            scu = StoreScu(entity(port, title="ARCHIVE"))
            answer = scu.send(frozen(made[2], tmp_path))
            scu.close()
        assert (answer.outcome, answer.code) == (outcome, f"0x{status:04X}")


def test_an_association_that_is_aborted_half_way_leaves_the_outcome_unknown(
    made: tuple[DicomObject, ...], tmp_path: Path
) -> None:
    received: list[bytes] = []

    def abort_once(event: Any) -> int:
        received.append(event.request.DataSet.getvalue())
        if len(received) == 1:
            event.assoc.abort()
        return 0

    with archive(abort_once) as port:
        scu = StoreScu(entity(port, title="ARCHIVE", seconds=5.0))
        assert scu.send(frozen(made[1], tmp_path)).outcome is StoreOutcome.UNKNOWN
        assert scu.send(frozen(made[1], tmp_path)).outcome is StoreOutcome.ACCEPTED
        scu.close()
    assert received[0] == received[1] == data_set(made[1].body)


def test_an_archive_that_does_not_know_the_class_is_not_asked_twice(
    made: tuple[DicomObject, ...], tmp_path: Path
) -> None:
    with archive(lambda _: 0, contexts=EMITTED[:1]) as port:
        scu = StoreScu(entity(port, title="ARCHIVE"))
        assert scu.send(frozen(made[0], tmp_path)).outcome is StoreOutcome.ACCEPTED
        answer = scu.send(frozen(made[1], tmp_path))
        scu.close()
    assert answer.outcome is StoreOutcome.REFUSED
    assert "does not accept this class" in answer.reason


def test_a_silent_archive_ends_the_attempt_by_its_deadline(made: tuple[DicomObject, ...], tmp_path: Path) -> None:
    release = threading.Event()

    def silent(_: Any) -> int:
        release.wait(20)
        return 0

    with archive(silent) as port:
        scu = StoreScu(entity(port, title="ARCHIVE", seconds=1.0))
        began = time.monotonic()
        answer = scu.send(frozen(made[2], tmp_path))
        took = time.monotonic() - began
        release.set()
        scu.close()
    assert answer.outcome is StoreOutcome.UNKNOWN
    assert took < 10


def test_an_association_that_is_not_used_is_released(made: tuple[DicomObject, ...], tmp_path: Path) -> None:
    released = threading.Event()
    ae = AE(ae_title="ARCHIVE")
    for sop_class in dict(EMITTED):
        ae.add_supported_context(sop_class, ALL_TRANSFER_SYNTAXES)
    port = free_port()
    server = ae.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, lambda _: 0), (evt.EVT_RELEASED, lambda _: released.set())],
    )
    try:
        scu = StoreScu(entity(port, title="ARCHIVE"), idle_seconds=0.2)
        assert scu.send(frozen(made[2], tmp_path)).outcome is StoreOutcome.ACCEPTED
        assert released.wait(10)
        assert scu.send(frozen(made[2], tmp_path)).outcome is StoreOutcome.ACCEPTED
        scu.close()
    finally:
        server.shutdown()


def test_a_wrong_title_is_told_and_nothing_is_sent(made: tuple[DicomObject, ...], tmp_path: Path) -> None:
    ae = AE(ae_title="ARCHIVE")
    ae.require_called_aet = True
    ae.add_supported_context(EMITTED[0][0])
    port = free_port()
    server = ae.start_server(("127.0.0.1", port), block=False)
    try:
        scu = StoreScu(entity(port, title="OTHER"))
        assert "ae_title" in str(scu.probe())
        assert scu.send(frozen(made[2], tmp_path)).outcome is StoreOutcome.NOT_SENT
        scu.close()
    finally:
        server.shutdown()


# ---------------------------------------------------------------------------------------------------------------- STOW-RS
def failure(uid: str, reason: int) -> bytes:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


def stored(uid: str, warning: int | None = None) -> bytes:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if warning is not None:
        item["00081196"] = {"vr": "US", "Value": [warning]}
    return json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()


@contextmanager
def web(status: int, body: bytes, received: list[bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()


UID = objects()[2].ref.sop_instance_uid


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, stored(UID), StoreOutcome.ACCEPTED),
        (202, stored(UID, 0xB000), StoreOutcome.ACCEPTED),
        (200, b"", StoreOutcome.ACCEPTED),
        (200, failure(UID, 0xC000), StoreOutcome.REFUSED),
        (202, b"not json", StoreOutcome.UNKNOWN),
        (409, failure(UID, 0x0122), StoreOutcome.REFUSED),
        (409, failure(UID, 0xA700), StoreOutcome.BUSY),
        (409, b"", StoreOutcome.REFUSED),
        (413, b"", StoreOutcome.REFUSED),
        (503, b"", StoreOutcome.BUSY),
        (401, b"", StoreOutcome.NOT_SENT),
        (500, b"", StoreOutcome.UNKNOWN),
    ],
)
def test_an_answer_of_stow_says_what_becomes_of_the_object(
    status: int, body: bytes, outcome: StoreOutcome, made: tuple[DicomObject, ...], tmp_path: Path
) -> None:
    received: list[bytes] = []
    with web(status, body, received) as url:
        client = StowClient(WebService(url, 3.0, 5.0))
        answer = client.send(frozen(made[2], tmp_path))
        client.close()
    assert answer.outcome is outcome, answer
    assert made[2].body in received[0]


def test_a_web_archive_that_is_away_or_breaks_off(made: tuple[DicomObject, ...], tmp_path: Path) -> None:
    port = free_port()
    client = StowClient(WebService(f"http://127.0.0.1:{port}/dicom-web", 1.0, 2.0))
    assert "cannot be reached" in str(client.probe())
    assert client.send(frozen(made[2], tmp_path)).outcome is StoreOutcome.NOT_SENT
    with socket.create_server(("127.0.0.1", port)) as server:

        def break_off() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=break_off, daemon=True)
        thread.start()
        assert client.send(frozen(made[2], tmp_path)).outcome is StoreOutcome.UNKNOWN
        thread.join(5)
    client.close()


def test_a_field_as_jpeg_is_stored_in_its_own_syntax(orthanc: Orthanc, tmp_path: Path) -> None:
    import cv2

    field = plain(number=2)
    jpeg = cv2.imencode(".jpg", field.pixels)[1].tobytes()
    image = build_image(
        type(field)(2, field.sha256, 0, field.pixels, jpeg), source(field), SUBJECT, ORIGIN, software=SOFTWARE
    )
    scu = StoreScu(entity(orthanc.port))
    assert scu.send(frozen(image, tmp_path)).outcome is StoreOutcome.ACCEPTED
    scu.close()
    assert data_set(orthanc.file(image.ref.sop_instance_uid)) == data_set(image.body)
