"""Heads of the audit chain outside the database: what is kept, what a crash leaves, and every kind of tampering found."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete, select, text, update

from db.anchors import AnchorFile, Anchors, read_anchors
from db.errors import DatabaseUnavailable
from db.schema import AuditHeadRow, AuditRow
from db.session import Database
from db.views import AuditHead
from flows.audit_keeper import AuditKeeper, anchor
from flows.config import check_settings
from tests.audit_tampering import KINDS, tamper
from tests.database_examples import ManualClock
from tests.support import wait_for


def write(database: Database, events: int) -> AuditHead:
    for number in range(events):
        with database.transaction("test") as work:
            work.audit.append("tried", None, number=number)
    with database.reading() as work:
        return work.audit.head()


def cut_tail(url: str, kept: int) -> None:
    """As somebody would who may do anything in the database: the head moves back with the chain's end."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for trigger in ("audit_events_kept", "audit_head_moves_on"):
            table = "audit_head" if "head" in trigger else "audit_events"
            place = f" ON {table}" if engine.name == "postgresql" else ""
            connection.execute(text(f"DROP TRIGGER {trigger}{place}"))
        connection.execute(delete(AuditRow).where(AuditRow.sequence > kept))
        last = connection.execute(select(AuditRow.hash).where(AuditRow.sequence == kept)).scalar_one()
        connection.execute(update(AuditHeadRow).values(sequence=kept, hash=last))
    engine.dispose()


def test_heads_are_kept_once_and_in_order(tmp_path: Path, clock: ManualClock) -> None:
    file = AnchorFile(tmp_path / "anchors")
    assert file.read() == Anchors()
    assert not file.keep(AuditHead(0, "0" * 64), clock())  # there is nothing to keep yet
    first, second = AuditHead(3, "a" * 64), AuditHead(5, "b" * 64)
    assert file.keep(first, clock())
    assert not file.keep(first, clock())
    assert file.keep(second, clock())
    assert file.read() == Anchors((first, second), clock())
    assert file.path.stat().st_mode & 0o007 == 0


def test_a_line_that_a_crash_cut_short_is_told_and_stays_alone(tmp_path: Path, clock: ManualClock) -> None:
    file = AnchorFile(tmp_path)
    file.keep(AuditHead(3, "a" * 64), clock())
    with file.path.open("a") as lines:
        lines.write('{"at":"2026-')
    file.keep(AuditHead(5, "b" * 64), clock())
    found = file.read()
    assert [head.sequence for head in found.heads] == [3, 5]
    assert found.problems == ("line 2 of the anchors: cannot be read; what it kept is not known",)


def test_after_a_restore_heads_beyond_it_count_no_longer(tmp_path: Path, clock: ManualClock) -> None:
    file = AnchorFile(tmp_path)
    for sequence in (3, 5, 9):
        file.keep(AuditHead(sequence, str(sequence) * 64), clock())
    file.restored(AuditHead(6, "f" * 64), clock())
    file.keep(AuditHead(7, "7" * 64), clock())
    found = file.read()
    assert [head.sequence for head in found.heads] == [3, 5, 6, 7]
    assert found.notes == (
        "a backup that ends with event 6 was restored on 2026-03-29 00:59 UTC; events 7 to 9 were lost with it",
    )


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DatabaseUnavailable, match="anchor_folder"):
        AnchorFile(tmp_path / "taken").keep(AuditHead(1, "a" * 64), clock())
    with pytest.raises(DatabaseUnavailable, match="cannot be read"):
        read_anchors(tmp_path / "nothing.jsonl")


def test_a_cut_end_is_found_by_the_head_kept_outside(database: Database, database_url: str, tmp_path: Path) -> None:
    file = AnchorFile(tmp_path / "anchors")
    write(database, 6)
    assert anchor(database, file) is None
    cut_tail(database_url, 4)
    with database.reading() as work:
        assert work.audit.verify().intact
        found = work.audit.verify(file.read().heads)
    assert found.problems == ("event 6: was kept outside, but is not there",)
    assert "event 6 of the audit log is not the one" in str(anchor(database, file))
    write(database, 4)  # grown again, beyond the one that was cut
    with database.reading() as work:
        found = work.audit.verify(file.read().heads)
    assert "event 6: its hash is not the one that was kept outside" in found.problems


def test_the_keeper_anchors_at_its_start_and_when_it_stops(tmp_path: Path) -> None:
    settings = check_settings({"audit": {"anchor_seconds": 3600.0}}, tmp_path)
    with Database(settings.database.url) as database:
        database.upgrade()
        first = write(database, 2)
        keeper = AuditKeeper(settings, database)
        keeper.start()
        file = AnchorFile(tmp_path / "sphero-data" / "anchors")
        wait_for(lambda: file.read().heads == (first,), 10, what="the first anchor")
        last = write(database, 3)
        keeper.stop()
        assert file.read().heads == (first, last)
        assert keeper.problem is None


def test_random_tampering_is_found() -> None:
    """A short run of `python -m tests.audit_tampering`; every kind ten times."""
    tried, missed = tamper(10 * len(KINDS), seed=7)
    assert missed == []
    assert set(tried.values()) == {10}
