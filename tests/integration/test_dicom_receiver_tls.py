"""The receiver under TLS, with dcmtk and raw connections: who may connect, and that nobody holds up the others."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.tls import TlsFiles
from tests.certificates import Authority
from tests.dicom_receiving import Receiving, receiving, write_small

HANDSHAKE = 1.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def ours(tmp_path: Path, authority: Authority) -> Iterator[Receiving]:
    files = authority.sign("receiver")
    settings: dict[str, Any] = {"ca_file": files.ca_file, "cert_file": files.cert_file, "key_file": files.key_file}
    with receiving(tmp_path, tls=True, handshake_seconds=HANDSHAKE, **settings) as running:
        yield running


def tls(files: TlsFiles) -> tuple[str, ...]:
    return ("+tls", str(files.key_file), str(files.cert_file), "+cf", str(files.ca_file))


def test_a_sender_with_a_certificate_of_the_authority_is_taken(
    tmp_path: Path, authority: Authority, ours: Receiving
) -> None:
    done = ours.send(write_small(tmp_path), options=tls(authority.sign("scanner")))
    assert done.returncode == 0, done.stderr
    assert len(ours.uids) == 1


def test_nobody_else_is_taken(tmp_path: Path, authority: Authority, ours: Receiving) -> None:
    file = write_small(tmp_path)
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "stranger").sign("stranger")
    strange = TlsFiles(authority.file, stranger.cert_file, stranger.key_file)
    for options in (tls(strange), ("+tla", "+cf", str(authority.file)), ()):
        assert ours.send(file, options=options).returncode != 0
    assert ours.files == []
    assert ours.send(file, options=tls(authority.sign("scanner"))).returncode == 0


def test_silent_and_slow_clients_hold_up_nobody_and_end_by_their_deadline(
    tmp_path: Path, authority: Authority, ours: Receiving
) -> None:
    begun = time.monotonic()
    silent = [socket.create_connection(("127.0.0.1", ours.port), timeout=20) for _ in range(3)]
    silent[1].sendall(b"\x16\x03\x01")  # a TLS record that begins
    done = ours.send(write_small(tmp_path), options=tls(authority.sign("scanner")))
    assert done.returncode == 0, done.stderr
    for connection in silent:
        with connection:
            assert connection.recv(1) == b""
    assert time.monotonic() - begun < HANDSHAKE + 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a tmpfs of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command: list[Any] = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_told_as_such_and_a_later_attempt_succeeds(tmp_path: Path, small_disk: Path) -> None:
    files = [write_small(tmp_path, number, side=500) for number in (1, 2, 3)]  # 750 kB each
    with receiving(tmp_path, store=small_disk / "store") as ours:
        assert ours.send(*files[:2]).returncode == 0
        for _ in range(2):
            done = ours.send(files[2])
            assert "OutOfResources" in done.stderr
        assert len(ours.files) == len(ours.uids) == 2
        ours.files[0].unlink()  # somebody makes room
        assert ours.send(files[2]).returncode == 0
        assert len(ours.uids) == 3
