"""The database and its transactions.

    database = Database("sqlite:///data/sphero.db")
    database.upgrade()
    with database.transaction(actor="service") as work:
        accepted = work.fields.accept(...)
        work.cases.complete(accepted.case_id)

A transaction is committed when the block ends, and rolled back when an exception leaves it. Only frozen values leave it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

from sqlalchemy import URL, Engine, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from db import snapshot
from db import upgrade as migration
from db.analyses import Analyses
from db.audit import AuditLog
from db.audit_cursors import AuditCursors
from db.cases import Cases
from db.contents import Contents
from db.context import Clock, Context, utc_now
from db.cursors import Cursors
from db.engine import READ_ONLY, READING, make_engine, translate
from db.errors import DatabaseBusy, DatabaseError, UnsupportedDatabase
from db.fields import Fields
from db.headers import Headers
from db.hosts import Hosts
from db.identities import Identities
from db.inbound import Inbound
from db.inspection import Inspection, inspect
from db.instances import Instances
from db.matching import Matching
from db.objects import ResultObjects
from db.orders import Orders
from db.outbox import Outbox
from db.patients import Patients
from db.pledges import Pledges
from db.reports import Reports
from db.restoration import Restoration
from db.retention import Retention
from db.reviews import Reviews
from db.roles import Roles, grant
from db.snapshot import Snapshot
from db.upgrade import SchemaCheck
from db.watch import Watch


class UnitOfWork:
    """One transaction: everything that can be read and written in it.

    Attributes
    ----------
    cases : Cases
    identities : Identities
    fields : Fields
    analyses : Analyses
    reports : Reports
    reviews : Reviews
    outbox : Outbox
    inbound : Inbound
    instances : Instances
    contents : Contents
    cursors : Cursors
    headers : Headers
    objects : ResultObjects
    patients : Patients
    pledges : Pledges
    hosts : Hosts
    orders : Orders
    matching : Matching
    restoration : Restoration
    retention : Retention
    audit : AuditLog
    watch : Watch
    audit_cursors : AuditCursors
    """

    def __init__(self, context: Context) -> None:
        self.cases = Cases(context)
        self.identities = Identities(context)
        self.fields = Fields(context, self.identities)
        self.analyses = Analyses(context)
        self.reports = Reports(context)
        self.reviews = Reviews(context, self.reports)
        self.outbox = Outbox(context)
        self.objects = ResultObjects(context, self.outbox)
        self.inbound = Inbound(context)
        self.instances = Instances(context)
        self.contents = Contents(context)
        self.cursors = Cursors(context)
        self.headers = Headers(context)
        self.patients = Patients(context, self.identities)
        self.pledges = Pledges(context)
        self.hosts = Hosts(context)
        self.orders = Orders(context, self.identities, self.patients)
        self.matching = Matching(context, self.cases, self.identities, self.patients)
        self.restoration = Restoration(context)
        self.retention = Retention(context)
        self.audit = AuditLog(context)
        self.watch = Watch(context)
        self.audit_cursors = AuditCursors(context)


class Database:
    """A database on SQLite (a file) or PostgreSQL; safe to use from several threads and processes.

    Parameters
    ----------
    url : str
        ``sqlite:///path/to/file`` or ``postgresql+psycopg://user@host/name``.
    clock : callable
        Gives the time, aware.
    busy_seconds : float
        How long to wait for a lock before `DatabaseBusy`.

    Raises
    ------
    UnsupportedDatabase
    """

    def __init__(self, url: str, clock: Clock = utc_now, *, busy_seconds: float = 30.0) -> None:
        self._url = _checked(url)
        self._clock = clock
        self._engine: Engine = make_engine(self._url, busy_seconds)
        self._reading = self._engine.execution_options(**{READING: True})

    def __repr__(self) -> str:
        return f"Database({self._url.render_as_string(hide_password=True)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; a database that is used again opens new ones."""
        self._engine.dispose()

    @contextmanager
    def transaction(self, actor: str) -> Iterator[UnitOfWork]:
        """Begin a transaction that writes.

        On SQLite it is the only one (``BEGIN IMMEDIATE``); on PostgreSQL rows are locked as they are used. Keep it
        short: no waiting, no network and no image inside.

        Parameters
        ----------
        actor : str
            Who acts, for the audit: a component or a user's login, never a patient.

        Raises
        ------
        DatabaseBusy
            Nothing was written; run it again.
        DatabaseUnavailable
            Not reachable, or it cannot write. When it came while committing, the commit may have happened: run it again,
            every method allows that.
        DatabaseError
            Any other fault of the database; see `db.errors`.
        """
        with _translated(), Session(self._engine, expire_on_commit=False) as session:
            work = UnitOfWork(Context(session, self._clock, actor))
            yield work
            session.flush()
            work.audit.write_pending()
            session.commit()

    @contextmanager
    def reading(self) -> Iterator[UnitOfWork]:
        """Begin a transaction that only reads; it waits for no writer and holds none up.

        Raises
        ------
        DatabaseError
            Something was written in it; nothing of that is kept.
        """
        with _translated(), Session(self._reading, expire_on_commit=False, autoflush=False) as session:
            context = Context(session, self._clock, "reader")
            yield UnitOfWork(context)
            if context.events or session.new or session.dirty or session.deleted:
                raise DatabaseError(READ_ONLY)

    def upgrade(self) -> None:
        """Bring the tables to what this program needs; creates the file of a new SQLite database.

        All or nothing, and one at a time however many programs start at once.

        Raises
        ------
        SchemaMismatch
            The database was written by a newer program.
        DatabaseUnavailable
        """
        if self._url.database is not None and self._url.get_backend_name() == "sqlite":
            _create_file(Path(self._url.database))
        with _translated(), self._engine.begin() as connection:
            migration.upgrade(connection)

    def clock_skew(self) -> float:
        """Seconds by which this machine's clock is before that of the database's server; 0 on SQLite, which has none.

        Raises
        ------
        DatabaseUnavailable
        """
        if self._url.get_backend_name() == "sqlite":
            return 0.0
        with _translated(), self._reading.begin() as connection:
            there: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return (self._clock() - there).total_seconds()

    def check(self) -> SchemaCheck:
        """Say whether the tables are those of this program, older, newer, or not there at all.

        Raises
        ------
        DatabaseUnavailable
        """
        if self._url.get_backend_name() == "sqlite" and not Path(str(self._url.database)).exists():
            return migration.nothing_there()
        with _translated(), self._reading.begin() as connection:
            return migration.check(connection)

    def inspect(self, *, thoroughly: bool = False) -> Inspection:
        """Look at guards, rights and, where asked, at every page; the tables must be those of this program.

        Raises
        ------
        DatabaseError
        """
        with _translated(), self._reading.begin() as connection:
            return inspect(connection, thoroughly=thoroughly)

    def snapshot(self, folder: Path) -> tuple[Path, Snapshot]:
        """Write everything into a file of `folder`, while others work; see `db.snapshot`.

        Raises
        ------
        BackupFailed
        """
        return snapshot.take(self._url, folder)

    def load(self, file: Path) -> None:
        """Bring such a file back into this database, which must be empty.

        Raises
        ------
        BackupFailed
        """
        snapshot.load(self._url, file)

    def measure(self) -> Snapshot:
        """Count what is there, whatever the revision of its tables.

        Raises
        ------
        BackupFailed
        """
        return snapshot.measure(self._url)

    def grant(self, roles: Roles) -> tuple[str, ...]:
        """Give the roles their rights, as the owner of the tables; name those that the server knows.

        Raises
        ------
        DatabaseError
        """
        if self._url.get_backend_name() == "sqlite":
            return ()
        with _translated(), self._engine.begin() as connection:
            return grant(connection, roles)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's errors into ours; theirs quote values, which may be personal data."""
    try:
        yield
    except DBAPIError as error:
        raise translate(error) from None
    except PoolTimeout:
        raise DatabaseBusy("every connection to the database is in use; run the transaction again") from None


def _checked(url: str) -> URL:
    supported = "use sqlite:///path/to/file or postgresql+psycopg://user@host/name"
    try:
        parsed = make_url(url)
    except (ArgumentError, NoSuchModuleError):
        # The URL may hold a password: it is not quoted.
        raise UnsupportedDatabase(f"the database URL cannot be read; {supported}") from None
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise UnsupportedDatabase(f"SQLite needs a file, since several processes share it; {supported}")
        return parsed.set(drivername="sqlite+pysqlite")
    raise UnsupportedDatabase(f"{parsed.drivername} is not supported; {supported}")


def sqlite_file(url: str) -> Path | None:
    """The file of a database on SQLite; None for one on a server.

    Raises
    ------
    UnsupportedDatabase
    """
    parsed = _checked(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def _create_file(path: Path) -> None:
    """Create the database file so that only its owner can read it: it holds personal data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)
