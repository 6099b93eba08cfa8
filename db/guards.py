"""The triggers that keep what is append only: whether every one is there and switched on."""

from __future__ import annotations

from sqlalchemy import Connection, text

FROZEN_TABLES = (
    "audit_events",
    "cell_reviews",
    "inbound_messages",
    "instances",
    "messages",
    "patient_merges",
    "report_acts",
    "report_files",
    "reports",
    "result_objects",
)
"""What was written in these stays: each has a trigger against changes, one against removal and, on PostgreSQL, against TRUNCATE."""

OTHERS = frozenset({"audit_head_kept", "audit_head_moves_on", "reports_grade_frozen", "reports_reason_frozen"})


def guards(dialect: str) -> frozenset[str]:
    """Return the names of all triggers that a database of this program has.

    Parameters
    ----------
    dialect : str
        ``sqlite`` or ``postgresql``.
    """
    kinds = ("frozen", "kept", "whole") if dialect == "postgresql" else ("frozen", "kept")
    named = {f"{table}_{kind}" for table in FROZEN_TABLES for kind in kinds}
    return frozenset(named | OTHERS | ({"audit_head_whole"} if dialect == "postgresql" else set()))


def standing(connection: Connection) -> frozenset[str]:
    """Return the triggers that are there and switched on."""
    query = (
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
        if connection.dialect.name == "postgresql"
        else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    )
    return frozenset(connection.scalars(text(query)))


def missing(connection: Connection) -> tuple[str, ...]:
    """Return the guards that are not there, or are switched off."""
    return tuple(sorted(guards(connection.dialect.name) - standing(connection)))
