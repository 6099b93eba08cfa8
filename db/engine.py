"""Engines for SQLite and PostgreSQL, and their errors in our words."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError

from db.errors import (
    ConstraintBroken,
    DatabaseBusy,
    DatabaseError,
    DatabaseUnavailable,
    NotPermitted,
    SchemaMismatch,
)

READING = "sphero_reading"
"""Execution option of an engine whose transactions only read."""

READ_ONLY = "this transaction only reads; use Database.transaction to write"

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 120
IDLE_SECONDS = 20
"""A transaction that does nothing for so long is ended by the server: a machine that was cut off in one holds up no other."""

READING_SECONDS = 300
"""The same for one that only reads, and so holds up nobody."""

LOST_SECONDS = 60
"""So long either end waits for a sign of the other before it gives the connection up."""

BUSY_SQLSTATES = frozenset({"40001", "40P01", "55P03", "57014"})
"""Serialization failure, deadlock, lock not available (also: lock timeout), statement timeout."""

SCHEMA_SQLSTATES = frozenset({"42P01", "42703"})
"""Undefined table, undefined column."""

READ_ONLY_SQLSTATE = "25006"
RIGHTS_SQLSTATE = "42501"

SQLITE_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened; see whether the folder exists and may be written",
    sqlite3.SQLITE_READONLY: "its file may not be written",
    sqlite3.SQLITE_CORRUPT: "its file is damaged; restore a backup",
    sqlite3.SQLITE_NOTADB: "its file is no SQLite database",
}


def make_engine(url: URL, busy_seconds: float) -> Engine:
    """Return an engine whose every wait has an end.

    Parameters
    ----------
    url : URL
        With the driver ``sqlite+pysqlite`` or ``postgresql+psycopg``.
    busy_seconds : float
        How long to wait for a lock.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, busy_seconds)
    return _postgresql(url, busy_seconds)


def _sqlite(url: URL, busy_seconds: float) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": busy_seconds})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver begins no transaction by itself: it would do so too late, and not IMMEDIATE.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = bool(connection.get_execution_options().get(READING))
        connection.exec_driver_sql(f"PRAGMA query_only = {int(reading)}")
        # IMMEDIATE takes the write lock at once, where waiting for it is possible; a reader that turns writer later
        # would fail instead.
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: URL, busy_seconds: float) -> Engine:
    limits = {
        "lock_timeout": busy_seconds,
        "statement_timeout": STATEMENT_SECONDS,
        "idle_in_transaction_session_timeout": IDLE_SECONDS,
        "tcp_user_timeout": LOST_SECONDS,
    }
    options = " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items())
    network: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": LOST_SECONDS * 1000,
    }
    chosen: dict[str, Any] = {"options": options, "application_name": "spheroflow", **network}
    # What the URL says goes before our own.
    arguments = {name: value for name, value in chosen.items() if name not in url.query}
    engine = create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=arguments)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(READING):
            connection.exec_driver_sql(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                f"SET LOCAL idle_in_transaction_session_timeout = '{READING_SECONDS}s'"
            )

    return engine


def translate(error: DBAPIError) -> DatabaseError:
    """Return our error for the driver's, without the values that its text may quote."""
    kind = type(error.orig).__name__
    sqlstate = getattr(error.orig, "sqlstate", None)
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    if sqlstate in BUSY_SQLSTATES or code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseBusy("the database was locked for too long, or ended a deadlock; run the transaction again")
    if sqlstate in SCHEMA_SQLSTATES or (code == sqlite3.SQLITE_ERROR and "no such" in str(error.orig)):
        return SchemaMismatch("tables or columns are missing; bring the database up to this program first")
    if sqlstate == READ_ONLY_SQLSTATE:
        return DatabaseError(READ_ONLY)
    if sqlstate == RIGHTS_SQLSTATE:
        return NotPermitted(
            "our role in the database has no right to that; tables are changed by `sphero db upgrade` as their owner, "
            "and `sphero db roles` says which rights the service has"
        )
    if isinstance(error, IntegrityError) or sqlstate == "P0001":
        return ConstraintBroken(f"the database refused a row or a change ({kind}, {sqlstate or code})")
    if code in SQLITE_REASONS:
        return DatabaseUnavailable(f"the database cannot work: {SQLITE_REASONS[code]}")
    if sqlstate == "53100":
        return DatabaseUnavailable("the database cannot work: its server's disk is full")
    if error.connection_invalidated or sqlstate is None or sqlstate[:2] in {"08", "53", "57"}:
        return DatabaseUnavailable(f"the database cannot be reached, or ended the connection ({kind}); is it running?")
    return DatabaseError(f"the database reports an error ({kind}, {sqlstate})")
