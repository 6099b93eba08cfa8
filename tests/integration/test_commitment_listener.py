"""Where archives report commitments: under TLS, and whatever else connects."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import build_context, build_role

from integrations.dicom.commitment import ALL_COMMITTED, PUSH_MODEL, PUSH_MODEL_INSTANCE, CommitmentReport
from integrations.dicom.commitment_listener import CommitmentListener
from integrations.dicom.peer import Entity, associate, echo
from integrations.errors import PeerUnavailable
from integrations.tls import TlsFiles
from tests.certificates import Authority
from tests.support import free_port

PATIENCE = 1.5
"""Seconds that the listener gives to whoever connects."""


class Listening:
    """A listener under TLS, and an archive's way to it."""

    def __init__(self, folder: Path) -> None:
        self.reports: list[CommitmentReport] = []
        self.port = free_port()
        authority = Authority(folder)
        self._archive = authority.sign("archive")
        self.listener = CommitmentListener(
            self.reports.append,
            ae_title="SPHERO",
            host="127.0.0.1",
            port=self.port,
            allowed_ae_titles=["PACS"],
            tls=authority.sign("ours"),
            timeout_seconds=PATIENCE,
        )

    def entity(self, title: str = "PACS", *, tls: bool = True) -> Entity:
        files: TlsFiles | None = self._archive if tls else None
        return Entity("127.0.0.1", self.port, "SPHERO", title, 5.0, 5.0, tls=files, server_name="localhost")

    def report(self, transaction: str) -> int:
        told = Dataset()
        told.TransactionUID = transaction
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.3", "1.2.3.4"
        told.ReferencedSOPSequence = [item]
        roles = [build_role(PUSH_MODEL, scp_role=True)]
        with associate(self.entity(), [build_context(PUSH_MODEL)], roles=roles) as association:
            status, _ = association.send_n_event_report(told, ALL_COMMITTED, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        return int(status.Status)


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Listening]:
    listening = Listening(tmp_path)
    listening.listener.start()
    yield listening
    listening.listener.stop()


def test_a_silent_client_holds_up_no_report_and_is_let_go(ours: Listening) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", ours.port), timeout=20)) for _ in range(3)]
        silent[1].sendall(b"\x16\x03\x01")  # a TLS record that begins
        began = time.monotonic()
        assert ours.report("1.2.3") == 0
        assert time.monotonic() - began < PATIENCE, "nobody waited for the silent ones"
        assert [each.recv(1) for each in silent] == [b""] * 3
    assert [(each.transaction_uid, each.committed) for each in ours.reports] == [("1.2.3", ("1.2.3.4",))]


def test_strangers_are_rejected_and_the_archive_is_heard_after_them(ours: Listening) -> None:
    for stranger in (ours.entity("STRANGER"), ours.entity(tls=False)):
        with pytest.raises(PeerUnavailable):
            echo(stranger)
    echo(ours.entity())
    assert ours.report("1.2.4") == 0
