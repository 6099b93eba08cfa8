"""The receiver as a process of its own: begun anew when it is killed, ended with the service, and clear when it cannot serve."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.session import Database
from flows.config import check_settings
from flows.errors import ServiceError
from flows.places import places_of
from flows.receiver_child import ReceiverOrder
from flows.receiver_process import ReceiverProcess
from flows.settings import Settings
from tests.dicom_peers import run_dcmtk
from tests.dicom_receiving import write_small
from tests.running import ROOT
from tests.support import free_port, wait_for

START = 60.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    values = {"paths": {"data": "data"}, "dicom": {"receiver": {"enabled": True, "port": free_port()}}}
    made = check_settings(values, tmp_path)
    places_of(made).make()
    with Database(made.database.url) as database:
        database.upgrade()
    return made


@pytest.fixture
def receiver(settings: Settings) -> Iterator[ReceiverProcess]:
    process = ReceiverProcess(settings, places_of(settings))
    process.start()
    yield process
    process.stop()


def sends(settings: Settings, file: Path) -> bool:
    port = settings.dicom.receiver.port
    return run_dcmtk("storescu", "-aec", "SPHERO", "127.0.0.1", port, file, check=False).returncode == 0


def test_a_killed_receiver_is_begun_anew_and_a_stopped_one_is_gone(
    settings: Settings, receiver: ReceiverProcess, tmp_path: Path
) -> None:
    wait_for(lambda: receiver.is_ready_or_fails(0.1), START)
    assert sends(settings, write_small(tmp_path, 1))
    first = receiver.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: receiver.pid not in (None, first) and receiver.problem is None, START, what="another process")
    assert sends(settings, write_small(tmp_path, 2))
    last = receiver.pid
    receiver.stop()
    assert receiver.pid is None
    assert not Path(f"/proc/{last}").exists()
    assert not sends(settings, write_small(tmp_path, 3))
    with Database(settings.database.url) as database, database.reading() as work:
        assert len(work.instances.waiting()) == 2


def test_a_port_that_is_taken_is_told(settings: Settings) -> None:
    port = settings.dicom.receiver.port
    receiver = ReceiverProcess(settings, places_of(settings))
    with socket.create_server(("127.0.0.1", port)):
        receiver.start()
        try:
            with pytest.raises(ServiceError, match=rf"{port} cannot be listened on"):
                wait_for(lambda: receiver.is_ready_or_fails(0.1), START)
            assert "cannot be listened on" in str(receiver.problem)
        finally:
            receiver.stop()


def test_the_process_ends_with_whoever_started_it(settings: Settings) -> None:
    order = ReceiverOrder(
        database_url=settings.database.url, store=places_of(settings).store, settings=settings.dicom.receiver
    )
    command = [sys.executable, "-c", "import sys; from flows.receiver_child import main; sys.exit(main())"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(order.model_dump_json().encode() + b"\n")
    child.stdin.flush()
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGTERM)  # of the whole group, as Ctrl-C is: the service ends it in its own time
    assert child.poll() is None
    child.stdin.close()  # as the kernel does for a parent that was killed
    assert child.wait(START) == 0
    child.stdout.close()


def test_without_a_receiver_nothing_is_waited_for(tmp_path: Path) -> None:
    settings = check_settings({"paths": {"data": "data"}}, tmp_path)
    process = ReceiverProcess(settings, places_of(settings))
    process.start()
    assert process.is_ready_or_fails(0.0)
    assert process.pid is None
    process.stop()
