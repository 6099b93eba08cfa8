"""The machines that share this database: each gives signs of life, and each duty has one of them.

A duty is what only one machine may do at a time: watch the folder, ask a store, deliver to a destination. It is held with a
lease that ends by itself, so that another machine takes over from one that died or was cut off. A machine must stop by its
own clock before its lease ends (`flows.duties`); the times of leases are those of the machines' clocks, which must agree to
a few seconds.

Every method can be called twice with the same effect.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from db.context import Context
from db.host_schema import DutyRow, HostRow


@dataclass(frozen=True, slots=True)
class HostView:
    """One machine.

    Attributes
    ----------
    store_id : str
        Of the store that it sees.
    living : bool
        Whether its signs of life are fresh.
    lapsed : bool
        Whether they ended without a word, and what it left was not put in order yet.
    """

    host: str
    store_id: str
    began_at: datetime
    living: bool
    lapsed: bool


@dataclass(frozen=True, slots=True)
class DutyView:
    """Who does what only one may do; `running` is False once the lease has ended."""

    duty: str
    host: str
    taken_at: datetime
    running: bool


class Hosts:
    """The machines and their duties within one transaction (`UnitOfWork.hosts`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = context.session

    def beat(self, host: str, store_id: str, ttl_seconds: float) -> None:
        """Give a sign of life: the machine counts as living for so long."""
        now = self._context.clock()
        self._insert(HostRow, host=host, store_id=store_id, began_at=now, expires_at=None)
        row = self._session.get_one(HostRow, host, with_for_update=True, populate_existing=True)
        if row.expires_at is None:
            row.began_at = now
        row.store_id, row.expires_at = store_id, now + timedelta(seconds=ttl_seconds)

    def take(self, duties: Collection[str], host: str, ttl_seconds: float) -> frozenset[str]:
        """Take or keep duties; gives those that the machine has now, for so long."""
        now = self._context.clock()
        held = set()
        for duty in sorted(duties):  # all machines lock in one order
            self._insert(DutyRow, duty=duty, host=host, taken_at=now, expires_at=now)
            row = self._session.get_one(DutyRow, duty, with_for_update=True, populate_existing=True)
            if row.host != host and row.expires_at > now:
                continue
            if row.host != host:
                row.host, row.taken_at = host, now
            row.expires_at = now + timedelta(seconds=ttl_seconds)
            held.add(duty)
        return frozenset(held)

    def sign_off(self, host: str) -> None:
        """Give every duty back and say that the machine is away; another may take over at once."""
        self._session.execute(delete(DutyRow).where(DutyRow.host == host))
        row = self._session.get(HostRow, host, with_for_update=True, populate_existing=True)
        if row is not None:
            row.expires_at = None

    def settle(self, host: str) -> bool:
        """Say that what a lapsed machine left is put in order; False where it lives, or somebody else did so."""
        row = self._session.get(HostRow, host, with_for_update=True, populate_existing=True)
        if row is None or row.expires_at is None or row.expires_at > self._context.clock():
            return False
        row.expires_at = None
        return True

    def list(self) -> tuple[HostView, ...]:
        """Return every machine that ever was, by name."""
        now = self._context.clock()
        rows = self._session.scalars(select(HostRow).order_by(HostRow.host))
        return tuple(
            HostView(
                row.host,
                row.store_id,
                row.began_at,
                living=row.expires_at is not None and row.expires_at > now,
                lapsed=row.expires_at is not None and row.expires_at <= now,
            )
            for row in rows
        )

    def duties(self) -> tuple[DutyView, ...]:
        """Return every duty that somebody has or had, by name."""
        now = self._context.clock()
        rows = self._session.scalars(select(DutyRow).order_by(DutyRow.duty))
        return tuple(DutyView(row.duty, row.host, row.taken_at, row.expires_at > now) for row in rows)

    def _insert(self, table: type[HostRow | DutyRow], **values: str | datetime | None) -> None:
        """Make a row unless it is there; two machines may do so at once."""
        insert = postgresql.insert if self._session.get_bind().dialect.name == "postgresql" else sqlite.insert
        self._session.execute(insert(table).values(values).on_conflict_do_nothing())
