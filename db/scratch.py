"""An empty database beside another one, for a drill; it goes afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from db.errors import BackupFailed
from db.snapshot import connection_to


@contextmanager
def scratch_database(owner_url: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database of the same kind: a file in `folder`, or a new one on the same server.

    Parameters
    ----------
    owner_url : str
        On PostgreSQL of a role that may make databases; the database itself is not touched.

    Raises
    ------
    BackupFailed
        The role may not make one.
    """
    url = make_url(owner_url)
    if url.get_backend_name() == "sqlite":
        yield f"sqlite:///{folder / 'drill.db'}"
        return
    name = f"sphero_drill_{secrets.token_hex(4)}"
    with connection_to(url) as connection:
        try:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            raise BackupFailed(
                f"the role {url.username} may not make a database to try the backup in; for the drill set "
                "[database] owner_url to a role with CREATEDB"
            ) from None
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
