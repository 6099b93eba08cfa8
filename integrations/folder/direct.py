"""New files written past the page cache, so that making them durable costs no more than the disk takes for their bytes.

Through the page cache each byte is copied once more, and the kernel does at `fsync` what it put off: on the machine of
`deploy/docs/measurements.md` that takes ten times the processor time of the disk's own transfer.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

_PIECE = 4 * 1024 * 1024
_BUFFERS = 4  # so many files are written at a time; more would not be quicker
_ALIGNMENT = mmap.PAGESIZE  # of memory and lengths, at least the block size of any disk
_DIRECT = getattr(os, "O_DIRECT", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_MODE = 0o640


class DirectWriter:
    """Writes files; for any number of threads."""

    def __init__(self) -> None:
        self._buffers: SimpleQueue[mmap.mmap] = SimpleQueue()
        for _ in range(_BUFFERS):
            self._buffers.put(mmap.mmap(-1, _PIECE))  # takes memory when it is used first

    def write(self, descriptor: int, parts: Iterable[bytes | memoryview]) -> tuple[str, int]:
        """Write a new file; on return its bytes are durable, its name is not yet.

        Parameters
        ----------
        descriptor : int
            Of `open_new`.
        parts : iterable of bytes-like
            Its content, one after the other.

        Returns
        -------
        tuple
            SHA-256 of the content in hex, and its length in bytes.

        Raises
        ------
        OSError
        """
        digest, size = hashlib.sha256(), 0
        with self._buffer() as buffer:
            for count in _filled(buffer, parts):
                digest.update(buffer[:count])
                padded = -(-count // _ALIGNMENT) * _ALIGNMENT
                buffer[count:padded] = bytes(padded - count)
                _write_all(descriptor, buffer[:padded])
                size += count
        os.ftruncate(descriptor, size)  # what filled up the last block
        os.fsync(descriptor)
        return digest.hexdigest(), size

    @contextmanager
    def _buffer(self) -> Iterator[memoryview]:
        memory = self._buffers.get()
        try:
            with memoryview(memory) as view:
                yield view
        finally:
            self._buffers.put(memory)


def open_new(path: Path) -> int:
    """Open a file that must not be there, for `DirectWriter.write`.

    Raises
    ------
    OSError
    """
    try:
        return os.open(path, _NEW | _DIRECT, _MODE)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what a file system says that has no such thing (older tmpfs)
            raise
    path.unlink(missing_ok=True)  # some have made it by then
    return os.open(path, _NEW, _MODE)


def _filled(buffer: memoryview, parts: Iterable[bytes | memoryview]) -> Iterator[int]:
    """Fill the buffer again and again; gives each time how many bytes stand in it."""
    filled = 0
    for part in parts:
        rest = memoryview(part)
        while rest:
            count = min(len(rest), len(buffer) - filled)
            buffer[filled : filled + count] = rest[:count]
            rest, filled = rest[count:], filled + count
            if filled == len(buffer):
                yield filled
                filled = 0
    if filled:
        yield filled


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except OSError as error:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & _DIRECT:
                raise
            # This file system, or what is left after a short write, cannot go past the page cache.
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~_DIRECT)
