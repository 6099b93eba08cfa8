"""What several transactions do to the same rows at the same moment, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from db.session import Database, UnitOfWork
from db.states import CaseState, HoldReason
from db.views import Identity
from tests.database_examples import BUNDLE, accept, enqueue, findings, report, to_state

WORKERS = 6
T = TypeVar("T")


def at_once(database: Database, step: Callable[[UnitOfWork, int], T]) -> list[T]:
    """Run `step` in several transactions that begin together."""
    barrier = Barrier(WORKERS, timeout=30)

    def run(number: int) -> T:
        barrier.wait()
        with database.transaction(f"worker {number}") as work:
            return step(work, number)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(run, range(WORKERS)))


def test_fields_that_arrive_at_once_make_one_case(database: Database) -> None:
    accepted = at_once(database, lambda work, number: accept(work, name=f"field {number}"))
    assert len({one.case_id for one in accepted}) == 1
    assert all(one.new for one in accepted)
    with database.reading() as work:
        assert [field.number for field in work.fields.of_case(accepted[0].case_id)] == list(range(1, WORKERS + 1))


def test_the_same_file_twice_at_once_is_one_field(database: Database) -> None:
    accepted = at_once(database, lambda work, _: accept(work))
    assert sum(one.new for one in accepted) == 1
    assert len({one.field_id for one in accepted}) == 1


def test_the_same_bytes_under_many_accessions_at_once_leave_one_case_free(database: Database) -> None:
    accepted = at_once(database, lambda work, number: accept(work, f"26-{number}", "picture"))
    assert sum(one.conflict for one in accepted) == WORKERS - 1
    with database.reading() as work:
        held = work.cases.list([CaseState.HELD])
        assert {case.hold_reasons for case in held} == {(HoldReason.CONFLICT,)}
        assert len(held) == WORKERS - 1


def test_many_cases_claim_one_accession_and_one_gets_it(database: Database) -> None:
    with database.transaction("test") as work:
        cases = [accept(work, f"folder {number}", f"field {number}").case_id for number in range(WORKERS)]
    won = at_once(database, lambda work, number: work.identities.set(cases[number], Identity("26-7")))
    assert sum(won) == 1
    with database.reading() as work:
        assert len(work.cases.list([CaseState.HELD])) == WORKERS - 1
        assert work.identities.find("26-7") == cases[won.index(True)]


def test_one_of_many_workers_gets_the_case(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.COMPLETE)
    assert sum(at_once(database, lambda work, number: work.cases.claim(case_id, f"w{number}", 60))) == 1
    with database.reading() as work:
        assert work.cases.get(case_id).attempts == 1


def test_one_analysis_one_report_one_message(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.COMPLETE)
        field_id = work.fields.of_case(case_id)[0].field_id
        assert work.cases.claim(case_id, "w", 60)

    def finish(work: UnitOfWork, _: int) -> tuple[int, str, str]:
        analysis = work.analyses.record(field_id, BUNDLE, findings())
        work.cases.analysed(case_id, owner="w")
        written = report(work, case_id)
        return analysis, written.report_id, enqueue(work, case_id).message_id

    assert len(set(at_once(database, finish))) == 1
    with database.reading() as work:
        assert [event.action for event in work.audit.list(case_id)][4:] == [
            "field analysed",
            "case analysed",
            "case reported",
            "message queued",
        ]
        assert work.audit.verify().intact
