"""Writing into our own folders so that it is there after a power failure, and errors of ours when it is not."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integrations.errors import SourceChanged, StoreError, StoreFull
from integrations.folder.source import source_errors

_CHUNK = 1 << 20


def partial_name(name: str = "") -> str:
    """Name of a file of ours that is not whole yet; by its beginning this machine knows its own where several share a store."""
    return f"{socket.gethostname().split('.')[0]}.{name}"


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn an OSError about our own folders into one of ours."""
    try:
        yield
    except OSError as error:
        code = error.errno or errno.EIO
        if code in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(
                "No space is left for the images: free some, or set [paths] data to a larger disk."
            ) from None
        raise StoreError(
            f"The image store cannot be written ({os.strerror(code)}): check the disk and the rights on [paths] data."
        ) from None


def copy_hashing(source: int, target: int, size: int) -> str:
    """Copy between descriptors; gives the SHA-256 (hex). Stops when more than `size` bytes come."""
    digest = hashlib.sha256()
    copied = 0
    while True:
        with source_errors():
            chunk = os.read(source, _CHUNK)
        copied += len(chunk)
        if copied > size or (not chunk and copied < size):
            raise SourceChanged("The file changed while it was copied: it is taken once it stops changing.")
        if not chunk:
            return digest.hexdigest()
        digest.update(chunk)
        with store_errors():
            view = memoryview(chunk)
            while view:
                view = view[os.write(target, view) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Write a small file anew and make its content durable."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)
