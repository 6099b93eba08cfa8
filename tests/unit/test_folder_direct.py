"""Files written past the page cache: whole, hashed, of their own length, also where a file system has no such thing."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from integrations.folder.direct import DirectWriter, open_new

PIECE = 4 * 1024 * 1024


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def written(path: Path, *parts: bytes) -> tuple[str, int]:
    descriptor = open_new(path)
    try:
        return DirectWriter().write(descriptor, parts)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("sizes", [(), (1,), (350, 4096), (4096,), (PIECE,), (300, PIECE - 300, 7), (10, PIECE + 5)])
def test_parts_become_one_file_of_their_length(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    parts = [pattern(size) for size in sizes]
    assert written(tmp_path / "file", *parts) == (hashlib.sha256(b"".join(parts)).hexdigest(), sum(sizes))
    assert (tmp_path / "file").read_bytes() == b"".join(parts)


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"first")
    with pytest.raises(FileExistsError):
        open_new(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_file_system_that_cannot_is_written_as_usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.write
    refused = []

    def write(descriptor: int, data: memoryview) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(len(data))
            raise OSError(errno.EINVAL, "Invalid argument")
        return really(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    assert written(tmp_path / "file", pattern(5000))[1] == 5000
    assert (tmp_path / "file").read_bytes() == pattern(5000)
    assert len(refused) == 1


def test_no_space_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        written(tmp_path / "file", pattern(10))
