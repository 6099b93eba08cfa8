"""File systems of some kilobytes, to run full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import missing_peer

KIB = 1024


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Put a file system of this many bytes where the folder is."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        missing_peer("tmpfs", "run the tests as a user who may mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(folder: Path, *, left: int = 0) -> Iterator[None]:
    """Leave only so many bytes free."""
    ballast = folder / "ballast"
    with ballast.open("wb") as stream:
        free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        os.posix_fallocate(stream.fileno(), 0, max(1, free - left))
    try:
        yield
    finally:
        ballast.unlink()
