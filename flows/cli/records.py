"""What the commands that look at records share: the database of the settings, opened if it is there."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from flows.cli.output import fail

if TYPE_CHECKING:
    from db.order_views import OrderView
    from db.session import Database, UnitOfWork
    from db.views import CaseView


def open_database() -> Database:
    """The database of the settings; ends with a remedy where it cannot be used as it is."""
    from db.session import Database
    from db.upgrade import SchemaState
    from flows.config import load_settings

    database = Database(load_settings().database.url)
    found = database.check()
    if found.state is SchemaState.MISSING:
        fail("there is no database yet; `sphero up` makes it, or SPHERO_CONFIG names another sphero.toml")
    if found.state is not SchemaState.CURRENT:
        fail(f"the database is {found.state} than this program; `sphero up` of the right version brings it up to date")
    return database


def person(name: str) -> str:
    """Who acts, for the audit: the name given, or else the login."""
    return name.strip() or getpass.getuser()


def one_case(work: UnitOfWork, name: str) -> CaseView:
    """The case with an id or an accession number; ends where there is none, or several issuers gave the number."""
    from db.errors import NotFound

    found = work.identities.find(name)  # a number without issuer is that of its own
    several = () if found else work.identities.find_all(name)
    if len(several) > 1:
        fail(
            f"{len(several)} cases have this number, of different issuers; give our id of one, as `sphero case list` shows it"
        )
    try:
        return work.cases.get(found or (several[0] if several else name))
    except NotFound:
        fail("there is no such case; `sphero case list` shows them all")


def one_order(work: UnitOfWork, number: str) -> OrderView:
    """The order with an id, accession, placer or filler number; ends where there is none or more than one."""
    found = work.orders.find(number)
    if not found:
        fail("there is no such order; `sphero order list` shows them all")
    if len(found) > 1:
        fail(f"{len(found)} orders have this number; give the id of one, as `sphero order list` shows it")
    return found[0]
