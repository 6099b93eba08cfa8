"""What `sphero doctor` and `sphero db check` look at in the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from db.anchors import AnchorFile
from db.errors import DatabaseError
from db.session import Database
from db.upgrade import SchemaState
from flows.findings import Check
from flows.log import tell
from flows.settings import Settings

CONNECT_SECONDS = 5.0
REMEDIES: dict[SchemaState, tuple[str, str]] = {
    SchemaState.CURRENT: ("ok", ""),
    SchemaState.MISSING: ("note", "`sphero up` makes the tables"),
    SchemaState.OLDER: ("note", "make a backup, then `sphero db upgrade`; `sphero up` does it, too"),
    SchemaState.NEWER: ("fail", "install the newer program again, or restore the backup made before it"),
}


def database_checks(settings: Settings, *, thoroughly: bool = False) -> Iterator[Check]:
    """Look at schema, guards, rights, the way to it and the anchor of the audit; `thoroughly` also at every page."""
    with Database(settings.database.url, busy_seconds=CONNECT_SECONDS) as database:
        try:
            found = database.check()
            state, remedy = REMEDIES[found.state]
            yield Check("database", state, f"{found.state} (revision {found.found or 'none'})", remedy)
            if found.state is not SchemaState.CURRENT:
                return
            yield from _inspected(database, thoroughly=thoroughly)
            yield _anchor(settings, database)
        except DatabaseError as error:
            yield Check("database", "fail", tell(error), "see [database] url; is the server running?")


def _inspected(database: Database, *, thoroughly: bool) -> Iterator[Check]:
    seen = database.inspect(thoroughly=thoroughly)
    if seen.missing_guards:
        found = f"triggers are missing: {', '.join(seen.missing_guards)}"
        yield Check("audit guards", "fail", found, "find out who dropped them; `sphero audit verify`; restore a backup")
    else:
        yield Check("audit guards", "ok", "audit, reports and messages are append only")
    if seen.excess:
        remedy = "give the service a role with least rights: `sphero db roles`"
        yield Check("database rights", "note", f"our role {'; '.join(seen.excess)}", remedy)
    if seen.in_clear:
        remedy = "add ?sslmode=verify-full&sslrootcert=FILE to [database] url"
        yield Check("database tls", "fail", "the connection goes over a network in the clear", remedy)
    for fault in seen.faults:
        yield Check("database damage", "fail", fault, "stop the service, keep the files, restore a backup")


def _anchor(settings: Settings, database: Database) -> Check:
    file = AnchorFile(Path(settings.audit.anchor_folder))
    kept = file.read()
    if not kept.heads:
        return Check("audit anchor", "note", "no head of the chain was kept outside yet", "`sphero up` keeps them")
    last = kept.heads[-1]
    with database.reading() as work:
        standing = work.audit.hash_of(last.sequence)
    if standing != last.hash:
        found = f"event {last.sequence} is not the one that was kept outside"
        return Check("audit anchor", "fail", found, "`sphero audit verify`, then deploy/docs/runbooks/audit.md")
    return Check("audit anchor", "ok", f"event {last.sequence}, kept {kept.last_at:%Y-%m-%d %H:%M} UTC")
