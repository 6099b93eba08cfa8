"""The PostgreSQL that other tests rest on is real, empty for each test, and survives a kill with its data."""

from __future__ import annotations

import psycopg

from tests.postgresql import PostgresqlServer


def dsn(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def test_each_test_gets_an_empty_database(postgresql_server: PostgresqlServer, postgresql_url: str) -> None:
    name, other = postgresql_server.create_database()
    with psycopg.connect(dsn(postgresql_url)) as connection:
        connection.execute("CREATE TABLE here (n int)")
    with psycopg.connect(dsn(other)) as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'here'").fetchone()
    postgresql_server.drop_database(name)
    assert found == (0,)


def test_a_killed_server_comes_back_with_what_was_committed() -> None:
    from tests.postgresql import find_binaries

    with PostgresqlServer(find_binaries()) as server:
        _, url = server.create_database()
        with psycopg.connect(dsn(url)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        server.kill()
        server.start()
        with psycopg.connect(dsn(url)) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
