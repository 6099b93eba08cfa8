"""Objects that we made, as files: durable before anything refers to them, named by their content, never changed.

<folder>/<first two digits>/<SHA-256>.dcm
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from integrations.dicom.evidence import DicomObject
from integrations.errors import ObjectDamaged
from integrations.folder.durable import store_errors, sync_folder, write_durably

_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\.dcm")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Where an object's file lies.

    Attributes
    ----------
    name : str
        Relative to the folder.
    sha256 : str
    size_bytes : int
    """

    name: str
    sha256: str
    size_bytes: int


class ObjectStore:
    """The folder of objects; for any number of threads.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, made: DicomObject) -> StoredObject:
        """Write an object durably; one that is there already stays.

        Raises
        ------
        StoreFull, StoreError
        """
        digest = hashlib.sha256(made.body).hexdigest()
        name = f"{digest[:2]}/{digest}.dcm"
        path = self._folder / name
        with store_errors():
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            if not path.exists():
                partial = path.with_name(f"{secrets.token_hex(8)}.partial")
                try:
                    write_durably(partial, made.body)
                    partial.replace(path)
                finally:
                    partial.unlink(missing_ok=True)
                sync_folder(path.parent)
                sync_folder(self._folder)
        return StoredObject(name, digest, len(made.body))

    def checked(self, name: str, sha256: str) -> Path:
        """Give the path of an object whose bytes are still those that were frozen.

        Raises
        ------
        ObjectDamaged
            The file is gone, or another than was frozen.
        """
        if _NAME.fullmatch(name) is None:
            raise ObjectDamaged("the name of an object's file is none of ours")
        digest = hashlib.sha256()
        try:
            with (self._folder / name).open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise ObjectDamaged(f"the object's file cannot be read ({os.strerror(error.errno or 5)})") from None
        if digest.hexdigest() != sha256:
            raise ObjectDamaged("the object's file is not what was frozen")
        return self._folder / name

    def sweep(self, known: Collection[str], *, before: float) -> int:
        """Remove files that no row names: of work that was broken off before its commit.

        Parameters
        ----------
        known : collection of str
            Names that rows have.
        before : float
            Seconds since the epoch; younger files may belong to work that is under way.

        Returns
        -------
        int
            How many were removed.
        """
        removed = 0
        for path in self._folder.glob("*/*"):
            named = path.relative_to(self._folder).as_posix() in known
            if not named and path.suffix in (".dcm", ".partial") and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
                removed += 1
        return removed
