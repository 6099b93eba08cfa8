"""`sphero order` and `sphero case link` on a real database, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from db.order_views import OrderAction, OrderData, PatientData, PatientIdentifier
from db.session import Database
from db.states import HoldReason, InboundState
from flows.cli.app import app
from tests.database_examples import accept
from tests.database_template import give_tables
from tests.order_examples import Lis

P0, P1 = PatientIdentifier("P0", "HOSP"), PatientIdentifier("P1", "HOSP")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """One received message, its order with a merged patient, and a case that is held for want of it."""
    (tmp_path / "sphero.toml").write_text('[paths]\ndata = "data"\n')
    monkeypatch.setenv("SPHERO_CONFIG", str(tmp_path / "sphero.toml"))
    give_tables(tmp_path / "data" / "sphero.db")
    database = Database(f"sqlite:///{tmp_path}/data/sphero.db")
    with database.transaction("test") as work:
        received = work.inbound.receive("LIS|HOSP", "C1", "ORM^O01", Lis().orm("26-9")).message.message_id
        work.inbound.settle(received, InboundState.APPLIED, answer_code="AA", answer=b"MSA|AA|C1")
        patient = work.patients.record(PatientData((P1,), "Mueller", "Zoe"))
        work.patients.merge(PatientData((P1,)), [P0], None)
        for number in ("1", "2"):
            data = OrderData(OrderAction.NEW, "26-9", placer_order=f"PL{number}", service="58408-6")
            work.orders.record(data, patient, received)
        assert not work.matching.match(accept(work, "26-1").case_id, required=True)
    return database


def sphero(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def asked(*arguments: str) -> Any:
    answer = sphero(*arguments, "--json")
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def test_orders_are_listed_and_shown_with_what_was_merged_and_the_last_message(site: Database) -> None:
    listed = asked("order", "list")
    assert {(each["accession"], each["placer"], each["case"]) for each in listed} == {
        ("26-9", "PL1", None),
        ("26-9", "PL2", None),
    }
    assert asked("order", "list", "--state", "cancelled") == []
    assert sphero("order", "list", "--state", "nonsense").exit_code == 2
    shown = sphero("order", "show", "PL1").stdout
    assert "\nPID|1||123456" in shown
    assert "P0 (HOSP)  P1 (HOSP)" in shown
    assert "Mueller, Zoe" in shown
    assert asked("order", "show", "PL1")["merged"][0]["was"] == "P0 (HOSP)"
    several = sphero("order", "show", "26-9")
    assert (several.exit_code, "2 orders have this number" in several.stderr) == (1, True)
    assert sphero("order", "show", "nobody").exit_code == 1


def test_received_messages_are_listed_and_shown_with_their_answer(site: Database) -> None:
    (came,) = asked("order", "received")
    assert (came["kind"], came["control id"], came["answer"]) == ("ORM^O01", "C1", "AA")
    assert asked("order", "received", "--state", "refused") == []
    shown = sphero("order", "received", "C1").stdout
    assert "\nORC|NW|PL123" in shown
    assert "MSA|AA|C1" in shown
    assert asked("order", "received", came["message"])["answer text"] == "MSA|AA|C1"
    assert sphero("order", "received", "nobody").exit_code == 1


def test_a_held_case_is_linked_in_the_name_of_a_person(site: Database) -> None:
    (held,) = asked("case", "list", "--state", "held")
    assert held["held for"] == HoldReason.UNMATCHED_ORDER
    assert sphero("case", "link", "26-1").exit_code == 2
    assert sphero("case", "link", "nobody", "PL1").exit_code == 1
    linked = sphero("case", "link", "26-1", "PL1", "--by", "doe")
    assert (linked.exit_code, "is linked to its order" in linked.stdout) == (0, True)
    (order,) = [each for each in asked("order", "list") if each["placer"] == "PL1"]
    assert order["case"] == held["case"]
    assert asked("case", "show", held["case"])["order"] == order["order"]
    events = asked("audit", "list", "--case", held["case"])
    assert [event["who"] for event in events if event["what"] == "case linked"] == ["doe"]
    assert asked("case", "list", "--state", "held") == []


def test_a_case_may_go_on_without_an_order(site: Database) -> None:
    linked = sphero("case", "link", "26-1", "--no-order")
    assert (linked.exit_code, "is linked to no order" in linked.stdout) == (0, True)
    assert asked("case", "list", "--state", "held") == []


def test_a_case_is_found_by_its_number_whoever_issued_it_unless_several_did(site: Database) -> None:
    with site.transaction("test") as work:
        first = work.identities.find_or_create("26-7", "LAB-A")
    assert asked("case", "show", "26-7")["case"] == first
    with site.transaction("test") as work:
        second = work.identities.find_or_create("26-7", "LAB-B")
    several = sphero("case", "show", "26-7")
    assert (several.exit_code, "2 cases have this number" in several.stderr) == (1, True)
    with site.transaction("test") as work:
        third = work.identities.find_or_create("26-7")
    assert asked("case", "show", "26-7")["case"] == third
    assert asked("case", "show", second)["case"] == second
    assert sphero("case", "show", "26-77").exit_code == 1
