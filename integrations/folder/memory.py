"""What was already taken from a share where nothing can be moved.

Only a saving of work: a file that is forgotten is read once more, and the database knows its content by the hash. So one
small file of lines suffices.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from integrations.folder.source import SeenFile


class Memory(Protocol):
    """What the scanner asks, and what the intake tells after a file could not be moved away."""

    def knows(self, file: SeenFile) -> bool:
        """Whether this path was remembered with this size and time."""
        ...

    def remember(self, file: SeenFile, sha256: str | None) -> None:
        """Keep path, size, time and content hash; durable on return. None: the content was not hashed."""
        ...


class NoMemory:
    """Remembers nothing: for a folder from which every file is moved."""

    def knows(self, file: SeenFile) -> bool:  # noqa: ARG002  # the port asks for it
        """Know nothing."""
        return False

    def remember(self, file: SeenFile, sha256: str | None) -> None:
        """Forget."""


class FileMemory:
    """One JSON object a line, appended; for one process.

    Paths are kept as hashes, so the file holds no name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, tuple[int, int, str | None]] | None = None

    def knows(self, file: SeenFile) -> bool:
        """Whether this path was remembered with this size and time."""
        entry = self._load().get(file.key)
        return entry is not None and entry[:2] == (file.size, file.mtime_ns)

    def sha256_of(self, file: SeenFile) -> str | None:
        """Content hash (hex) of a remembered file."""
        entry = self._load().get(file.key)
        return entry[2] if entry is not None and entry[:2] == (file.size, file.mtime_ns) else None

    def remember(self, file: SeenFile, sha256: str | None) -> None:
        """Keep path, size, time and content hash; durable on return."""
        self._load()[file.key] = (file.size, file.mtime_ns, sha256)
        self._write(self._path, os.O_APPEND, _line(file.key, (file.size, file.mtime_ns, sha256)))

    def _load(self) -> dict[str, tuple[int, int, str | None]]:
        if self._entries is None:
            self._entries = entries = {}
            lines = self._path.read_bytes().split(b"\n") if self._path.exists() else []
            for line in lines:
                try:
                    value = json.loads(line)
                    entries[str(value["key"])] = (int(value["size"]), int(value["mtime_ns"]), value["sha256"])
                except (ValueError, KeyError, TypeError):
                    continue  # the last line of a process that was killed
            if len(lines) != len(entries) + 1:
                self._rewrite(entries)
        return self._entries

    def _rewrite(self, entries: dict[str, tuple[int, int, str | None]]) -> None:
        fresh = self._path.with_name(self._path.name + ".part")
        self._write(fresh, os.O_TRUNC, b"".join(_line(key, entry) for key, entry in entries.items()))
        fresh.replace(self._path)

    @staticmethod
    def _write(path: Path, flag: int, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, 0o640)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())


def _line(key: str, entry: tuple[int, int, str | None]) -> bytes:
    value = {"key": key, "size": entry[0], "mtime_ns": entry[1], "sha256": entry[2]}
    return json.dumps(value).encode() + b"\n"
