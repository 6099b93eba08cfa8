"""What `sphero doctor` says about several machines on one database: clocks, the common store, who lives and does what."""

from __future__ import annotations

from collections.abc import Iterator

from db.errors import DatabaseError
from db.session import Database
from db.upgrade import SchemaState
from flows.errors import ServiceError
from flows.findings import Check
from flows.places import Places, places_of
from flows.settings import Settings

CONNECT_SECONDS = 5.0
MOST_SKEW_SECONDS = 5.0
ONE_CLOCK = "set the clocks of all machines by one time server (NTP): leases and the order of events rest on them"


def host_checks(settings: Settings) -> Iterator[Check]:
    """Look at what the machines of a site must have in common; nothing for one machine that knows no other."""
    with Database(settings.database.url, busy_seconds=CONNECT_SECONDS) as database:
        try:
            if database.check().state is not SchemaState.CURRENT:
                return
            skew = database.clock_skew()
            with database.reading() as work:
                hosts, duties = work.hosts.list(), work.hosts.duties()
        except DatabaseError:
            return  # told by the check of the database
    if abs(skew) > MOST_SKEW_SECONDS:
        yield Check("clock", "fail", f"{skew:+.0f} s beside the clock of the database's server", ONE_CLOCK)
    living = [host.host for host in hosts if host.living]
    if len(living) > 1 or settings.paths.shared is not None:
        does = "; ".join(f"{each.host}: {each.duty}" for each in duties if each.running)
        yield Check("machines", "ok", f"{', '.join(living) or 'none'} living ({does or 'no duties taken'})")
    if hosts:
        yield _store(places_of(settings), {host.store_id for host in hosts})


def _store(places: Places, known: set[str]) -> Check:
    if not places.has_store:
        return Check("store", "fail", f"no store of images at {places.shared}", "mount the share at [paths] shared")
    try:
        found = places.store_id()
    except ServiceError as error:
        return Check("store", "fail", str(error), "mount the share, give the service's user its rights")
    if known != {found}:
        remedy = "mount the same folder at [paths] shared on every machine"
        return Check(
            "store", "fail", f"{places.shared} is not the store that the machines of this database use", remedy
        )
    return Check("store", "ok", f"{places.shared} is the store of this database")
