"""Migrations: which state the tables are in, and how they are brought to this program's.

Alembic is imported where it is needed: the DICOM receiver and most commands open a database that the service has migrated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from db.errors import SchemaMismatch

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

LOCK = 0x5350_4845_524F
"""Key of the PostgreSQL advisory lock that lets one program migrate at a time ("SPHERO")."""

MIGRATION_SECONDS = 3600


class SchemaState(StrEnum):
    """How the tables stand to this program."""

    MISSING = "missing"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """How the tables stand to this program; `found` is the database's revision, `needed` the program's."""

    state: SchemaState
    found: str | None
    needed: str


def nothing_there() -> SchemaCheck:
    """The answer for a database that does not exist yet."""
    return SchemaCheck(SchemaState.MISSING, None, _head(_scripts()))


def check(connection: Connection) -> SchemaCheck:
    """Compare the revision of a database with this program's."""
    from alembic.runtime.migration import MigrationContext

    scripts = _scripts()
    needed = _head(scripts)
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        return SchemaCheck(SchemaState.MISSING, None, needed)
    if found == needed:
        return SchemaCheck(SchemaState.CURRENT, found, needed)
    known = {script.revision for script in scripts.walk_revisions()}
    return SchemaCheck(SchemaState.OLDER if found in known else SchemaState.NEWER, found, needed)


def upgrade(connection: Connection) -> None:
    """Bring the tables to this program's revision, within the caller's transaction.

    Raises
    ------
    SchemaMismatch
        They are newer than this program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL statement_timeout = '{MIGRATION_SECONDS}s'"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_SECONDS}s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    found = check(connection)
    if found.state is SchemaState.CURRENT:
        return
    if found.state is SchemaState.NEWER:
        raise SchemaMismatch(
            f"the database is at revision {found.found}, which this program ({found.needed}) does not know; "
            "install the newer program again, or restore the backup made before it"
        )
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    # Alembic takes the value through ConfigParser, where a percent sign is special.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _head(scripts: ScriptDirectory) -> str:
    head = scripts.get_current_head()
    if head is None:
        raise SchemaMismatch("the program's own migrations are missing; install it again")
    return head
