"""`sphero db`: migrations, rights, integrity, backup and its way back."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.output import AsJson, fail, print_json, print_rows
from flows.cli.records import person

if TYPE_CHECKING:
    from db.roles import Roles
    from flows.restore import Line
    from flows.settings import Settings

app = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)


@app.command("upgrade")
def upgrade() -> None:
    """Bring the tables to what this program needs, and give the roles their rights; make a backup first.

    Works as [database] owner_url where that is set, else as [database] url.
    """
    from db.session import Database
    from flows.config import load_settings

    settings = load_settings()
    with Database(settings.database.owner_url or settings.database.url) as database:
        before = database.check()
        database.upgrade()
        after = database.check()
        granted = database.grant(_roles(settings))
    print(f"revision {before.found or 'none'} -> {after.found}")
    for role in granted:
        print(f"rights of {role} are set")


@app.command("check")
def check(as_json: AsJson = False) -> None:
    """Look at revision, guards, rights and damage; exit code 1 where something is wrong. Reads everything on SQLite."""
    from flows.config import load_settings
    from flows.database_checks import database_checks

    found = list(database_checks(load_settings(), thoroughly=True))
    rows = [{**asdict(each), "remedy": each.remedy or None} for each in found]
    print_rows(rows, as_json=False, empty="") if not as_json else print_json(rows)
    if any(each.state == "fail" for each in found):
        raise SystemExit(1)


@app.command("roles")
def roles() -> None:
    """Print the SQL that makes the roles of PostgreSQL: owner, service with least rights, reader without persons.

    An administrator of the server runs it once, and may run it again: sphero db roles | psql DATABASE
    """
    from sqlalchemy import make_url

    from db.roles import setup_sql
    from flows.config import load_settings

    settings = load_settings()
    url = make_url(settings.database.url)
    if url.get_backend_name() != "postgresql":
        fail("SQLite knows no roles: the file's permissions are its rights; set [database] url to a PostgreSQL")
    print(setup_sql(url, _roles(settings)), end="")


@app.command("backup")
def backup(
    out: Annotated[
        Path, typer.Option(help="Folder of all backups; contents lie in it once. Not on the service's disk.")
    ],
) -> None:
    """Take a backup of database and files while the service works; prints its folder. It names patients: keep it safe."""
    from db.session import Database
    from flows.backup import back_up, read_manifest
    from flows.config import load_settings
    from flows.places import places_of

    settings = load_settings()
    with Database(settings.database.url) as database:
        folder = back_up(database, places_of(settings), out.absolute())
    manifest = read_manifest(folder)
    size = sum(part.size for part in manifest.files)
    print(f"event {manifest.audit_sequence}, {len(manifest.files)} files of {size / 2**20:.1f} MiB", file=sys.stderr)
    print(folder)


@app.command("restore")
def restore(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="Folder that `sphero db backup` printed.")],
    by: Annotated[str, typer.Option(help="Who does so; your own login by default.")] = "",
) -> None:
    """Bring a backup back into an empty place, check it, and let nothing leave by itself: deploy/docs/runbooks has what follows."""
    from db.anchors import AnchorFile
    from db.session import Database
    from flows.config import load_settings
    from flows.places import DataLock, places_of
    from flows.restore import Restore

    settings = load_settings()
    places = places_of(settings)
    places.make()
    with DataLock(settings.data), Database(settings.database.owner_url or settings.database.url) as database:
        way = Restore(backup.absolute(), database, places)
        well = _show(way.run())
        if not well:
            fail("the backup did not come back as it was; remove what is there, and take another backup")
        _show([way.take_precautions(AnchorFile(Path(settings.audit.anchor_folder)), person(by))])
        database.grant(_roles(settings))


@app.command("drill")
def drill(
    backup: Annotated[
        Path | None,
        typer.Argument(metavar="[BACKUP]", help="Folder of a backup; without one, one is taken for the drill."),
    ] = None,
) -> None:
    """Restore a backup into an empty place, check everything, and leave nothing behind; exit code 1 where it failed."""
    from flows.config import load_settings
    from flows.restore import drill as drilled

    section = load_settings().database
    with tempfile.TemporaryDirectory(prefix="sphero-backup-") as place:
        folder = backup.absolute() if backup else _fresh_backup(Path(place))
        if not _show(drilled(folder, section.owner_url or section.url)):
            fail("this backup could not be restored; take another one, and see to it today")
    print("the backup can be restored; nothing was left behind")


def _fresh_backup(out: Path) -> Path:
    from db.session import Database
    from flows.backup import back_up
    from flows.config import load_settings
    from flows.places import places_of

    settings = load_settings()
    with Database(settings.database.url) as database:
        return back_up(database, places_of(settings), out)


def _show(lines: Iterable[Line]) -> bool:
    well = True
    for line in lines:
        well = well and line.well
        print(f"{'ok' if line.well else 'fail':4}  {line.what:22}  {line.seconds:7.1f} s  {line.found}", flush=True)
    return well


def _roles(settings: Settings) -> Roles:
    from db.roles import Roles

    section = settings.database
    return Roles(section.owner_role, section.service_role, section.reader_role)
