"""`sphero message list|resend|edit|skip` on a real database."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from db.session import Database
from db.states import MessageState
from db.views import MessageView
from flows.cli.app import app
from integrations.hl7.ack import control_id_of
from tests.database_template import give_tables
from tests.hl7_examples import message

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `sphero` in a folder with settings of its own."""
    for variable in [name for name in os.environ if name.startswith("SPHERO_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("EDITOR", "false")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sphero.toml").write_text(
        '[paths]\ndata = "data"\n[[hl7.destination]]\nname = "lis"\nhost = "127.0.0.1"\nport = 1\n'
    )
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Three cases with a message each: the first was refused, the second was delivered, the third waits."""
    give_tables(tmp_path / "data" / "sphero.db")
    database = Database(f"sqlite:///{tmp_path / 'data' / 'sphero.db'}")
    with database.transaction("test") as work:
        for number in (1, 2, 3):
            case_id = work.identities.find_or_create(f"26-{number}")
            body = message(number)
            work.outbox.enqueue(case_id, 1, "lis", order_key=case_id, control_id=control_id_of(body), body=body)
        refused, accepted = work.outbox.claim_due("lis", "s", 60, most=2)
        work.outbox.park(refused.message_id, "s", reason="answered AE", ack_code="AE", ack=b"MSA|AE")
        work.outbox.delivered(accepted.message_id, "s", ack_code="AA", ack=b"MSA|AA", seconds=0.25)
    return database


def messages(database: Database) -> tuple[MessageView, ...]:
    with database.reading() as work:
        return work.outbox.list()


def states(database: Database) -> list[str]:
    return [each.state.value for each in messages(database)]


def actors(database: Database) -> list[tuple[str, str]]:
    with database.reading() as work:
        return [(event.actor, event.action) for event in work.audit.list() if event.actor not in ("test", "s")]


def test_messages_are_chosen_by_state_destination_case_and_age(run: Run, database: Database) -> None:
    def listed(*options: str) -> list[str]:
        rows = json.loads(run("message", "list", "--json", *options).stdout)
        return [row["state"] for row in rows]

    assert listed() == ["parked", "delivered", "waiting"]
    assert listed("--state", "parked") == ["parked"]
    assert listed("--to", "other") == []
    assert listed("--case", "26-3") == ["waiting"]
    assert listed("--older", "1h") == []
    assert listed("--older", "0s") == ["parked", "delivered", "waiting"]
    assert run("message", "list", "--older", "soon").exit_code == 2
    shown = run("message", "list").stdout
    assert "answered AE" in shown
    assert "Mueller" not in shown


def test_a_summary_tells_depth_ages_and_latency(run: Run, database: Database) -> None:
    (row,) = json.loads(run("message", "list", "--summary", "--json").stdout)
    assert (row["to"], row["waiting"], row["parked"], row["unknown"]) == ("lis", 1, 1, 0)
    assert (row["answers"], row["median s"], row["longest s"]) == (1, 0.25, 0.25)
    assert row["oldest"] > 0
    assert "median s" in run("message", "list", "--summary").stdout


def test_messages_are_sent_again_by_name_or_all_parked_ones(run: Run, database: Database) -> None:
    parked, delivered, _ = messages(database)
    assert run("message", "resend", delivered.control_id, "--by", "anna").exit_code == 0
    assert run("message", "resend", "--parked", "--to", "lis", "--by", "anna").exit_code == 0
    assert states(database) == ["waiting"] * 3
    assert [each.body for each in messages(database)] == [message(number) for number in (1, 2, 3)]
    assert actors(database) == [("anna", "message waiting")] * 2
    assert run("message", "resend", "nothing").exit_code == 1
    assert run("message", "resend").exit_code == 2
    assert parked.attempts == 1
    assert messages(database)[0].attempts == 0


def test_a_message_is_skipped_with_a_reason_under_a_name(run: Run, database: Database) -> None:
    parked, delivered, _ = messages(database)
    assert run("message", "skip", parked.message_id).exit_code == 2
    assert run("message", "skip", parked.message_id, "--reason", "sent by hand", "--by", "anna").exit_code == 0
    both = run("message", "skip", delivered.message_id, parked.message_id, "--reason", "x")
    assert both.exit_code == 1
    assert "no move leads from delivered" in both.stderr
    assert messages(database)[0].reason == "sent by hand"
    assert actors(database) == [("anna", "message skipped")]


def test_a_parked_message_is_edited_in_the_editor(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parked = messages(database)[0]
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("EDITOR", "sed -i s/Mueller/Muller/")
    edited = run("message", "edit", parked.control_id, "--by", "anna")
    assert edited.exit_code == 0, edited.output
    assert "Muller" not in edited.output
    before, *_, corrected = messages(database)
    assert (before.state, before.body) == (MessageState.SKIPPED, parked.body)
    assert (corrected.state, corrected.supersedes) == (MessageState.WAITING, parked.message_id)
    assert corrected.control_id == control_id_of(corrected.body) != parked.control_id
    assert b"Muller" in corrected.body
    assert actors(database) == [("anna", "message skipped"), ("anna", "message queued")]
    assert list(tmp_path.glob("sphero-edit-*")) == []


def test_a_parked_message_is_edited_from_a_file(run: Run, database: Database, tmp_path: Path) -> None:
    parked, delivered, _ = messages(database)
    file = tmp_path / "corrected.hl7"
    file.write_bytes(parked.body.replace(b"\r", b"\n").replace(b"PID|1|", b"PID|one|").replace(b"|P\n", b"|F\n"))
    refused = run("message", "edit", parked.message_id, "--file", str(file))
    assert refused.exit_code == 1
    assert "OBR-25 and OBX-11" in refused.stderr
    file.write_bytes(parked.body.replace(b"Zoe", b"Zo\xc3\xab"))
    assert run("message", "edit", parked.message_id, "--file", str(file)).exit_code == 0
    assert run("message", "edit", delivered.message_id, "--file", str(file)).exit_code == 1
    assert states(database) == ["skipped", "delivered", "waiting", "waiting"]


def test_an_editor_that_is_left_without_saving_queues_nothing(run: Run, database: Database) -> None:
    parked = messages(database)[0]
    assert run("message", "edit", parked.message_id).exit_code == 1
    assert states(database) == ["parked", "delivered", "waiting"]
