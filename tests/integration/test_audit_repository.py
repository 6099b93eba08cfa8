"""Audit events at the hospital's repository: valid messages, over TLS, none left out, a repeat known as one."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from db.audit import event_hash
from db.errors import IllegalMove
from db.session import Database
from db.states import CaseState
from flows.audit_forwarder import RECEIVER, AuditForwarder, as_message, audit_source, events_after, make_syslog
from flows.audit_keeper import AuditKeeper
from flows.config import check_settings
from flows.settings import Settings
from integrations.audit.message import AuditRecord, AuditSource, build_audit_message
from integrations.audit.syslog import LARGEST_SEQUENCE, PRIORITY, syslog_message
from integrations.errors import AuditNotTaken
from integrations.tls import TlsFiles
from tests.audit_repository import AuditRepository, Faults, judge, take_apart
from tests.certificates import Authority
from tests.database_examples import accept, enqueue, to_state
from tests.support import free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2026, 5, 4, 3, 2, 1, 7, tzinfo=UTC)


def settings_for(tmp_path: Path, port: int, files: TlsFiles) -> Settings:
    """Settings with a repository at `port`; `files` are our own, with the authority that we trust."""
    section = {
        "enabled": True,
        "host": "localhost",
        "port": port,
        "ca_file": str(files.ca_file),
        "cert_file": str(files.cert_file),
        "key_file": str(files.key_file),
        "forward_seconds": 0.05,
    }
    return check_settings({"audit": {"syslog": section}, "site": {"name": "Labor <Süd> & Co"}}, tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> tuple[TlsFiles, TlsFiles]:
    """Give the certificates of the repository and ours, signed by one authority."""
    authority = Authority(tmp_path)
    return authority.sign("repository"), authority.sign("sphero")


def fill(database: Database) -> None:
    with database.transaction("test") as work:
        accept(work)
        enqueue(work, to_state(work, CaseState.REPORTED, "26-2", "two"))
        work.cases.reject(to_state(work, CaseState.OPEN, "26-3", "three"), "wrong folder")
        work.audit.append("service started", cases_released=0)


def test_events_of_all_kinds_are_valid_and_carry_the_chain(
    database: Database, tmp_path: Path, files: tuple[TlsFiles, TlsFiles]
) -> None:
    fill(database)
    source = audit_source(settings_for(tmp_path, 1, files[1]))
    seen = list(events_after(database, 0))
    assert len(seen) > 10
    for event in seen:
        body = as_message(event, source)
        assert judge(body) == [], body
        tree = etree.fromstring(body)
        told = {
            each.get("type"): base64.b64decode(each.get("value")).decode()
            for each in tree.iter("ParticipantObjectDetail")
        }
        content = (
            event.sequence,
            event.at,
            event.actor,
            event.action,
            event.case_id,
            told["detail"],
            told["previous hash"],
        )
        assert event_hash(*content) == told["hash"] == event.hash
        assert b"26-1" not in body  # no accession numbers


@pytest.mark.parametrize(
    "action",
    sorted(
        {
            text
            for file in ("db", "flows")
            for path in (ROOT / file).rglob("*.py")
            for text in re.findall(r'(?:audit|append)\(f?"([^"]+)"', path.read_text())
        }
    ),
)
def test_every_action_of_the_program_makes_a_valid_message(action: str) -> None:
    record = AuditRecord(1, AT, "somebody", action, None, "{}", "0" * 64, "1" * 64)
    assert judge(build_audit_message(record, AuditSource("s", "", "h"))) == []


def test_hostile_texts_stay_texts() -> None:
    hostile = "a\"b'<c>&amp;\x00\x1b\ud800\n]]>\u2028é"
    record = AuditRecord(7, AT, hostile, f"case {hostile}", "c1", json.dumps({"a": hostile}), "0" * 64, "1" * 64)
    body = build_audit_message(record, AuditSource(hostile, hostile, "host"))
    assert judge(body) == []
    assert b"\n" not in body
    frame = syslog_message(body, at=AT, host="a b\x00ü", application="", process=1, sequence=LARGEST_SEQUENCE + 3)
    length, _, rest = frame.partition(b" ")
    assert int(length) == len(rest)
    found = take_apart(rest)
    assert (found.priority, found.message_id, found.sequence) == (PRIORITY, "DICOM+RFC3881", 3)
    assert found.body == body


def test_what_the_schema_refuses_is_seen() -> None:
    record = AuditRecord(1, AT, "a", "case open", "c", "{}", "0" * 64, "1" * 64)
    body = build_audit_message(record, AuditSource("s", "", "h"))
    assert judge(body.replace(b'EventActionCode="C"', b'EventActionCode="X"'))
    assert judge(body.replace(b"UserIsRequestor", b"IsRequestor"))
    assert judge(body.replace(b"<ParticipantObjectName>Case</ParticipantObjectName>", b""))


def test_each_event_arrives_once_and_in_order(
    database: Database, tmp_path: Path, files: tuple[TlsFiles, TlsFiles]
) -> None:
    fill(database)
    with AuditRepository(files[0]) as repository:
        settings = settings_for(tmp_path, repository.port, files[1])
        forwarder = AuditForwarder(settings, database)
        way = make_syslog(settings.audit.syslog)
        assert forwarder.forward(way) == len(list(events_after(database, 0)))
        assert forwarder.forward(way) == 0
        with database.transaction("test") as work:
            work.audit.append("tried")
        assert AuditForwarder(settings, database).forward(way) == 1  # after a restart
        wait_for(lambda: len(repository.received) == len(list(events_after(database, 0))), 10, what="every event")
        sequences = [each.sequence for each in repository.received]
    assert sequences == list(range(1, len(sequences) + 1))
    assert all(judge(each.body) == [] for each in repository.received)


def test_a_repository_that_breaks_off_gets_everything_again(
    database: Database, tmp_path: Path, files: tuple[TlsFiles, TlsFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.audit.syslog.SEND_SECONDS", 5.0)  # what a silent breaking off may cost
    fill(database)
    with AuditRepository(files[0], Faults(break_after=3)) as repository:
        settings = settings_for(tmp_path, repository.port, files[1])
        forwarder, way = AuditForwarder(settings, database), make_syslog(settings.audit.syslog)
        with pytest.raises(AuditNotTaken):
            forwarder.forward(way)
        with database.reading() as work:
            assert work.audit_cursors.get(RECEIVER).sequence == 0
        forwarder.forward(way)
        total = len(list(events_after(database, 0)))
        wait_for(lambda: len(repository.received) == 3 + total, 10, what="every event")
    sequences = [each.sequence for each in repository.received]
    assert sequences == [1, 2, 3, *range(1, total + 1)]
    assert repository.received[0].body == repository.received[3].body  # a repeat is the same


def test_a_wrong_certificate_or_nobody_there_is_told(
    database: Database, tmp_path: Path, files: tuple[TlsFiles, TlsFiles]
) -> None:
    fill(database)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other").sign("sphero")
    with AuditRepository(files[0]) as repository:
        settings = settings_for(tmp_path, repository.port, other)
        with pytest.raises(AuditNotTaken, match="not signed by an authority"):
            AuditForwarder(settings, database).forward(make_syslog(settings.audit.syslog))
    settings = settings_for(tmp_path, free_port(), other)
    with pytest.raises(AuditNotTaken, match="does not take"):
        AuditForwarder(settings, database).forward(make_syslog(settings.audit.syslog))


def test_the_cursor_never_goes_back(database: Database) -> None:
    fill(database)
    first, second = list(events_after(database, 0))[:2]
    with database.transaction("test") as work:
        work.audit_cursors.move(RECEIVER, second)
    with pytest.raises(IllegalMove), database.transaction("test") as work:
        work.audit_cursors.move(RECEIVER, first)


def test_the_service_tells_by_itself(tmp_path: Path, files: tuple[TlsFiles, TlsFiles]) -> None:
    with AuditRepository(files[0]) as repository:
        settings = settings_for(tmp_path, repository.port, files[1])
        with Database(settings.database.url) as database:
            database.upgrade()
            fill(database)
            keeper = AuditKeeper(settings, database)
            keeper.start()
            total = len(list(events_after(database, 0)))
            wait_for(lambda: len(repository.received) >= total, 20, what="every event")
            keeper.stop()
        assert [each.sequence for each in repository.received] == list(range(1, total + 1))
