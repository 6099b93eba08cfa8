"""PostgreSQL as a site runs it: least rights, guards, TLS; and what `sphero db` says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from typer.testing import CliRunner

from db.errors import DatabaseUnavailable, NotPermitted
from db.guards import guards, standing
from db.roles import APPEND_ONLY, EMPTIED, READ, WITHOUT_PERSONS, Roles, setup_sql
from db.schema import Base
from db.session import Database
from flows.cli.app import app
from tests.certificates import Authority
from tests.database_examples import accept
from tests.database_roles import RoleUrls, run_sql, with_roles
from tests.postgresql import PostgresqlServer

Run = Callable[..., Any]
PERSONAL = {
    "case_identities",
    "inbound_messages",
    "instance_headers",
    "messages",
    "orders",
    "patient_identifiers",
    "patient_merges",
    "patients",
    "report_acts",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `sphero` in an empty folder, with settings from the environment."""
    for variable in [name for name in os.environ if name.startswith("SPHERO_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, **environment: str) -> Any:
        return CliRunner().invoke(app, list(arguments), env=environment)

    return invoke


@pytest.fixture
def urls(postgresql_url: str) -> RoleUrls:
    """Give the URLs of owner, service and reader of an upgraded database."""
    return with_roles(postgresql_url)


def test_every_guard_is_listed_and_one_that_is_gone_is_told(database: Database, database_url: str, run: Run) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        assert standing(connection) == guards(engine.dialect.name)
    assert database.inspect().missing_guards == ()
    with engine.begin() as connection:
        on_table = " ON audit_events" if engine.name == "postgresql" else ""
        connection.execute(text(f"DROP TRIGGER audit_events_kept{on_table}"))
    engine.dispose()
    assert database.inspect().missing_guards == ("audit_events_kept",)
    told = run("db", "check", "--json", SPHERO_DATABASE__URL=database_url)
    assert told.exit_code == 1
    found = {check["name"]: check for check in json.loads(told.stdout)}
    assert found["audit guards"]["state"] == "fail"
    assert "audit_events_kept" in found["audit guards"]["found"]


def test_a_guard_that_is_switched_off_is_told(postgresql_url: str) -> None:
    with Database(postgresql_url) as database:
        database.upgrade()
        engine = create_engine(postgresql_url)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE audit_events DISABLE TRIGGER audit_events_frozen"))
        engine.dispose()
        assert database.inspect().missing_guards == ("audit_events_frozen",)


def test_every_table_has_its_rights() -> None:
    tables = set(Base.metadata.tables)
    assert tables >= APPEND_ONLY | EMPTIED
    assert tables | READ >= WITHOUT_PERSONS
    assert not WITHOUT_PERSONS & PERSONAL


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET actor = 'x'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "ALTER TABLE audit_events DISABLE TRIGGER audit_events_kept",
        "DROP TRIGGER audit_events_kept ON audit_events",
        "DROP TABLE audit_events",
        "DELETE FROM audit_head",
        "DELETE FROM messages",
        "UPDATE reports SET body = ''",
        "CREATE TABLE here (n int)",
        "CREATE FUNCTION here() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE alembic_version SET version_num = '0001'",
        "SET ROLE sphero_owner",
    ],
)
def test_the_service_has_no_way_around_the_audit(postgresql_service: Database, statement: str) -> None:
    with pytest.raises(NotPermitted, match="no right"), postgresql_service.transaction("test") as work:
        work.audit._session.execute(text(statement))


@pytest.fixture(scope="module")
def postgresql_service(postgresql_server: PostgresqlServer) -> Any:
    """Give one database for all tests that are refused, as the service's role."""
    name, url = postgresql_server.create_database()
    with Database(with_roles(url).service) as database:
        yield database
    postgresql_server.drop_database(name)


def test_the_service_works_and_finds_nothing_too_much(urls: RoleUrls, postgresql_url: str) -> None:
    with Database(urls.service) as database:
        database.upgrade()  # nothing to do: `sphero up` starts
        with database.transaction("test") as work:
            accept(work)
        assert database.inspect().excess == ()
    with Database(postgresql_url) as admin, Database(urls.owner) as owner:
        assert "is a superuser" in admin.inspect().excess
        assert "owns tables, and may drop what guards them" in owner.inspect().excess
        assert "is a superuser" not in owner.inspect().excess


def test_the_reader_reads_figures_and_no_persons(urls: RoleUrls) -> None:
    with Database(urls.service) as database, database.transaction("test") as work:
        accept(work)
    with Database(urls.reader) as reader, reader.reading() as work:
        assert work.audit._session.scalar(text("SELECT count(*) FROM cases")) == 1
        assert work.audit._session.scalar(text("SELECT count(*) FROM audit_events")) > 0
    for table in sorted(PERSONAL):
        with Database(urls.reader) as reader, pytest.raises(NotPermitted), reader.reading() as work:
            work.audit._session.execute(text(f"SELECT 1 FROM {table}"))  # noqa: S608  # our own names


def test_only_the_owner_migrates(postgresql_url: str, run: Run) -> None:
    urls = with_roles(postgresql_url, upgraded=False)
    with Database(urls.service) as database, pytest.raises(NotPermitted, match="sphero db upgrade"):
        database.upgrade()
    told = run("db", "upgrade", SPHERO_DATABASE__URL=urls.service, SPHERO_DATABASE__OWNER_URL=urls.owner)
    assert told.exit_code == 0, told.output
    assert "rights of sphero_service are set" in told.stdout
    with Database(urls.service) as database, database.transaction("test") as work:
        accept(work)


def test_the_sql_is_printed_and_may_run_again(urls: RoleUrls, postgresql_url: str, run: Run) -> None:
    told = run("db", "roles", SPHERO_DATABASE__URL=urls.service)
    assert told.exit_code == 0
    assert told.stdout == setup_sql(make_url(postgresql_url), Roles())
    assert str(make_url(urls.service).password) not in told.stdout
    run_sql(postgresql_url, told.stdout)
    assert run("db", "roles").exit_code == 1  # SQLite


def test_tls_with_a_checked_name(postgresql_server: PostgresqlServer, postgresql_url: str, tmp_path: Path) -> None:
    files = Authority(tmp_path).sign("postgresql", hosts=("localhost",), addresses=())
    assert files.cert_file
    assert files.key_file
    postgresql_server.switch_tls(files.cert_file, files.key_file)
    try:
        secured = f"{postgresql_url}?sslmode=verify-full&sslrootcert={files.ca_file}"
        with Database(secured.replace("127.0.0.1", "localhost")) as database:
            database.upgrade()
            with database.reading() as work:
                query = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                assert work.audit._session.scalar(query) is True
            assert not database.inspect().in_clear
        with Database(secured) as wrong, pytest.raises(DatabaseUnavailable):  # the certificate is not for the address
            wrong.check()
        (tmp_path / "other").mkdir()
        other = Authority(tmp_path / "other").file
        unknown = secured.replace("127.0.0.1", "localhost").replace(str(files.ca_file), str(other))
        with Database(unknown) as wrong, pytest.raises(DatabaseUnavailable):
            wrong.check()
    finally:
        postgresql_server.switch_tls(None)
