"""Orders from a sender of another maker (python-hl7's `mllp_send`) through the real listener, to the result that echoes them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hl7
import pytest
from hypothesis import HealthCheck, given, settings

from db.errors import DatabaseUnavailable
from db.session import Database
from db.states import CaseState, HoldReason, InboundState
from flows.message_pictures import MessagePictures
from flows.orders import OrderDesk
from flows.outcome import Outcome
from flows.release import Release
from integrations.errors import MessageNotTaken
from integrations.hl7.ack import Ack, AckCode, read_ack
from integrations.hl7.escape import Charset
from integrations.hl7.framing import frame
from integrations.hl7.listener import MllpListener
from integrations.hl7.order import OrderRules
from integrations.hl7.reception import Reception
from tests.database_examples import BUNDLE, COUNTS, findings
from tests.folder_site import BERLIN, QUIET, Site
from tests.hl7_examples import PROFILE
from tests.order_examples import Lis
from tests.running import manifest, picture, send_loosely
from tests.unit.test_hl7_order import mutated

LIS = Lis()
ACCESSION = "26-00412"


@dataclass
class Lab:
    """A site with its listener, and a LIS that sends to it."""

    site: Site
    listener: MllpListener = field(init=False)
    desk: OrderDesk = field(init=False)
    released: int = 0

    def __post_init__(self) -> None:
        self.desk = make_desk(self.site, self.count)
        self.listener = MllpListener(self.desk.handle)

    def count(self) -> None:
        self.released += 1

    @property
    def database(self) -> Database:
        return self.site.database

    def send(self, *messages: bytes) -> list[Ack]:
        """Send as an interface engineer does."""
        return send_loosely(self.listener.port, self.site.root / "messages.hl7", *messages)

    def images(self, folder: str = ACCESSION, **values: object) -> None:
        """Images come, with a manifest if there is anything to say, and nothing more for the quiet time."""
        self.site.put(folder, "1.png", picture(sum(folder.encode())))
        if values:
            self.site.tell(folder, dict(values))
        self.look()
        self.look()

    def look(self) -> None:
        self.site.look()
        self.site.wait(QUIET)
        self.site.look()

    def report(self, folder: str = ACCESSION) -> hl7.Message:
        """What the LIS is told of a complete case."""
        case_id = self.site.case(folder).case_id
        with self.database.transaction("test") as work:
            assert work.cases.claim(case_id, "w", 60)
            for each in work.fields.of_case(case_id):
                work.analyses.record(each.field_id, BUNDLE, findings())
        pictures = MessagePictures(file=Path, url="")
        release = Release(
            database=self.database, profiles={"lis": PROFILE}, pictures=pictures, clock=lambda: self.site.now
        )
        release.commit(self.site.case(folder), "w", Outcome(COUNTS, BUNDLE, {}))
        with self.database.reading() as work:
            return hl7.parse(work.outbox.of_case(case_id)[-1].body.decode())


def make_desk(site: Site, released: object = None, **more: object) -> OrderDesk:
    return OrderDesk(
        database=site.database,
        rules=OrderRules(),
        require_order=site.require_order,
        time_zone=BERLIN,
        charset=Charset.UTF_8,
        clock=lambda: site.now,
        **{"released": released or (lambda: None), **more},  # type: ignore[arg-type]
    )


@pytest.fixture(params=[True, False], ids=["required", "not required"])
def lab(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Iterator[Lab]:
    with running(Site(tmp_path, database_url, request.param)) as lab:
        yield lab


@pytest.fixture
def strict(tmp_path: Path, database_url: str) -> Iterator[Lab]:
    """A laboratory in which no case goes on without its order."""
    with running(Site(tmp_path, database_url, require_order=True)) as lab:
        yield lab


class running:  # noqa: N801  # reads as a function
    def __init__(self, site: Site) -> None:
        self.lab = Lab(site)

    def __enter__(self) -> Lab:
        self.lab.listener.start()
        return self.lab

    def __exit__(self, *exception: object) -> None:
        self.lab.listener.stop()
        self.lab.database.close()


def test_an_order_before_the_images_gives_them_patient_and_numbers(lab: Lab) -> None:
    (ack,) = lab.send(LIS.oml())
    assert (ack.code, ack.control_id) == (AckCode.AA, "C1")
    lab.images()
    report = lab.report()
    assert str(report.segment("ORC")[2]) == "PL123^LIS"
    assert str(report.segment("OBR")[3]) == "F77^LIS"
    assert str(report.segment("PID")[3]) == "123456^^^HOSP^MR"
    assert str(report.segment("PID")[5]) == "Müller^Zoë"
    assert str(report.segment("SPM")[2]) == f"^{ACCESSION}&LIS"
    assert str(report.segment("OBR")[7]).startswith("20261123")


def test_an_order_after_the_images_releases_the_case_and_is_echoed(strict: Lab) -> None:
    strict.images(patient={"id": "123456", "issuer": "HOSP"})
    assert strict.site.case(ACCESSION).hold_reasons == (HoldReason.UNMATCHED_ORDER,)
    assert [ack.code for ack in strict.send(LIS.orm())] == [AckCode.AA]
    assert strict.released == 1
    strict.look()
    assert strict.site.case(ACCESSION).state is CaseState.COMPLETE
    report = strict.report()
    assert str(report.segment("ORC")[2]) == str(report.segment("OBR")[2]) == "PL123^LIS"
    assert str(report.segment("ORC")[3]) == str(report.segment("OBR")[3]) == f"{ACCESSION}^LIS"


def test_a_case_nobody_named_a_patient_for_is_released_by_its_order(lab: Lab) -> None:
    lab.images()
    assert lab.site.case(ACCESSION).state is CaseState.HELD
    lab.send(LIS.orm())
    lab.look()
    assert lab.site.case(ACCESSION).state is CaseState.COMPLETE


def test_without_an_order_the_manifest_counts_unless_orders_are_required(lab: Lab) -> None:
    lab.images(**manifest("P1", 1))
    expected = CaseState.HELD if lab.site.require_order else CaseState.COMPLETE
    assert lab.site.case(ACCESSION).state is expected


@pytest.mark.parametrize("first", ["order", "images"])
def test_a_contradicting_patient_holds_the_case(lab: Lab, first: str) -> None:
    if first == "order":
        lab.send(LIS.orm())
    lab.images(**manifest("P1", 1))
    if first == "images":
        lab.send(LIS.orm())
    lab.look()
    assert lab.site.case(ACCESSION).hold_reasons == (HoldReason.CONFLICT,)


def test_a_cancelled_order_holds_the_case_until_it_is_ordered_again(strict: Lab) -> None:
    strict.send(LIS.orm())
    strict.images()
    strict.send(LIS.orm(code="CA", control_id="C2"))
    assert strict.site.case(ACCESSION).hold_reasons == (HoldReason.CANCELLED_ORDER,)
    strict.send(LIS.orm(control_id="C3"))
    assert strict.site.case(ACCESSION).state is CaseState.COMPLETE


def test_a_merge_changes_later_messages_and_keeps_history(strict: Lab) -> None:
    strict.send(LIS.orm())
    strict.images()
    assert str(strict.report().segment("PID")[3]) == "123456^^^HOSP^MR"
    assert [ack.code for ack in strict.send(LIS.merge("777^^^HOSP^MR", "123456^^^HOSP^MR"))] == [AckCode.AA]
    strict.site.put(ACCESSION, "2.png", picture(99))
    strict.look()
    assert str(strict.report().segment("PID")[3]) == "777^^^HOSP^MR"
    with strict.database.reading() as work:
        first, second = work.outbox.of_case(strict.site.case(ACCESSION).case_id)
        order = work.orders.find("PL123")[0]
        (merge,) = work.patients.merges_of(order.patient_key)
    assert b"123456^^^HOSP^MR" in first.body
    assert b"123456" not in second.body
    assert (merge.prior.value, merge.survivor.value) == ("123456", "777")


def test_an_update_changes_what_is_not_reported_yet_and_later_versions(strict: Lab) -> None:
    strict.send(LIS.orm())
    strict.images()
    strict.send(LIS.update("PID|1||123456^^^HOSP^MR||Lang^Zoë||19800101|F"))
    assert str(strict.report().segment("PID")[5]) == "Lang^Zoë"
    strict.send(LIS.update("PID|1||123456^^^HOSP^MR||Kurz^Zoë||19800101|F", "U2"))
    strict.site.put(ACCESSION, "2.png", picture(99))
    strict.look()
    assert str(strict.report().segment("PID")[5]) == "Kurz^Zoë"


def test_what_is_wrong_is_answered_with_its_place_and_kept(strict: Lab) -> None:
    wrong = [
        LIS.message("ADT^A01", LIS.pid, control_id="W1"),
        LIS.message("ORM^O01", LIS.pid, "ORC|NW", "OBR|1", control_id="W2"),
        Lis(version="2.3").message("ORM^O01", "PID|1", "ORC|NW", "OBR|1||1", control_id="W3"),
        Lis(version="2.9").orm(control_id="W4"),
    ]
    acks = strict.send(*wrong)
    assert [ack.code for ack in acks] == [AckCode.AR, AckCode.AE, AckCode.AE, AckCode.AR]
    with strict.database.reading() as work:
        kept = {message.control_id: message for message in work.inbound.list()}
    assert {name: message.body for name, message in kept.items()} == {
        f"W{number}": body.strip(b"\r") for number, body in enumerate(wrong, start=1)
    }
    assert {message.state for message in kept.values()} == {InboundState.REFUSED}
    told = {name: (message.answer or b"").decode() for name, message in kept.items()}
    assert "|201^Unsupported event code^HL70357|E|" in told["W1"]
    assert "\rERR||OBR^1^3|101^Required field missing^HL70357|E||||OBR-3: no accession" in told["W2"]
    assert "\rERR|PID^1^3^101&Required field missing&HL70357\r" in told["W3"]
    assert "|203^Unsupported version id^HL70357|" in told["W4"]


def test_a_repeat_gets_the_same_answer_and_other_bytes_are_refused(strict: Lab) -> None:
    first = strict.desk.handle(LIS.orm())
    strict.site.wait(10)
    assert strict.desk.handle(LIS.orm()) == first
    clash = read_ack(strict.desk.handle(LIS.orm("26-9")))
    assert (clash.code, "MSH-10" in clash.text) == (AckCode.AE, True)
    with strict.database.reading() as work:
        assert [order.accession for order in work.orders.list()] == [ACCESSION]
        assert [message.state for message in work.inbound.list()] == [InboundState.REFUSED, InboundState.APPLIED]
        actions = [event.action for event in work.audit.list() if event.actor == "orders"]
    assert actions.count("message received") == 2
    assert "message repeated" in actions


def test_orders_of_other_services_are_acknowledged_and_not_kept(strict: Lab) -> None:
    strict.desk = make_desk(strict.site)
    strict.desk._rules = OrderRules(service_codes=frozenset({"802-9"}))
    assert read_ack(strict.desk.handle(LIS.orm())).code is AckCode.AA
    cancelled = LIS.message("ORM^O01", LIS.pid, "ORC|CA|PL5|26-5", control_id="C2")
    assert read_ack(strict.desk.handle(cancelled)).code is AckCode.AA
    with strict.database.reading() as work:
        assert work.orders.list() == ()


def test_while_the_database_is_away_nothing_is_answered_and_the_repeat_is_taken(
    strict: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "transaction", away)
        with pytest.raises(MessageNotTaken):
            strict.desk.handle(LIS.orm())
    assert read_ack(strict.desk.handle(LIS.orm())).code is AckCode.AA


def test_a_fault_of_ours_is_told_and_the_repeat_is_taken(strict: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("Müller")

    with monkeypatch.context() as patch:
        patch.setattr(OrderDesk, "_record", fails)
        ack = read_ack(strict.desk.handle(LIS.orm()))
        assert (ack.code, "Müller" in ack.text) == (AckCode.AE, False)
    with strict.database.reading() as work:
        (message,) = work.inbound.list()
    assert message.state is InboundState.FAILED
    assert message.reason is not None
    assert message.reason.startswith("unexpected ZeroDivisionError")
    assert read_ack(strict.desk.handle(LIS.orm())).code is AckCode.AA


def test_messages_that_were_kept_and_not_recorded_are_taken_up_unless_overtaken(strict: Lab) -> None:
    with strict.database.transaction("test") as work:
        work.inbound.receive("LIS|HOSP", "C1", "ORM^O01", LIS.orm())
    strict.desk.handle(LIS.orm("26-2", control_id="C2", placer="PL2"))
    with strict.database.transaction("test") as work:
        work.inbound.receive("LIS|HOSP", "C3", "ORM^O01", LIS.orm("26-3", control_id="C3", placer="PL3"))
    assert strict.desk.recover() == 2
    assert strict.desk.recover() == 0
    with strict.database.reading() as work:
        assert sorted(order.accession for order in work.orders.list()) == ["26-2", "26-3"]
        states = {message.control_id: message.state for message in work.inbound.list()}
    assert states == {"C1": InboundState.FAILED, "C2": InboundState.APPLIED, "C3": InboundState.APPLIED}
    assert read_ack(strict.desk.handle(LIS.orm())).code is AckCode.AA


@pytest.fixture(scope="module")
def reception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reception]:
    site = Site(tmp_path_factory.mktemp("fuzz"))
    yield Reception(make_desk(site).handle)
    site.database.close()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=mutated())
def test_every_mutated_message_gets_an_answer(reception: Reception, body: bytes) -> None:
    """One that can be framed, read, and does not say that something unexpected happened."""
    name = hashlib.sha256(body).hexdigest()[:16].encode()
    body = (
        body.replace(b"|C1|", b"|" + name + b"|")
        .replace(b"|U1|", b"|" + name + b"|")
        .replace(b"|M1|", b"|" + name + b"|")
    )
    reply = reception.answer(body)
    is_ack_itself = b"|ACK" in body or b"|MCF" in body
    wants_none = body.split(b"\r")[0].count(body[3:4]) >= 14
    assert reply.messages or is_ack_itself or wants_none
    for message in reply.messages:
        frame(message)
        ack = read_ack(message)
        assert "could not be" not in ack.text


KILLED_IN = """
import os, signal, sys
from zoneinfo import ZoneInfo
from datetime import datetime, UTC
from db.session import Database
from flows.orders import OrderDesk
from integrations.hl7.escape import Charset
from integrations.hl7.order import OrderRules

def checkpoint(step):
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

desk = OrderDesk(database=Database(sys.argv[1]), rules=OrderRules(), require_order=True, time_zone=ZoneInfo("UTC"),
                 charset=Charset.UTF_8, clock=lambda: datetime.now(UTC), checkpoint=checkpoint)
desk.handle(sys.stdin.buffer.read())
"""


@pytest.mark.parametrize("step", ["stored", "applied"])
@pytest.mark.parametrize("then", ["start", "repeat"])
def test_killed_at_any_step_nothing_is_lost_or_doubled(strict: Lab, database_url: str, step: str, then: str) -> None:
    strict.images()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IN, database_url, step],
        input=LIS.orm().strip(),
        env={**os.environ},
        check=False,
        timeout=240,
    )
    assert killed.returncode == -9
    with strict.database.reading() as work:
        (message,) = work.inbound.list()
    assert message.state is (InboundState.RECEIVED if step == "stored" else InboundState.APPLIED)
    if then == "start":
        assert strict.desk.recover() == (1 if step == "stored" else 0)
    assert [ack.code for ack in strict.send(LIS.orm())] == [AckCode.AA]
    with strict.database.reading() as work:
        assert len(work.orders.list()) == 1
        assert len(work.inbound.list()) == 1
        assert work.audit.verify().intact
    strict.look()
    assert strict.site.case(ACCESSION).state is CaseState.COMPLETE
