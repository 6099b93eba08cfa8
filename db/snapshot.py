"""The whole database as one file, taken while the service works, and its way back into an empty one.

SQLite is copied by its online backup, PostgreSQL by ``pg_dump`` within the snapshot in which rows are counted: what the
file holds is one moment, and nothing is held up.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL

from db.errors import BackupFailed
from db.views import AuditHead

if TYPE_CHECKING:
    import psycopg

PAGES_AT_ONCE = 4096
TOOL_SECONDS = 6 * 3600
SQLITE_FILE, POSTGRESQL_FILE = "database.sqlite", "database.dump"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the file of a database holds.

    Attributes
    ----------
    kind : str
        ``sqlite`` or ``postgresql``.
    revision : str
        Of its tables.
    rows : mapping
        Rows in each table.
    head : AuditHead
        End of its audit chain.
    """

    kind: str
    revision: str
    rows: Mapping[str, int]
    head: AuditHead


def take(url: URL, folder: Path) -> tuple[Path, Snapshot]:
    """Write a database into a file of `folder`; return the file and what it holds.

    Raises
    ------
    BackupFailed
    """
    if url.get_backend_name() == "sqlite":
        target = folder / SQLITE_FILE
        return target, _take_sqlite(Path(str(url.database)), target)
    target = folder / POSTGRESQL_FILE
    return target, _take_postgresql(url, target)


def load(url: URL, source: Path) -> None:
    """Bring the file of a database back into one that is empty, all or nothing.

    Raises
    ------
    BackupFailed
        The database is not empty, or is of the other kind, or the file cannot be used.
    """
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite != (source.name == SQLITE_FILE):
        raise BackupFailed("the backup is of the other kind of database; set [database] url to one of its kind")
    if sqlite:
        _load_sqlite(source, Path(str(url.database)))
        return
    with connection_to(url) as connection:
        if _count(connection, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"):
            raise BackupFailed("the database has tables already; a backup is restored into an empty one only")
    options = ["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", "--no-comments"]
    _run("pg_restore", url, [*options, f"--dbname={_conninfo(url)}", str(source)])


def measure(url: URL) -> Snapshot:
    """Say what a database holds now.

    Raises
    ------
    BackupFailed
    """
    if url.get_backend_name() == "sqlite":
        return _measure_sqlite(Path(str(url.database)))
    with connection_to(url) as connection:
        return _measure_postgresql(connection)


def connection_to(url: URL) -> psycopg.Connection[Any]:
    """Connect to a PostgreSQL for as long as a backup takes; each statement commits.

    Raises
    ------
    BackupFailed
        It cannot be reached.
    """
    import psycopg  # here, for every program opens a database and few take PostgreSQL's whole
    from psycopg.conninfo import make_conninfo

    try:
        options = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
        conninfo = make_conninfo(_conninfo(url), password=url.password, options=options, connect_timeout=10)
        return psycopg.connect(conninfo, autocommit=True)
    except psycopg.OperationalError:
        raise BackupFailed("the database cannot be reached; see [database] url and owner_url") from None


# ------------------------------------------------------------------------------------------------------------------ SQLite
def _take_sqlite(source: Path, target: Path) -> Snapshot:
    if not source.exists():
        raise BackupFailed("there is no database yet")
    try:
        with closing(sqlite3.connect(source, timeout=60)) as live, closing(sqlite3.connect(target)) as copy:
            target.chmod(0o600)
            live.backup(copy, pages=PAGES_AT_ONCE, sleep=0.01)
            copy.execute("PRAGMA journal_mode = DELETE")
            if copy.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise BackupFailed("the copy of the database is damaged, as the database itself is; `sphero db check`")
    except sqlite3.Error as error:
        raise BackupFailed(f"the database cannot be copied ({type(error).__name__})") from None
    _sync(target)
    return _measure_sqlite(target)


def _load_sqlite(source: Path, target: Path) -> None:
    if target.exists() and target.stat().st_size:
        raise BackupFailed("the database is there already; a backup is restored into an empty place only")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    part.chmod(0o600)
    _sync(part)
    part.replace(target)
    _sync(target.parent)


def _measure_sqlite(path: Path) -> Snapshot:
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("BEGIN")
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
            ).fetchall()
            rows = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in names}  # noqa: S608
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            head = connection.execute("SELECT sequence, hash FROM audit_head").fetchone()
    except (sqlite3.Error, TypeError):
        raise BackupFailed("the file is no database of this program") from None
    return Snapshot("sqlite", revision, rows, AuditHead(*head))


# -------------------------------------------------------------------------------------------------------------- PostgreSQL
def _take_postgresql(url: URL, target: Path) -> Snapshot:
    with connection_to(url) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        name = row[0] if row else ""
        found = _measure_postgresql(connection)
        options = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={name}", f"--file={target}"]
        _run("pg_dump", url, [*options, f"--dbname={_conninfo(url)}"])
    target.chmod(0o600)
    _sync(target)
    return found


def _measure_postgresql(connection: psycopg.Connection[Any]) -> Snapshot:
    import psycopg

    try:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        rows = {name: _count(connection, f'SELECT count(*) FROM public."{name}"') for (name,) in names}  # noqa: S608
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        head = connection.execute("SELECT sequence, hash FROM audit_head").fetchone()
    except psycopg.Error as error:
        raise BackupFailed(f"the database cannot be read ({type(error).__name__}, {error.sqlstate})") from None
    if revision is None or head is None:
        raise BackupFailed("the database is none of this program")
    return Snapshot("postgresql", revision[0], rows, AuditHead(*head))


def _count(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0


def _conninfo(url: URL) -> str:
    """How libpq finds the database; without the password, which must not stand in a list of processes."""
    from psycopg.conninfo import make_conninfo

    given = {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database, **url.query}
    return make_conninfo(**{key: str(value) for key, value in given.items() if value is not None and key != "password"})


def _run(program: str, url: URL, arguments: list[str]) -> None:
    environment = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})
    try:
        done = subprocess.run(
            [_tool(program), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BackupFailed(f"{program} did not end within {TOOL_SECONDS // 3600} hours") from None
    if done.returncode:
        # Only its first line, and not beyond a colon that may be followed by values of a row.
        line = next((line for line in done.stderr.splitlines() if "error:" in line), "no reason given")
        raise BackupFailed(f"{program} failed: {line.partition('error:')[2].strip()[:200]}")


def _tool(program: str) -> str:
    """The newest one installed: it must not be older than the server."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{program}"),
        key=lambda path: int(path.parent.parent.name),
        reverse=True,
    )
    found = str(installed[0]) if installed else shutil.which(program)
    if found is None:
        raise BackupFailed(f"{program} is not installed; install the package postgresql-client of the server's version")
    return found


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
