"""Which contents of our store are recorded, whatever brought them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from db.context import Context
from db.instance_schema import Instance
from db.schema import StoredFile

_MANY = 500  # values in one query


class Contents:
    """The contents of the store within one transaction (`UnitOfWork.contents`)."""

    def __init__(self, context: Context) -> None:
        self._session = context.session

    def known(self, sha256s: Collection[str]) -> frozenset[str]:
        """Return those that a file of a field, or an instance in whatever state, is recorded with."""
        wanted, found = sorted(set(sha256s)), set[str]()
        for begin in range(0, len(wanted), _MANY):
            some = wanted[begin : begin + _MANY]
            for column in (StoredFile.sha256, Instance.sha256):
                found.update(self._session.scalars(select(column).where(column.in_(some))))
        return frozenset(found)
