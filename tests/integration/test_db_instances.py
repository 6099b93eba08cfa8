"""Accepted DICOM instances in the database: new, repeated, in conflict; what becomes of them and of their case."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from db.errors import ConstraintBroken, IllegalMove, NotFound
from db.instance_views import InstanceOutcome, ReceivedInstance
from db.session import Database, UnitOfWork
from db.states import CaseState, HoldReason, InstanceState
from tests.database_examples import ManualClock, accept, digest

MICROSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.2"


def receive(work: UnitOfWork, uid: str = "1.2.3", content: str = "one", source: str = "receiver") -> ReceivedInstance:
    return work.instances.receive(
        sop_instance_uid=uid,
        sop_class_uid=MICROSCOPIC,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=digest(content),
        size_bytes=1000,
        stored_name=f"{digest(content)[:2]}/{digest(content)}.dcm",
        source=source,
        calling_ae="SCANNER",
    )


def holds(work: UnitOfWork, case_id: str) -> set[HoldReason]:
    return set(work.cases.get(case_id).hold_reasons)


def test_an_instance_is_recorded_once_however_often_it_comes(database: Database, clock: ManualClock) -> None:
    with database.transaction("test") as work:
        first = receive(work)
    clock.advance(60)
    with database.transaction("test") as work:
        again = receive(work, source="archive")
        assert receive(work, "1.2.4", "two").outcome is InstanceOutcome.NEW
    assert first.outcome is InstanceOutcome.NEW
    assert again.outcome is InstanceOutcome.REPEATED
    assert again.instance == first.instance
    with database.reading() as work:
        assert [view.sop_instance_uid for view in work.instances.waiting()] == ["1.2.3", "1.2.4"]
        assert [view.sop_instance_uid for view in work.instances.waiting(limit=1)] == ["1.2.3"]
        assert [event.action for event in work.audit.list()].count("instance received") == 2


def test_other_bytes_under_a_uid_are_kept_and_hold_the_case_of_the_first(database: Database) -> None:
    with database.transaction("test") as work:
        first = receive(work).instance
        case_id = accept(work).case_id
        work.instances.assembled(first.instance_id, case_id, study_uid="1.9", series_uid="1.9.1")
        assert holds(work, case_id) == set()
    with database.transaction("test") as work:
        other = receive(work, content="other bytes")
        again = receive(work, content="other bytes")
    assert other.outcome is again.outcome is InstanceOutcome.CONFLICT
    assert other.instance == again.instance
    assert other.instance.instance_id != first.instance_id
    with database.reading() as work:
        assert holds(work, case_id) == {HoldReason.CONFLICT}
        assert work.instances.waiting() == ()
        standing = work.instances.find("1.2.3")
        assert standing is not None
        assert (standing.instance_id, standing.study_uid, standing.case_id) == (first.instance_id, "1.9", case_id)
        assert [view.sha256 for view in work.instances.conflicting("1.2.3")] == [digest("other bytes")]
        assert [view.instance_id for view in work.instances.of_case(case_id)] == [first.instance_id]


def test_a_conflict_that_came_before_the_assembly_holds_the_case_then(database: Database) -> None:
    with database.transaction("test") as work:
        first = receive(work).instance
        receive(work, content="other bytes")
    with database.transaction("test") as work:
        case_id = accept(work).case_id
        work.instances.assembled(first.instance_id, case_id)
        work.instances.assembled(first.instance_id, case_id)
    with database.reading() as work:
        assert holds(work, case_id) == {HoldReason.CONFLICT}
        assert work.cases.get(case_id).state is CaseState.HELD


def test_a_rejected_case_stays_rejected_when_a_conflict_comes(database: Database) -> None:
    with database.transaction("test") as work:
        first = receive(work).instance
        case_id = accept(work).case_id
        work.instances.assembled(first.instance_id, case_id)
        work.cases.reject(case_id, "wrong patient")
    with database.transaction("test") as work:
        assert receive(work, content="other bytes").outcome is InstanceOutcome.CONFLICT
        assert work.cases.get(case_id).state is CaseState.REJECTED


def test_what_cannot_be_used_is_refused_once_and_not_assembled(database: Database) -> None:
    with database.transaction("test") as work:
        instance = receive(work).instance
        conflict = receive(work, content="other bytes").instance
        case_id = accept(work).case_id
        work.instances.refuse(instance.instance_id, "its pixels cannot be read")
        work.instances.refuse(instance.instance_id, "another reason")
        for each in (instance, conflict):
            with pytest.raises(IllegalMove):
                work.instances.assembled(each.instance_id, case_id)
        with pytest.raises(NotFound):
            work.instances.refuse("nobody", "no reason")
    with database.reading() as work:
        view = work.instances.get(instance.instance_id)
        assert (view.state, view.reason) == (InstanceState.REFUSED, "its pixels cannot be read")
        assert [each.instance_id for each in work.instances.list(InstanceState.CONFLICT)] == [conflict.instance_id]


def test_many_uids_are_looked_up_in_the_order_they_came(database: Database) -> None:
    uids = [f"1.2.{number}" for number in range(1203)]
    with database.transaction("test") as work:
        for uid in uids[:3]:
            receive(work, uid, uid)
        receive(work, uids[1202], "last")
        receive(work, uids[0], "conflict")
    with database.reading() as work:
        found = work.instances.standing([*reversed(uids), uids[1]])
        assert [view.sop_instance_uid for view in found] == [*uids[:3], uids[1202]]
        assert work.instances.standing([]) == ()


@pytest.mark.parametrize("contents", [("one", "one"), ("one", "two")], ids=["same bytes", "other bytes"])
def test_associations_that_bring_one_uid_at_once_agree_who_was_first(
    database: Database, contents: tuple[str, str]
) -> None:
    together = threading.Barrier(2)
    outcomes: list[InstanceOutcome] = []

    def bring(content: str) -> None:
        together.wait(10)
        with database.transaction("test") as work:
            outcomes.append(receive(work, content=content).outcome)

    threads = [threading.Thread(target=bring, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    second = InstanceOutcome.REPEATED if contents[0] == contents[1] else InstanceOutcome.CONFLICT
    assert sorted(outcomes) == sorted([InstanceOutcome.NEW, second])


def test_what_came_cannot_be_changed(database: Database) -> None:
    with database.transaction("test") as work:
        receive(work)
    for change in ("UPDATE instances SET sha256 = 'x'", "DELETE FROM instances"):
        with pytest.raises(ConstraintBroken), database.transaction("test") as work:
            work.instances._session.execute(text(change))
