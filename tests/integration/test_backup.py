"""Backup and its way back, on both databases: what comes back is what was taken, and nothing leaves twice with other bytes."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from typer.testing import CliRunner

from db.anchors import AnchorFile
from db.errors import BackupFailed
from db.restoration import REASON
from db.session import Database, UnitOfWork
from db.states import CaseState, HoldReason, MessageState
from db.upgrade import SchemaState
from flows.backup import MANIFEST, back_up, damaged_parts, read_manifest
from flows.cli.app import app
from flows.errors import BackupRefused
from flows.places import Places
from flows.restore import Restore, drill
from tests.database_examples import ManualClock, enqueue, to_state
from tests.database_roles import with_roles
from tests.postgresql import PostgresqlServer


def place(root: Path) -> Places:
    places = Places(root / "data", root / "data" / "incoming", root / "data")
    places.make()
    return places


def keep(work: UnitOfWork, places: Places, accession: str, name: str) -> str:
    """Put a file into the store and accept it as a field; return the case's id."""
    content = name.encode() * 100
    sha256 = hashlib.sha256(content).hexdigest()
    (places.store / f"{sha256}.png").write_bytes(content)
    accepted = work.fields.accept(
        name,
        accession=accession,
        sha256=sha256,
        size_bytes=len(content),
        media_type="image/png",
        width=64,
        height=48,
        stored_name=f"{sha256}.png",
    )
    return accepted.case_id


@pytest.fixture
def urls(database_url: str, postgresql_server: PostgresqlServer) -> Iterator[tuple[str, str]]:
    """Give the URLs of a database in use, as the service's role, and of an empty one of the same kind, as its owner."""
    if database_url.startswith("sqlite"):
        yield database_url, f"{database_url}.restored"
        return
    name, empty = postgresql_server.create_database()
    yield with_roles(database_url).service, with_roles(empty, upgraded=False).owner
    postgresql_server.drop_database(name)


@pytest.fixture
def site(urls: tuple[str, str], tmp_path: Path, clock: ManualClock) -> Iterator[tuple[Database, Places]]:
    """Give a database with cases in several states, messages in several states, and the files of both."""
    places = place(tmp_path / "site")
    with Database(urls[0], clock) as database:
        database.upgrade()
        with database.transaction("test") as work:
            keep(work, places, "26-1", "one")
            reported = to_state(work, CaseState.REPORTED, "26-2", "two")
            for destination in ("LIS", "second", "third"):
                enqueue(work, reported, destination=destination)
            (sent,) = work.outbox.claim_due("LIS", "s", 60)
            work.outbox.delivered(sent.message_id, "s", ack_code="AA", ack=b"MSA|AA", seconds=0.1)
            work.outbox.claim_due("second", "s", 60)
            to_state(work, CaseState.ANALYSED, "26-3", "three")
        # What the examples accept has no bytes; here every row has its file.
        (places.quarantine / "refused.bin").write_bytes(b"no image")
        with database.reading() as work:
            rows = work.audit._session.execute(text("SELECT sha256, stored_name FROM stored_files")).all()
        for _, name in rows:
            if not (places.store / name).exists():
                (places.store / name).write_bytes(name.encode())
        yield database, places


def restored(folder: Path, url: str, root: Path, clock: ManualClock) -> tuple[Database, list[str], AnchorFile]:
    database, anchors = Database(url, clock), AnchorFile(root / "anchors")
    way = Restore(folder, database, place(root))
    lines = list(way.run())
    assert [line.what for line in lines if not line.well] == ["a file for every row"], lines  # examples without bytes
    way.take_precautions(anchors, "somebody", clock)
    return database, [line.found for line in lines], anchors


def test_what_comes_back_is_what_was_taken(
    site: tuple[Database, Places], urls: tuple[str, str], tmp_path: Path, clock: ManualClock
) -> None:
    database, places = site
    folder = back_up(database, places, tmp_path / "backups", clock=clock)
    manifest = read_manifest(folder)
    with database.reading() as work:
        head, cases, messages = work.audit.head(), work.cases.list(), work.outbox.list()
    assert manifest.head == head
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
    with database.transaction("test") as work:  # life goes on, and is lost
        keep(work, places, "26-9", "after the backup")

    back, _, anchors = restored(folder, urls[1], tmp_path / "new", clock)
    with back, back.reading() as work:
        events = work.audit.list()
        assert work.audit.verify([head]).intact
        assert events[-1].action == "database restored"
        assert events[-1].actor == "somebody"
        assert {case.case_id for case in work.cases.list()} == {case.case_id for case in cases}
        kept = {each.control_id: each for each in work.outbox.list()}
        assert {name: each.body for name, each in kept.items()} == {each.control_id: each.body for each in messages}
    assert anchors.read().heads[-1] == head
    for path in (places.quarantine / "refused.bin", *places.store.iterdir()):
        copy = tmp_path / "new" / "data" / path.relative_to(places.data)
        if path.read_bytes() != b"after the backup" * 100:
            assert copy.read_bytes() == path.read_bytes()


def test_nothing_leaves_by_itself_and_a_person_sends_the_same_bytes(
    site: tuple[Database, Places], urls: tuple[str, str], tmp_path: Path, clock: ManualClock
) -> None:
    database, places = site
    folder = back_up(database, places, tmp_path / "backups", clock=clock)
    with database.reading() as work:
        before = {each.message_id: each for each in work.outbox.list()}
    back, _, _ = restored(folder, urls[1], tmp_path / "new", clock)
    clock.advance(24 * 3600)
    with back:
        with back.transaction("test") as work:
            after = work.outbox.list()
            assert {each.state for each in after} == {MessageState.DELIVERED, MessageState.PARKED}
            parked = [each for each in after if each.state is MessageState.PARKED]
            assert {each.reason for each in parked} == {REASON}
            assert [work.outbox.claim_due(each.destination, "s", 60) for each in parked] == [(), ()]
            undone = [case for case in work.cases.list() if case.state is CaseState.HELD]
            assert len(undone) == 2
            assert all(set(work.cases.get(case.case_id).hold_reasons) == {HoldReason.RESTORED} for case in undone)
            assert not work.cases.claim(undone[0].case_id, "w", 60)
        with back.transaction("somebody") as work:
            work.outbox.resend(parked[0].message_id)
            (taken,) = work.outbox.claim_due(parked[0].destination, "s", 60)
        assert replace(taken, attempts=0).body == before[taken.message_id].body
        assert taken.control_id == before[taken.message_id].control_id
        with back.transaction("somebody") as work:
            for case in undone:
                work.cases.release(case.case_id, HoldReason.RESTORED)
        with back.reading() as work:
            assert {work.cases.get(case.case_id).state for case in undone} == {CaseState.OPEN, CaseState.ANALYSED}


def test_a_backup_is_one_moment_while_others_write(site: tuple[Database, Places], tmp_path: Path) -> None:
    database, places = site
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.002):
            number += 1
            with database.transaction("writer") as work:
                work.audit.append("written", number=number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        manifest = read_manifest(back_up(database, places, tmp_path / "backups"))
    finally:
        stop.set()
        writer.join()
    assert manifest.rows["audit_events"] == manifest.audit_sequence


def test_damage_is_found_and_nothing_is_restored(
    site: tuple[Database, Places], urls: tuple[str, str], tmp_path: Path, clock: ManualClock
) -> None:
    database, places = site
    folder = back_up(database, places, tmp_path / "backups", clock=clock)
    with pytest.raises(BackupRefused, match="there already"):
        back_up(database, places, tmp_path / "backups", clock=clock)
    clock.advance(1)
    second = back_up(database, places, tmp_path / "backups", clock=clock)
    pool = [path for path in (tmp_path / "backups" / "files").rglob("*") if path.is_file()]
    assert len(pool) == len(read_manifest(second).files)  # contents lie there once
    kept = pool[0].read_bytes()
    pool[0].write_bytes(kept[:-1] + b"?")
    assert len(list(damaged_parts(folder, read_manifest(folder)))) == 1
    with Database(urls[1]) as empty:
        (line,) = Restore(folder, empty, place(tmp_path / "new")).run()
        assert (line.what, line.well) == ("hashes of the backup", False)
        assert empty.check().state is SchemaState.MISSING
    pool[0].unlink()
    assert len(list(damaged_parts(folder, read_manifest(folder)))) == 1
    (folder / MANIFEST).unlink()
    with pytest.raises(BackupRefused, match="no finished backup"):
        read_manifest(folder)


def test_a_place_that_is_not_empty_is_left_alone(
    site: tuple[Database, Places], tmp_path: Path, clock: ManualClock, urls: tuple[str, str]
) -> None:
    database, places = site
    folder = back_up(database, places, tmp_path / "backups", clock=clock)
    with pytest.raises(BackupRefused, match="not empty"):
        list(Restore(folder, database, places).run())
    with pytest.raises(BackupFailed, match=r"already|empty"):
        database.load(folder / read_manifest(folder).database.path)
    other = place(tmp_path / "new")
    part = read_manifest(folder).files[0]
    (other.data / part.path).write_bytes(b"another's")
    with Database(urls[1]) as empty, pytest.raises(BackupRefused, match="other bytes"):
        list(Restore(folder, empty, other).run())


def test_a_drill_restores_all_and_leaves_nothing(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """By the command line, as an administrator would; every row has its file here."""
    for variable in [name for name in os.environ if name.startswith("SPHERO_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPHERO_DATABASE__URL", database_url)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    places = Places(tmp_path / "sphero-data", tmp_path / "sphero-data" / "incoming", tmp_path / "sphero-data")
    places.make()
    with Database(database_url) as database:
        database.upgrade()
        with database.transaction("test") as work:
            keep(work, places, "26-1", "one")
            keep(work, places, "26-2", "two")
    taken = CliRunner().invoke(app, ["db", "backup", "--out", "backups"])
    assert taken.exit_code == 0, taken.output
    folder = taken.stdout.split()[-1]
    told = CliRunner().invoke(app, ["db", "drill", folder])
    assert told.exit_code == 0, told.output
    assert "2 originals" in told.stdout
    assert list((tmp_path / "scratch").iterdir()) == []
    if make_url(database_url).get_backend_name() == "postgresql":
        with Database(database_url) as database, database.reading() as work:
            names = work.audit._session.scalars(text("SELECT datname FROM pg_database")).all()
        assert not [name for name in names if name.startswith("sphero_drill")]
    else:
        (Path(folder) / "database.sqlite").write_bytes(b"?")
        assert CliRunner().invoke(app, ["db", "drill", folder]).exit_code == 1


def test_the_drill_says_when_its_role_may_make_no_database(postgresql_url: str, tmp_path: Path) -> None:
    urls = with_roles(postgresql_url)
    with Database(urls.service) as database:
        folder = back_up(database, place(tmp_path), tmp_path / "backups")
    with pytest.raises(BackupFailed, match="CREATEDB"):
        list(drill(folder, urls.owner))
