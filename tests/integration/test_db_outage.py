"""A PostgreSQL that is killed in the middle: told at once, nothing half done, and the next transaction works again."""

from __future__ import annotations

import pytest

from db.errors import DatabaseUnavailable
from db.session import Database
from tests.database_examples import accept
from tests.postgresql import PostgresqlServer, find_binaries


def accept_and_kill(database: Database, server: PostgresqlServer) -> None:
    with database.transaction("test") as work:
        accept(work, name="two")
        server.kill()


def test_a_killed_server_is_told_and_comes_back() -> None:
    with PostgresqlServer(find_binaries()) as server:
        _, url = server.create_database()
        with Database(url) as database:
            database.upgrade()
            with database.transaction("test") as work:
                kept = accept(work, name="one").case_id
            with pytest.raises(DatabaseUnavailable):
                accept_and_kill(database, server)
            with pytest.raises(DatabaseUnavailable), database.reading() as work:
                work.cases.list()
            server.start()
            with database.transaction("test") as work:
                assert work.cases.get(kept).fields == 1
                assert accept(work, name="two").new
            with database.reading() as work:
                assert work.audit.verify().intact
