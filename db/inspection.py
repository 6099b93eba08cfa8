"""What can be seen of a database without changing it: its guards, its rights, and whether its files are whole."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from db import guards, roles

MOST_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen.

    Attributes
    ----------
    missing_guards : tuple of str
        Triggers against changes that are not there.
    excess : tuple of str
        What our role may do beyond its needs; empty on SQLite, which knows no roles.
    in_clear : bool
        Whether the connection goes over a network without TLS.
    faults : tuple of str
        Damage; empty where it was not looked for.
    """

    missing_guards: tuple[str, ...]
    excess: tuple[str, ...] = ()
    in_clear: bool = False
    faults: tuple[str, ...] = ()


def inspect(connection: Connection, *, thoroughly: bool) -> Inspection:
    """Look at a database whose tables are those of this program.

    Parameters
    ----------
    thoroughly : bool
        Also read everything, which takes its time.
    """
    missing = guards.missing(connection)
    if connection.dialect.name != "postgresql":
        return Inspection(missing, faults=_sqlite_faults(connection) if thoroughly else ())
    return Inspection(missing, tuple(roles.excess(connection)), roles.in_clear(connection))


def _sqlite_faults(connection: Connection) -> tuple[str, ...]:
    """Damage of pages and indexes, and rows that refer to nothing; without values."""
    told = [row for row in connection.scalars(text(f"PRAGMA integrity_check({MOST_FAULTS})")) if row != "ok"]
    broken = connection.execute(text("PRAGMA foreign_key_check")).fetchmany(MOST_FAULTS)
    return tuple(told + [f"a row of {table} refers to nothing in {parent}" for table, _, parent, _ in broken])
