"""The tables: how they come about, that they are those of the program, and what they give back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from db.errors import (
    ConstraintBroken,
    DatabaseBusy,
    DatabaseError,
    DatabaseUnavailable,
    SchemaMismatch,
    UnsupportedDatabase,
)
from db.measure_schema import CellMeasuresRow
from db.measures import KEPT
from db.schema import Base
from db.session import Database
from db.upgrade import SchemaState
from db.views import Identity
from sphero_core.measures import BY_NAME
from sphero_core.types import CellMeasures
from tests.database_examples import ManualClock, accept
from tests.support import free_port

UPGRADE = "import sys; from db.session import Database; Database(sys.argv[1]).upgrade()"


def test_an_empty_database_is_brought_up_once(database_url: str) -> None:
    with Database(database_url) as database:
        assert database.check().state is SchemaState.MISSING
        with pytest.raises(SchemaMismatch), database.transaction("test") as work:
            accept(work)
        database.upgrade()
        database.upgrade()
        found = database.check()
    assert found.state is SchemaState.CURRENT
    assert found.found == found.needed


def test_older_and_newer_tables_are_told_apart(database: Database, database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert database.check().state is SchemaState.OLDER
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert database.check().state is SchemaState.NEWER
    with pytest.raises(SchemaMismatch, match="9999"):
        database.upgrade()


def test_the_migrations_lead_to_the_tables_of_the_program(database: Database, database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()
    assert differences == []


def test_every_measure_has_its_column() -> None:
    assert list(CellMeasuresRow.__table__.columns.keys()) == ["analysis_id", "number", *KEPT]
    assert {field.name for field in fields(CellMeasures)} == set(BY_NAME)


def test_programs_that_start_at_once_upgrade_one_after_the_other(database_url: str) -> None:
    command = [sys.executable, "-c", UPGRADE, database_url]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [child.communicate(timeout=60)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], errors
    with Database(database_url) as database:
        assert database.check().state is SchemaState.CURRENT


def test_times_come_back_in_utc_to_the_microsecond(database: Database, clock: ManualClock) -> None:
    summer = timezone(timedelta(hours=5, minutes=45))
    clock.now = datetime(2026, 7, 1, 3, 15, 0, 1, tzinfo=summer)
    collected = datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-11)))
    with database.transaction("test") as work:
        case_id = accept(work).case_id
        assert work.identities.set(case_id, Identity("26-1", collected=collected))
    with database.reading() as work:
        case, identity = work.cases.get(case_id), work.identities.get(case_id)
    assert case.created_at == clock.now
    assert identity.collected == collected
    assert case.created_at.tzinfo is UTC
    assert str(identity.collected) == "2000-01-01 10:59:59.999999+00:00"
    assert str(case.created_at) == "2026-06-30 21:30:00.000001+00:00"


def test_a_time_without_a_zone_is_refused(database: Database, clock: ManualClock) -> None:
    clock.now = clock.now.replace(tzinfo=None)
    with pytest.raises(Exception, match="without a zone"), database.transaction("test") as work:
        accept(work)


def test_an_exception_rolls_everything_back(database: Database) -> None:
    def fail() -> None:
        with database.transaction("test") as work:
            accept(work)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.reading() as work:
        assert work.cases.list() == ()
        assert work.audit.list() == ()


def test_a_reading_transaction_cannot_write(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = accept(work).case_id
    with pytest.raises(DatabaseError, match="only reads"), database.reading() as work:
        work.cases.complete(case_id)
    with pytest.raises(DatabaseError), database.reading() as work:
        accept(work, "26-2", "two")
    with database.transaction("test") as work:
        assert accept(work, "26-3", "three").new


def test_sqlite_is_durable_and_checks_its_references(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 'sphero.db'}") as database:
        database.upgrade()
        with database._engine.connect() as connection:
            pragmas = ("journal_mode", "synchronous", "foreign_keys")
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert found == ["wal", 2, 1]
    assert (tmp_path / "sphero.db").stat().st_mode & 0o077 == 0


def test_a_locked_database_says_so_in_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sphero.db'}"
    with Database(url) as first, Database(url, busy_seconds=0.05) as second:
        first.upgrade()
        with first.transaction("test") as work:
            accept(work)
            with pytest.raises(DatabaseBusy), second.transaction("test") as other:
                accept(other, "26-2", "two")
            with second.reading() as other:
                assert other.cases.list() == ()


def test_errors_quote_neither_values_nor_passwords(database: Database) -> None:
    secret = "ZQX-ACCESSION-771"
    with database.transaction("test") as work:
        accept(work, secret)
    with pytest.raises(ConstraintBroken) as caught, database.transaction("test") as work:
        work.identities._session.execute(
            text(
                "INSERT INTO case_identities (case_id, active, arrival_accession, arrival_issuer, accession, "
                "accession_issuer) SELECT 'other', active, arrival_accession, arrival_issuer, accession, "
                "accession_issuer FROM case_identities WHERE accession = :secret"
            ),
            {"secret": secret},
        )
    assert secret not in str(caught.value)
    assert caught.value.__suppress_context__
    assert "hidden" not in repr(Database("postgresql+psycopg://sphero:hidden@db/sphero"))


def test_an_unreachable_server_is_told() -> None:
    with (
        Database(f"postgresql+psycopg://a:hidden@127.0.0.1:{free_port()}/x") as database,
        pytest.raises(DatabaseUnavailable) as caught,
    ):
        database.check()
    assert "hidden" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "sphero.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with (
        Database(f"sqlite:///{tmp_path / 'sphero.db'}") as database,
        pytest.raises(DatabaseUnavailable, match="no SQLite"),
    ):
        database.upgrade()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://a:hidden@h/x", "nonsense", "sqlite+aiosqlite:///x"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(UnsupportedDatabase) as caught:
        Database(url)
    assert "hidden" not in str(caught.value)
