"""Every released schema is brought forward with rows in it, and every value of them stays.

At each revision every table of that time gets a row; after each migration all rows that were ever put in are looked at. So a
database that was made and filled under any release is one that this test brought to the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    create_engine,
    insert,
    select,
)
from sqlalchemy.orm import Session

from db.schema import Base
from db.session import Database
from db.upgrade import SchemaState, _config

OTHERS = {"alembic_version", "audit_head"}
"""Not filled: the one is Alembic's, the other has its row."""

GONE = {
    *(("cells", name) for name in ("area_px", "equivalent_diameter_px", "perimeter_px", "circularity", "eccentricity")),
    *(("cells", name) for name in ("axis_ratio", "solidity", "pallor_index", "relative_density", "relative_diameter")),
    ("cells", "measured"),
}
"""Columns that a migration takes away on purpose: `cell_measures` has the measures since 0017, see test_measures_migration."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """A row as it was read back when it was put in."""

    revision: str
    table: str
    key: tuple[str, ...]
    row: Row


def value_for(column: Column[Any], number: int) -> Any:
    """A value of the column's type that no other row has; a word of the state machine where there is one."""
    known = Base.metadata.tables.get(column.table.name)
    ours = known.columns.get(column.name) if known is not None else None
    if ours is not None and isinstance(ours.type, Enum):
        return ours.type.enums[0]
    kind = column.type
    if isinstance(kind, Boolean):
        return True
    if isinstance(kind, Integer):
        return number
    if isinstance(kind, Float):
        return number + 0.5
    if isinstance(kind, DateTime):
        return datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC) + timedelta(seconds=number)
    if isinstance(kind, Date):
        return date(2026, 1, 2) + timedelta(days=number % 1000)
    text = f"{number} ü {column.name}"
    length = getattr(kind, "length", None)
    return text.encode() if isinstance(kind, LargeBinary) else text[:length]


def fill(connection: Connection, revision: str, number: int) -> list[Kept]:
    """Put a row into every table, those that are referred to first."""
    tables = MetaData()
    tables.reflect(connection)
    made: dict[str, Row] = {}
    kept = []
    for table in tables.sorted_tables:
        if table.name in OTHERS:
            continue
        row = {column.name: value_for(column, number) for column in table.columns}
        for constraint in table.foreign_key_constraints:
            parent = made[constraint.referred_table.name]
            row |= {element.parent.name: parent[element.column.name] for element in constraint.elements}
        connection.execute(insert(table), row)
        made[table.name] = row
        key = tuple(column.name for column in table.primary_key)
        kept.append(Kept(revision, table.name, key, found(connection, table, {name: row[name] for name in key})))
    return kept


def found(connection: Connection, table: Table, key: Row) -> Row:
    query = select(table).where(*(table.columns[name] == value for name, value in key.items()))
    return dict(connection.execute(query).mappings().one())


def losses(connection: Connection, kept: list[Kept]) -> list[str]:
    """Say which rows and values are not as they were put in."""
    tables = MetaData()
    tables.reflect(connection)
    lost = []
    for each in kept:
        table = tables.tables[each.table]
        now = found(connection, table, {name: each.row[name] for name in each.key})
        lost += [
            f"{each.table}.{name} of revision {each.revision}"
            for name, value in each.row.items()
            if (each.table, name) not in GONE and now.get(name) != value
        ]
    return lost


def test_every_revision_is_brought_forward_with_its_rows(database_url: str) -> None:
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    engine = create_engine(database_url)
    kept: list[Kept] = []
    for place, revision in enumerate(revisions):
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            assert losses(connection, kept) == []
        with engine.begin() as connection:
            kept += fill(connection, revision, 1000 * (place + 1))
    engine.dispose()
    assert {each.table for each in kept} == set(Base.metadata.tables) - OTHERS

    with Database(database_url) as database:
        assert database.check().state is SchemaState.CURRENT
        with Session(database._engine) as session:  # the program reads what the migrations left
            for mapper in Base.registry.mappers:
                name = mapper.class_.__tablename__
                if name not in OTHERS:
                    rows = len(session.scalars(select(mapper.class_)).all())
                    put_in = sum(each.table == name for each in kept)
                    if name == "cell_measures":  # 0017 made a row of it for each measured cell
                        put_in += sum(each.table == "cells" and bool(each.row.get("measured")) for each in kept)
                    assert rows == put_in, name


def test_a_migration_that_loses_a_value_is_noticed(database: Database, database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        kept = fill(connection, "head", 1)
        assert losses(connection, kept) == []
        connection.exec_driver_sql("UPDATE cases SET stain = 'other'")
        connection.exec_driver_sql("UPDATE orders SET collected = NULL")
        assert losses(connection, kept) == ["cases.stain of revision head", "orders.collected of revision head"]
    engine.dispose()
