"""Orders, patients and received messages in the database, and which case belongs to which order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from db.errors import ConstraintBroken, IllegalMove
from db.order_views import OrderAction, OrderData, PatientData, PatientIdentifier
from db.session import Database, UnitOfWork
from db.states import CaseState, HoldReason, InboundState, OrderState
from db.views import Identity
from tests.database_examples import accept, to_state

COLLECTED = datetime(2026, 11, 23, 7, 45, tzinfo=UTC)
ZOE = PatientData((PatientIdentifier("P1", "HOSP"),), "Mueller", "Zoe", "1980-01-01", "F")
MAX = PatientData((PatientIdentifier("P2", "HOSP"),), "Maier", "Max", "1970-02-02", "M")
ORDER = OrderData(
    OrderAction.NEW,
    "26-1",
    "LIS",
    placer_order="PL1",
    placer_issuer="LIS",
    filler_order="F1",
    filler_issuer="LIS^1.2.3^ISO",
    service="58408-6",
    collected=COLLECTED,
)
CHANGE = replace(ORDER, action=OrderAction.CHANGE)
CANCEL = replace(ORDER, action=OrderAction.CANCEL)


@contextmanager
def working(database: Database, actor: str = "test") -> Iterator[UnitOfWork]:
    with database.transaction(actor) as work:
        yield work


def told(work: UnitOfWork, order: OrderData = ORDER, patient: PatientData = ZOE, *, required: bool = True) -> str:
    """Record an order as a message of the LIS does, and match what it concerns."""
    order_id = work.orders.record(order, work.patients.record(patient), "message")
    work.matching.match_changed(order_id, required=required)
    return order_id


def completed(
    work: UnitOfWork, identity: Identity | None = None, *, accession: str = "26-1", required: bool = True
) -> str:
    """A case whose manifest is read and that is complete, if nothing holds it."""
    case_id = accept(work, accession, f"field of {accession}").case_id
    if identity is not None:
        work.identities.set(case_id, identity)
    if work.matching.match(case_id, required=required) and work.identities.get(case_id).patient_id:
        work.cases.complete(case_id)
    return case_id


def holds(database: Database, case_id: str) -> tuple[HoldReason, ...]:
    with database.reading() as work:
        return work.cases.get(case_id).hold_reasons


def identity_of(database: Database, case_id: str) -> Identity:
    with database.reading() as work:
        return work.identities.get(case_id)


def test_a_case_takes_patient_and_numbers_from_its_order(database: Database) -> None:
    with working(database) as work:
        told(work)
        case_id = completed(work)
        assert work.cases.get(case_id).state is CaseState.COMPLETE
    expected = Identity(
        "26-1", "LIS", "PL1", "F1", "P1", "HOSP", "Mueller", "Zoe", "1980-01-01", "F", COLLECTED, "LIS", "LIS^1.2.3^ISO"
    )
    assert identity_of(database, case_id) == expected


def test_a_case_without_its_order_is_held_and_released_when_it_comes(database: Database) -> None:
    with working(database) as work:
        case_id = completed(work, Identity("26-1", patient_id="P1", patient_issuer="HOSP"))
    assert holds(database, case_id) == (HoldReason.UNMATCHED_ORDER,)
    with working(database) as work:
        order_id = told(work)
        assert work.cases.get(case_id).state is CaseState.OPEN, "it is completed at the next look"
        assert work.matching.match(case_id, required=True)
        assert work.orders.get(order_id).case_id == case_id
    assert identity_of(database, case_id).placer_order == "PL1"


def test_where_orders_are_not_required_the_manifest_stands_alone(database: Database) -> None:
    with working(database) as work:
        case_id = completed(work, Identity("26-1", patient_id="P9", patient_issuer="HOSP"), required=False)
        assert work.cases.get(case_id).state is CaseState.COMPLETE


@pytest.mark.parametrize(
    "manifest",
    [
        Identity("26-1", patient_id="P2", patient_issuer="HOSP"),
        Identity("26-1", patient_id="P1", patient_issuer="CLINIC"),
        Identity("26-1", patient_id="P1", patient_issuer="HOSP", birth_date="1981"),
        Identity("26-1", patient_id="P1", patient_issuer="HOSP", sex="M"),
        Identity("26-1", patient_id="P1", patient_issuer="HOSP", placer_order="PL2"),
        Identity("26-1", patient_id="P1", patient_issuer="HOSP", filler_order="F2"),
    ],
)
@pytest.mark.parametrize(("first", "required"), [("order", True), ("images", True), ("images", False)])
def test_a_contradiction_holds_the_case(database: Database, manifest: Identity, required: bool, first: str) -> None:
    with working(database) as work:
        if first == "order":
            told(work, required=required)
        case_id = completed(work, manifest, required=required)
        if first == "images":
            told(work, required=required)
    assert HoldReason.CONFLICT in holds(database, case_id)
    assert HoldReason.UNMATCHED_ORDER not in holds(database, case_id)
    found = identity_of(database, case_id)
    assert (found.patient_id, found.patient_issuer) == (manifest.patient_id, manifest.patient_issuer)


def test_what_is_not_known_does_not_contradict(database: Database) -> None:
    with working(database) as work:
        told(work)
        case_id = completed(work, Identity("26-1", patient_id="P1", birth_date="1980", sex="U"))
        assert work.cases.get(case_id).state is CaseState.COMPLETE


def test_the_issuer_of_the_accession_number_counts(database: Database) -> None:
    with working(database) as work:
        told(work)
        case_id = completed(work, Identity("26-1", "OTHER"))
    assert holds(database, case_id) == (HoldReason.UNMATCHED_ORDER,)


def test_of_several_orders_under_one_number_none_is_guessed(database: Database) -> None:
    second = replace(ORDER, placer_order="PL2", filler_order="F1", service="802-9")
    with working(database) as work:
        assert told(work) != told(work, second), "the filler number may be the accession number of both"
        case_id = completed(work, required=False)
        named = completed(work, Identity("26-1", placer_order="PL2"), accession="folder-2", required=False)
    assert holds(database, case_id) == (HoldReason.UNMATCHED_ORDER,)
    assert holds(database, named)[-1:] != (HoldReason.UNMATCHED_ORDER,)
    with working(database) as work:
        told(work, replace(second, action=OrderAction.CANCEL))
    assert holds(database, case_id) == ()


def test_a_cancelled_order_holds_the_case_until_it_is_ordered_again(database: Database) -> None:
    with working(database) as work:
        order_id = told(work)
        case_id = completed(work)
    with working(database) as work:
        told(work, replace(CANCEL, accession_issuer=""))
        told(work, CHANGE)
        assert work.orders.get(order_id).state is OrderState.CANCELLED, "a change does not order again"
    assert holds(database, case_id) == (HoldReason.CANCELLED_ORDER,)
    with working(database) as work:
        told(work)
        assert work.cases.get(case_id).state is CaseState.COMPLETE


def test_images_of_an_order_that_was_cancelled_before_are_held(database: Database) -> None:
    with working(database) as work:
        told(work, CANCEL)
        case_id = completed(work, required=False)
    assert holds(database, case_id) == (HoldReason.CANCELLED_ORDER,)


def test_a_changed_order_reaches_its_case(database: Database) -> None:
    with working(database) as work:
        told(work, replace(ORDER, filler_order=None, filler_issuer=""))
        case_id = completed(work)
        told(work, replace(CHANGE, filler_order="F2"), replace(ZOE, family="Mueller-Lang"))
    found = identity_of(database, case_id)
    assert (found.filler_order, found.placer_order, found.family) == ("F2", "PL1", "Mueller-Lang")
    assert holds(database, case_id) == ()
    with working(database) as work:
        told(work, replace(CHANGE, filler_order="F3"))
    assert identity_of(database, case_id).filler_order == "F3"


@pytest.mark.parametrize("state", [CaseState.COMPLETE, CaseState.ANALYSED, CaseState.REPORTED])
def test_an_order_that_is_given_another_patient_holds_the_case(database: Database, state: CaseState) -> None:
    with working(database) as work:
        told(work)
        case_id = to_state(work, state)
        assert work.matching.match(case_id, required=True)
    with working(database) as work:
        told(work, CHANGE, MAX)
    assert holds(database, case_id) == (HoldReason.CONFLICT,)
    assert identity_of(database, case_id).patient_id == "P1"


def test_a_person_links_what_did_not_match(database: Database) -> None:
    with working(database) as work:
        order_id = told(work, replace(ORDER, accession="26-2"))
        wrong = Identity("26-1", patient_id="P2", patient_issuer="HOSP", family="Maier", placer_order="X")
        case_id = completed(work, wrong)
    assert holds(database, case_id) == (HoldReason.UNMATCHED_ORDER,)
    with working(database, "doe") as work:
        work.matching.link(case_id, order_id)
    found = identity_of(database, case_id)
    assert (found.accession, found.patient_id, found.family, found.placer_order) == ("26-2", "P1", "Mueller", "PL1")
    with working(database) as work:
        assert work.matching.match(case_id, required=True)
        (event,) = [event for event in work.audit.list(case_id) if event.action == "case linked"]
    assert event.actor == "doe"
    assert '"by":"a person"' in event.detail
    assert order_id in event.detail


def test_a_person_may_say_that_there_is_no_order(database: Database) -> None:
    with working(database) as work:
        case_id = completed(work, Identity("26-1", patient_id="P1", patient_issuer="HOSP"))
        work.matching.link(case_id, None)
        assert work.cases.get(case_id).state is CaseState.OPEN
        assert work.matching.match(case_id, required=True)
        assert work.orders.of_case(case_id) is None


def test_what_a_person_cannot_link(database: Database) -> None:
    with working(database) as work:
        mine = told(work, replace(ORDER, accession="26-7"))
        cancelled = told(work, replace(CANCEL, accession="26-8", placer_order="PL8", filler_order="F8"))
        reported = to_state(work, CaseState.REPORTED)
        work.identities.set(reported, Identity("26-1", patient_id="P2", patient_issuer="HOSP"))
        rejected = to_state(work, CaseState.REJECTED, "26-3", "three")
    for case_id, order_id, why in [
        (reported, mine, "went out for another patient"),
        (reported, cancelled, "cancelled"),
        (rejected, mine, "rejected"),
    ]:
        with pytest.raises(IllegalMove, match=why), working(database) as work:
            work.matching.link(case_id, order_id)


def test_an_update_reaches_every_case_of_the_patient_and_no_other(database: Database) -> None:
    with working(database) as work:
        told(work)
        by_order = completed(work)
        by_manifest = completed(
            work, Identity("26-2", patient_id="P1", patient_issuer="HOSP"), accession="26-2", required=False
        )
        other = completed(
            work, Identity("26-3", patient_id="P1", patient_issuer="CLINIC"), accession="26-3", required=False
        )
    with working(database) as work:
        new = PatientData((PatientIdentifier("P1", "HOSP"),), family="Lang", sex="")
        assert set(work.patients.update(new)) == {by_order, by_manifest}
        assert work.patients.update(PatientData((PatientIdentifier("P77", "HOSP"),), family="Nobody")) == ()
    found = [identity_of(database, case_id) for case_id in (by_order, by_manifest, other)]
    assert [each.family for each in found] == ["Lang", "Lang", None]
    assert (found[0].given, found[0].sex) == ("Zoe", None)


def test_a_merge_changes_what_is_told_and_keeps_what_was(database: Database) -> None:
    old, new = PatientIdentifier("P1", "HOSP"), PatientIdentifier("P5", "HOSP")
    with working(database) as work:
        order_id = told(work)
        linked = completed(work)
        by_manifest = completed(
            work, Identity("26-2", patient_id="P1", patient_issuer="HOSP"), accession="26-2", required=False
        )
    with working(database) as work:
        survivor = PatientData((new,), family="Mueller-Lang")
        assert set(work.patients.merge(survivor, [old], "m1")) == {linked, by_manifest}
        assert work.patients.merge(survivor, [old], "m1") == (), "called twice, nothing more happens"
        assert work.orders.get(order_id).patient.identifiers == (new,)
        key = work.patients.record(PatientData((new,)))
        (merge,) = work.patients.merges_of(key)
        assert (merge.prior, merge.survivor, merge.message_id) == (old, new, "m1")
    for case_id in (linked, by_manifest):
        assert identity_of(database, case_id).patient_id == "P5"
        assert holds(database, case_id) == ()
    with working(database) as work:
        late = completed(
            work, Identity("26-9", patient_id="P1", patient_issuer="HOSP"), accession="26-9", required=False
        )
        assert work.identities.get(late).patient_id == "P5"
        told(work, CHANGE, ZOE)
    assert holds(database, linked) == (), "the old identifier names the same patient"


def test_merges_in_a_chain_and_back(database: Database) -> None:
    one, two, three = (PatientIdentifier(f"P{number}", "HOSP") for number in (1, 2, 3))
    national = PatientIdentifier("N1", "NAT")
    with working(database) as work:
        key = work.patients.record(PatientData((one, national), "A"))
        assert key != work.patients.record(PatientData((two,), "B"))
        work.patients.merge(PatientData((two,)), [one], None)
        work.patients.merge(PatientData((three,)), [two], None)
        shown = work.patients.get(work.patients.record(PatientData((three,))))
        assert shown.identifiers == (three, national), "another authority's number stays"
        work.patients.merge(PatientData((one,)), [three], None)
        shown = work.patients.get(work.patients.record(PatientData((one,))))
        assert shown.identifiers[0] == one
        identity = Identity("x", patient_id="P3", patient_issuer="HOSP")
        assert work.patients.current(identity).patient_id == "P1"


def test_an_order_and_its_case_that_miss_each_other_are_found(database: Database) -> None:
    with working(database) as work:
        case_id = completed(work, Identity("26-1", patient_id="P1", patient_issuer="HOSP"))
        other = completed(work, accession="26-2")
        work.orders.record(ORDER, work.patients.record(ZOE))
        assert work.matching.unmatched() == (case_id,)
        assert work.matching.match(case_id, required=True)
        assert work.matching.unmatched() == ()
    assert holds(database, other) == (HoldReason.UNMATCHED_ORDER,)


def test_received_messages_are_kept_once(database: Database) -> None:
    with working(database) as work:
        first = work.inbound.receive("LIS|HOSP", "C1", "ORM^O01", b"one")
        assert (first.known, first.clash) == (False, False)
        assert work.inbound.unsettled() == (first.message,)
        assert work.inbound.receive("LIS|HOSP", "C1", "ORM^O01", b"one").known
        work.inbound.settle(first.message.message_id, InboundState.APPLIED, answer_code="AA", answer=b"yes")
        again = work.inbound.receive("LIS|HOSP", "C1", "ORM^O01", b"one")
        assert again.message.answer == b"yes"
        clash = work.inbound.receive("LIS|HOSP", "C1", "ORM^O01", b"two")
        assert clash.clash
        assert clash.message.state is InboundState.REFUSED
        assert not work.inbound.receive("OTHER|HOSP", "C1", "ORM^O01", b"two").clash
        assert [each.body for each in work.inbound.find("C1")] == [b"two", b"two", b"one"]
        with pytest.raises(IllegalMove):
            work.inbound.settle(first.message.message_id, InboundState.REFUSED, answer_code="AE", answer=b"no")


def test_a_refused_message_may_be_sent_corrected_under_its_control_id(database: Database) -> None:
    with working(database) as work:
        first = work.inbound.receive("LIS|HOSP", "C1", "ORM^O01", b"wrong").message
        work.inbound.settle(first.message_id, InboundState.REFUSED, answer_code="AE", answer=b"no", reason="PID-3")
        second = work.inbound.receive("LIS|HOSP", "C1", "ORM^O01", b"right")
        assert not second.clash
        work.inbound.settle(second.message.message_id, InboundState.APPLIED, answer_code="AA", answer=b"yes")
        assert work.inbound.is_overtaken(first)
        assert not work.inbound.is_overtaken(second.message)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE inbound_messages SET body = 'x'",
        "DELETE FROM inbound_messages",
        "UPDATE patient_merges SET prior_identifier = 'x'",
        "DELETE FROM patient_merges",
    ],
)
def test_what_came_cannot_be_changed(database: Database, statement: str) -> None:
    with working(database) as work:
        work.inbound.receive("LIS|HOSP", "C1", "ORM^O01", b"one")
        work.patients.merge(MAX, [PatientIdentifier("P1", "HOSP")], None)
    with pytest.raises(ConstraintBroken), working(database) as work:
        work.orders._session.execute(text(statement))


def test_the_audit_holds_no_personal_data(database: Database) -> None:
    with working(database) as work:
        told(work)
        completed(work)
        work.patients.update(replace(ZOE, family="Lang"))
        work.patients.merge(MAX, ZOE.identifiers, None)
    with database.reading() as work:
        events = work.audit.list()
        assert work.audit.verify().intact
    said = " ".join(event.detail for event in events)
    assert not any(value in said for value in ("P1", "P2", "PL1", "F1", "Mueller", "Lang", "26-1", "1980", "HOSP"))
