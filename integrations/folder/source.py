"""A file in the incoming folder, and how it is opened.

Between the scan and the opening a stranger may put a symbolic link, a FIFO or a device in the file's place. Therefore
each step of the path is opened by itself with ``O_NOFOLLOW``, the file with ``O_NONBLOCK``, and only a regular file that
has still the size and time of the scan is handed out.

Inode numbers are not compared: some network file systems change them between two looks.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from integrations.errors import SourceChanged, SourceError, SourceGone, SourceRefused, SourceUnreadable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A regular file as the scan saw it.

    Attributes
    ----------
    parts : tuple of str
        Path below the incoming folder: the case's folder first, the file's name last. Personal data (an accession
        number, perhaps a name), so `repr` leaves it out; it must not be logged.
    size : int
        Bytes.
    mtime_ns : int
        Time of the last change as the file system tells it.
    """

    parts: tuple[str, ...] = field(repr=False)
    size: int
    mtime_ns: int

    @property
    def key(self) -> str:
        """SHA-256 (hex) of the path below the incoming folder: names the place without telling it."""
        return hashlib.sha256(os.fsencode("/".join(self.parts))).hexdigest()

    def matches(self, state: os.stat_result) -> bool:
        """Whether `state` is that of a regular file with the size and time that were seen."""
        return stat.S_ISREG(state.st_mode) and (state.st_size, state.st_mtime_ns) == (self.size, self.mtime_ns)


@contextmanager
def source_errors() -> Iterator[None]:
    """Turn an OSError about the incoming folder into one of ours, which does not quote a name."""
    try:
        yield
    except OSError as error:
        raise _translated(error) from None


def _translated(error: OSError) -> SourceError:
    code = error.errno or errno.EIO
    if code in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        return SourceGone("The file is no longer where the scan saw it: nothing to do.")
    if code in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
        return SourceRefused("A link or a device lies in the file's place: put the file itself there.")
    return SourceUnreadable(
        f"A file in the incoming folder cannot be read ({os.strerror(code)}): give the service's user the right to read "
        "it, and check the share."
    )


def open_folder(root: Path, parts: Sequence[str], *, create: bool = False) -> int:
    """Open a folder below `root` without following links in `parts`; the caller closes the descriptor.

    Raises OSError as `os.open` does.
    """
    descriptor = os.open(root, _FOLDER)
    for part in parts:
        try:
            if part in ("", ".", "..") or "/" in part:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if create:
                _make_folder(part, descriptor)
            following = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = following
    return descriptor


def _make_folder(name: str, parent: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o770, dir_fd=parent)


@contextmanager
def open_source(incoming: Path, file: SeenFile) -> Iterator[int]:
    """Open a file that was seen; gives a descriptor for reading.

    Raises
    ------
    SourceGone, SourceChanged, SourceUnreadable, SourceRefused
    """
    with source_errors():
        folder = open_folder(incoming, file.parts[:-1])
        try:
            descriptor = os.open(file.parts[-1], _FILE, dir_fd=folder)
        finally:
            os.close(folder)
    try:
        with source_errors():
            state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise SourceRefused("What lies in the file's place is no regular file: put the file itself there.")
        if not file.matches(state):
            raise SourceChanged("The file changed after it was seen: it is taken once it has stopped changing.")
        yield descriptor
    finally:
        os.close(descriptor)


def is_unchanged(incoming: Path, file: SeenFile) -> bool:
    """Whether the path still leads to a file with the size and time that were seen; not through a link."""
    try:
        folder = open_folder(incoming, file.parts[:-1])
        try:
            return file.matches(os.lstat(file.parts[-1], dir_fd=folder))
        finally:
            os.close(folder)
    except OSError:
        return False
