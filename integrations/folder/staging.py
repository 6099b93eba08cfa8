"""From the incoming folder into our own keeping: durable, once, and with nothing left behind.

Our store holds ``<first two digits>/<SHA-256>.<jpg|png|tif>``; the name comes from the content alone. Quarantine holds
``<opaque id>/original`` and ``reason.txt``. While a file is copied it lies under ``.partial`` in the same folder.

Accept means durable: copied and hashed, fsync, renamed, fsync of the folder. Whoever calls then commits the row, and only
then moves the source to ``<incoming>/.done``. A process killed anywhere in between leaves at most a partial copy, which
`Staging.prepare` removes at the next start, and the source in its place, which the next scan takes up again; names by
content make the repetition harmless.

`Staging.checkpoint` is called with the name of each step, so that tests can stop a process there (`STEPS`).
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from integrations.errors import SourceChanged, SourceRefused
from integrations.folder.done import Moved, move_to_done
from integrations.folder.durable import copy_hashing, partial_name, store_errors, sync_folder, write_durably
from integrations.folder.source import SeenFile, is_unchanged, open_folder, open_source, source_errors
from sphero_core.types import ImageInfo

STEPS = (
    "opened", "copied", "synced", "inspected", "renamed", "stored",
    "quarantine-opened", "quarantine-copied", "quarantine-synced", "quarantine-renamed", "quarantined",
    "done-folder", "done",
)  # fmt: skip

_PARTIAL = ".partial"
_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/tiff": "tif"}


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that is durably ours.

    Attributes
    ----------
    stored_name : str
        Relative to the store, such as ``ab/ab12….jpg``; free of personal data.
    sha256 : str
        Of the content, hex.
    size : int
        Bytes.
    info : ImageInfo
        What the header says.
    """

    stored_name: str
    sha256: str
    size: int
    info: ImageInfo


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A refused file.

    Attributes
    ----------
    stored_name : str
        Folder in quarantine, the same for the same file at the same place with the same time; free of personal data.
    sha256 : str or None
        Of the content, hex; None where it was too large to be read.
    size : int
        Bytes.
    kept : bool
        Whether quarantine holds the original. False only for a file too large to be copied on another file system: it
        stays in the incoming folder, or in its ``.done``.
    """

    stored_name: str
    sha256: str | None
    size: int
    kept: bool


def _no_checkpoint(_step: str) -> None:
    pass


class Staging:
    """Takes files in.

    Parameters
    ----------
    incoming, store, quarantine : Path
        The watched folder and our two; ours are made by `prepare`.
    inspect : callable
        Reads the header of the copied file and raises what the caller wants to see for a file that is refused, e.g.
        ``functools.partial(probe_image, limits=limits)``.
    max_bytes : int
        Larger files are refused before they are copied.
    checkpoint : callable
        Called with the name of each step of `STEPS`.
    """

    def __init__(
        self,
        *,
        incoming: Path,
        store: Path,
        quarantine: Path,
        inspect: Callable[[Path], ImageInfo],
        max_bytes: int,
        checkpoint: Callable[[str], None] = _no_checkpoint,
    ) -> None:
        self._incoming = incoming
        self._store = store
        self._quarantine = quarantine
        self._inspect = inspect
        self._max_bytes = max_bytes
        self._checkpoint = checkpoint
        self._numbers = itertools.count()
        self._durable: set[Path] = set()

    def prepare(self) -> int:
        """Make our folders and remove what a killed process of this machine left; gives the number of removed files.

        Call once at the start, while no other process of this machine uses the store.

        Raises
        ------
        StoreError
        """
        removed = 0
        with store_errors():
            for root in (self._store, self._quarantine):
                (root / _PARTIAL).mkdir(parents=True, exist_ok=True)
                for leftover in (root / _PARTIAL).iterdir():
                    if leftover.name.startswith(partial_name()):
                        leftover.unlink(missing_ok=True)
                        removed += 1
        return removed

    def accept(self, file: SeenFile) -> StagedFile:
        """Copy one file into the store; on return it is durable under its final name.

        The same bytes again give the same name. The source is left as it is.

        Raises
        ------
        SourceGone, SourceChanged, SourceUnreadable
            Not now; the next scan tells.
        SourceRefused
            Quarantine it. So with what `inspect` raises.
        StoreFull, StoreError
            Nothing was left behind.
        """
        if file.size > self._max_bytes:
            raise SourceRefused(
                f"The file has {file.size:,} bytes, more than the {self._max_bytes:,} that are taken: "
                "export single fields, or compress them."
            )
        with self._copied(file, self._store) as (partial, digest):
            info = self._inspect(partial)
            self._checkpoint("inspected")
            name = f"{digest[:2]}/{digest}.{_SUFFIXES[info.media_type]}"
            with store_errors():
                self._make_durable_folder(self._store / digest[:2])
                partial.replace(self._store / name)
                self._checkpoint("renamed")
                sync_folder(self._store / digest[:2])
        self._checkpoint("stored")
        return StagedFile(name, digest, file.size, info)

    def quarantine(self, file: SeenFile, reason: str) -> QuarantinedFile:
        """Keep the original bytes of a refused file with the reason; the source is left as it is.

        Parameters
        ----------
        file : SeenFile
        reason : str
            One sentence without personal data.

        Raises
        ------
        SourceGone, SourceChanged, SourceUnreadable, SourceRefused
            The last for what is no regular file, which cannot be kept.
        StoreFull, StoreError
            The next call for the same file completes what is there.
        """
        name = hashlib.sha256(f"{file.key} {file.size} {file.mtime_ns}".encode()).hexdigest()[:32]
        folder = self._quarantine / name
        digest: str | None = None
        if file.size <= self._max_bytes:
            with self._copied(file, self._quarantine, "quarantine-") as (partial, digest), store_errors():
                folder.mkdir(exist_ok=True)
                partial.replace(folder / "original")
            kept = True
        else:
            with store_errors():
                folder.mkdir(exist_ok=True)
            kept = self._link(file, folder)
        self._checkpoint("quarantine-renamed")
        kept_as = "in this folder" if kept else "no, it is too large; it stays in the incoming folder or in its .done"
        text = f"{reason}\n\nsize: {file.size} bytes\nsha256: {digest or 'not computed'}\noriginal kept: {kept_as}\n"
        with store_errors():
            write_durably(folder / "reason.txt", text.encode())
            sync_folder(folder)
            sync_folder(self._quarantine)
        self._checkpoint("quarantined")
        return QuarantinedFile(name, digest, file.size, kept)

    def move_to_done(self, file: SeenFile) -> Moved:
        """Move a source away once its row is committed; see `integrations.folder.done`."""
        return move_to_done(self._incoming, file, self._checkpoint)

    # --------------------------------------------------------------------------------------------------------- inside
    @contextmanager
    def _copied(self, file: SeenFile, root: Path, prefix: str = "") -> Iterator[tuple[Path, str]]:
        """Give a durable copy under a temporary name and its hash; what is not renamed is removed."""
        with open_source(self._incoming, file) as source:
            self._checkpoint(prefix + "opened")
            with store_errors():
                target, partial = self._new_partial(root)
            try:
                try:
                    digest = copy_hashing(source, target, file.size)
                    self._checkpoint(prefix + "copied")
                    with source_errors():
                        same = file.matches(os.fstat(source))
                    if not same or not is_unchanged(self._incoming, file):
                        raise SourceChanged("The file changed while it was copied: it is taken once it stops changing.")
                    with store_errors():
                        os.fsync(target)
                finally:
                    os.close(target)
                self._checkpoint(prefix + "synced")
                yield partial, digest
            finally:
                partial.unlink(missing_ok=True)

    def _new_partial(self, root: Path) -> tuple[int, Path]:
        for number in self._numbers:
            path = root / _PARTIAL / partial_name(f"{os.getpid()}-{number}")
            with suppress(FileExistsError):
                return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640), path
        raise AssertionError("itertools.count ended")

    def _make_durable_folder(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        if folder not in self._durable:  # also after a restart: the former process may have died before its fsync
            sync_folder(folder.parent)
            self._durable.add(folder)

    def _link(self, file: SeenFile, folder: Path) -> bool:
        """Keep a huge file without copying it, by a second name; False where the file system has no such thing."""
        with open_source(self._incoming, file):
            self._checkpoint("quarantine-opened")
        parent = -1
        try:
            parent = open_folder(self._incoming, file.parts[:-1])
            with suppress(FileExistsError):
                os.link(file.parts[-1], folder / "original", src_dir_fd=parent, follow_symlinks=False)
            if file.matches((folder / "original").lstat()):
                return True
            (folder / "original").unlink()
        except OSError:
            return False
        finally:
            if parent >= 0:
                os.close(parent)
        raise SourceChanged("The file changed while it was put into quarantine.")
