"""A SQLite database with all tables and no rows: tests that are not about migrations begin with a copy, for migrating takes longer than most of them."""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from db.session import Database


def give_tables(path: Path) -> None:
    """Put the database there, where there is none yet."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_bytes(_migrated())


@functools.cache
def _migrated() -> bytes:
    """Made once a process."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        with Database(f"sqlite:///{path}") as database:
            database.upgrade()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()
