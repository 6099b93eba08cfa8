"""A backup of everything that cannot be made anew: the database, and the files that its rows speak of.

    OUT/files/ab/abcd...           contents by their SHA-256, each once however many backups hold it
    OUT/20260504T030201Z/          one backup: database.sqlite or database.dump, and manifest.json, written last

The database is taken first: bytes are durable before their row is, so that every row of it finds its file afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from db.context import Clock, utc_now
from db.session import Database
from db.views import AuditHead
from flows.errors import BackupRefused
from flows.places import STORE_ID, Places

MANIFEST, POOL = "manifest.json", "files"
FORMAT = 1
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One file of a backup: its place below the folder of the store, its hash and size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds; `database.path` is a name in its own folder, the others lie in the pool."""

    format: int
    taken_at: str
    program: str
    kind: str
    revision: str
    database: StoredPart
    rows: Mapping[str, int]
    audit_sequence: int
    audit_hash: str
    files: tuple[StoredPart, ...]

    @property
    def head(self) -> AuditHead:
        """End of the audit chain in it."""
        return AuditHead(self.audit_sequence, self.audit_hash)

    @property
    def time(self) -> datetime:
        """When it was taken."""
        return datetime.fromisoformat(self.taken_at)


def kept_files(places: Places) -> Iterator[Path]:
    """Give every file that a backup holds: originals, quarantine, objects and reports, not what can be drawn anew."""
    for folder in (places.store, places.quarantine, places.objects, places.reports):
        found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".part"))
        yield from sorted(path for path in found if ".partial" not in path.parts)
    yield from (path for path in (places.taken, places.shared / STORE_ID) if path.exists())


def back_up(database: Database, places: Places, out: Path, *, clock: Clock = utc_now) -> Path:
    """Make a backup below `out` and return its folder.

    Raises
    ------
    BackupRefused, DatabaseError
    OSError
        The folder cannot be written.
    """
    taken_at = clock()
    folder = out / taken_at.strftime("%Y%m%dT%H%M%SZ")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise BackupRefused(f"{folder} is there already; run it again") from None
    dump, found = database.snapshot(folder)
    files = tuple(_pooled(path, places.shared, out / POOL) for path in kept_files(places))
    manifest = Manifest(
        FORMAT,
        taken_at.isoformat(),
        version("spheroflow"),
        found.kind,
        found.revision,
        StoredPart(dump.name, sha256_of(dump), dump.stat().st_size),
        found.rows,
        found.head.sequence,
        found.head.hash,
        files,
    )
    _write(folder / MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
    sync_folder(folder)
    sync_folder(out)
    return folder


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup holds.

    Raises
    ------
    BackupRefused
        It is none, was not finished, or is of a newer program.
    """
    try:
        value: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise BackupRefused(
                f"{folder} was made by another version of the program ({value['program']}); use that one"
            )
        value["database"] = StoredPart(**value["database"])
        value["files"] = tuple(StoredPart(**part) for part in value["files"])
        return Manifest(**value)
    except FileNotFoundError:
        raise BackupRefused(f"{folder} is no finished backup: it has no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupRefused(
            f"{folder / MANIFEST} cannot be read ({type(error).__name__}); take another backup"
        ) from None


def damaged_parts(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Read everything that a backup holds and name what is not as it was; our own names, no patient's."""
    if sha256_of(folder / manifest.database.path) != manifest.database.sha256:
        yield manifest.database.path
    for part in manifest.files:
        if sha256_of(pool_place(folder.parent / POOL, part.sha256)) != part.sha256:
            yield part.path


def pool_place(pool: Path, sha256: str) -> Path:
    """Where a content lies in the pool."""
    return pool / sha256[:2] / sha256


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def copy_durably(source: Path, target: Path) -> str:
    """Copy a file under a temporary name, sync it, give it its name; return the SHA-256 of what was copied."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    digest = hashlib.sha256()
    with source.open("rb") as reading, part.open("wb") as writing:
        part.chmod(0o600)
        while block := reading.read(BLOCK):
            digest.update(block)
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())
    part.replace(target)
    sync_folder(target.parent)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pooled(path: Path, root: Path, pool: Path) -> StoredPart:
    sha256, size = sha256_of(path), path.stat().st_size
    target = pool_place(pool, sha256)
    if not target.exists() and copy_durably(path, target) != sha256:
        raise BackupRefused("a file changed while it was copied; run it again")
    return StoredPart(str(path.relative_to(root)), sha256, size)


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        part.chmod(0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
