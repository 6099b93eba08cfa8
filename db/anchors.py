"""Heads of the audit chain that are kept outside the database, in a file that only grows.

A chain proves that nothing in it was changed; that its end was not cut, and that it was not computed anew, only an earlier
head proves that lies where the database's master cannot write. One line of the file is one head, in JSON:

    {"at": "2026-05-04T03:02:01.000000+00:00", "hash": "...", "kind": "head", "sequence": 4711}

A line of kind ``restored`` says that a backup was restored whose chain ended there: heads beyond it count no longer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from db.context import canonical_json
from db.errors import DatabaseUnavailable
from db.views import AuditHead

FILE = "audit-anchors.jsonl"
HEAD, RESTORED = "head", "restored"


@dataclass(frozen=True, slots=True)
class Anchors:
    """What a file of anchors says.

    Attributes
    ----------
    heads : tuple of AuditHead
        That must be found in the chain, in the order in which they were written.
    last_at : datetime or None
        When the last was written.
    notes : tuple of str
        What was restored when, and which heads do not count since then.
    problems : tuple of str
        Lines that cannot be read.
    """

    heads: tuple[AuditHead, ...] = ()
    last_at: datetime | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class AnchorFile:
    """The file of anchors in a folder.

    Parameters
    ----------
    folder : Path
        Made when the first anchor is written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def keep(self, head: AuditHead, at: datetime) -> bool:
        """Write a head down, durably, unless it is the last one anyway; say whether it was written.

        Raises
        ------
        DatabaseUnavailable
            The file cannot be written.
        """
        heads = self.read().heads
        if not head.sequence or (heads and heads[-1] == head):
            return False
        self._append(HEAD, head, at)
        return True

    def restored(self, head: AuditHead, at: datetime) -> None:
        """Write down that a backup was restored whose chain ended at `head`.

        Raises
        ------
        DatabaseUnavailable
            The file cannot be written.
        """
        self._append(RESTORED, head, at)

    def read(self) -> Anchors:
        """Return what must be found in the chain; nothing where there is no file.

        Raises
        ------
        DatabaseUnavailable
            The file cannot be read.
        """
        return read_anchors(self.path) if self.path.exists() else Anchors()

    def _append(self, kind: str, head: AuditHead, at: datetime) -> None:
        stamp = at.isoformat(timespec="microseconds")
        line = canonical_json({"at": stamp, "hash": head.hash, "kind": kind, "sequence": head.sequence}) + "\n"
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = "\n" + line  # a line that a crash had cut short stays by itself
                os.write(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise DatabaseUnavailable(
                f"the audit anchor {self.path} cannot be written ({error.strerror}); see [audit] anchor_folder"
            ) from None


def read_anchors(path: Path) -> Anchors:
    """Read a file of anchors, be it a copy that was kept elsewhere.

    Raises
    ------
    DatabaseUnavailable
        The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise DatabaseUnavailable(f"the audit anchor {path} cannot be read ({error.strerror})") from None
    heads: list[AuditHead] = []
    notes: list[str] = []
    problems: list[str] = []
    last_at: datetime | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            kind, head, at = _parsed(line)
        except (ValueError, KeyError, TypeError):
            problems.append(f"line {number} of the anchors: cannot be read; what it kept is not known")
            continue
        last_at = at
        if kind == RESTORED:
            notes += _restored(heads, head, at)
        heads.append(head)
    return Anchors(tuple(heads), last_at, tuple(notes), tuple(problems))


def _parsed(line: str) -> tuple[str, AuditHead, datetime]:
    value = json.loads(line)
    if value["kind"] not in (HEAD, RESTORED):
        raise ValueError
    return value["kind"], AuditHead(int(value["sequence"]), str(value["hash"])), datetime.fromisoformat(value["at"])


def _restored(heads: list[AuditHead], head: AuditHead, at: datetime) -> Iterator[str]:
    """Drop the heads that a restored backup does not reach."""
    lost = [each for each in heads if each.sequence > head.sequence]
    heads[:] = [each for each in heads if each.sequence <= head.sequence]
    beyond = (
        f"events {head.sequence + 1} to {lost[-1].sequence} were lost with it" if lost else "no anchor lies beyond it"
    )
    yield f"a backup that ends with event {head.sequence} was restored on {at:%Y-%m-%d %H:%M} UTC; {beyond}"
