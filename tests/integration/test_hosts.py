"""Several machines on one database: one has each duty, another takes over, and who was cut off cannot commit any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from db.errors import DatabaseUnavailable, LeaseLost
from db.session import Database
from db.states import CaseState, FieldState
from flows.analyse import CaseWork
from flows.checks import checks
from flows.config import check_settings
from flows.duties import FOLDER, RUNS, Duties
from flows.errors import ServiceError, StoreUnavailable
from flows.places import places_of
from tests.database_examples import BUNDLE, ManualClock, accept, findings

LEASE = 30.0
STORE = "5" * 16


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def machine(database: Database, name: str, seconds: Seconds, *wanted: str) -> Duties:
    duties = Duties(database, wanted or (FOLDER, RUNS), LEASE, clock=seconds)
    duties._host, duties._store_id = name, STORE
    return duties


def test_one_machine_has_a_duty_until_its_lease_ends(database: Database, clock: ManualClock, seconds: Seconds) -> None:
    one, two = machine(database, "one", seconds), machine(database, "two", seconds, FOLDER, "store pacs")
    one.beat()
    two.beat()
    assert [one.holds(FOLDER), two.holds(FOLDER)] == [True, False]
    assert two.holds("store pacs")
    assert one.living == {"one"}
    assert two.living == {"one", "two"}
    seconds.now += LEASE - 1
    clock.now += timedelta(seconds=LEASE - 1)
    assert not one.holds(FOLDER), "a machine stops before others may begin"
    two.beat()
    assert not two.holds(FOLDER)
    clock.now += timedelta(seconds=2)
    two.beat()
    one.beat()
    assert [one.holds(FOLDER), two.holds(FOLDER)] == [False, True]


def test_a_machine_that_stops_gives_its_duties_back_at_once(
    database: Database, clock: ManualClock, seconds: Seconds
) -> None:
    one, two = Duties(database, {FOLDER}, LEASE), machine(database, "two", seconds)
    one.start("one", STORE)
    two.beat()
    assert not two.holds(FOLDER)
    one.stop()
    assert not one.holds(FOLDER)
    two.beat()
    assert two.holds(FOLDER)
    assert two.living == {"two"}


def test_cases_of_a_silent_machine_are_free_and_it_cannot_record_them_any_more(
    database: Database, clock: ManualClock, seconds: Seconds, tmp_path: Path
) -> None:
    one, two = machine(database, "one", seconds), machine(database, "two", seconds)
    one.beat()
    two.beat()
    with database.transaction("test") as work:
        accepted = accept(work)
        work.cases.complete(accepted.case_id)
        assert work.cases.claim(accepted.case_id, "one/worker/1", 600)
        old, field = work.cases.get(accepted.case_id), work.fields.get(accepted.field_id)
    clock.now += timedelta(seconds=LEASE + 1)
    two.beat()
    with database.transaction("test") as work:
        assert [event.action for event in work.audit.list()].count("host lost") == 1
        assert work.cases.claim(accepted.case_id, "two/worker/1", 600)
    cut_off = CaseWork(database=database, store=tmp_path, release=None, pixel_aspect=1.0)  # type: ignore[arg-type]
    with pytest.raises(LeaseLost):
        cut_off.record(old, [(field, findings())], BUNDLE)
    with pytest.raises(LeaseLost):
        cut_off.refuse(old, field, "damaged")
    one.beat()
    with database.reading() as work:
        assert work.fields.get(field.field_id).state is FieldState.ACCEPTED
        assert work.cases.get(old.case_id).lease_owner == "two/worker/1", "a machine that is back takes nothing"
        assert [event.action for event in work.audit.list()].count("host lost") == 1
    new = replace(old, lease_owner="two/worker/1")
    cut_off.record(new, [(field, findings())], BUNDLE)
    assert cut_off.why_lost(old.case_id) is None
    with database.transaction("test") as work:
        work.cases.reject(old.case_id, "test")
    stopped = cut_off.why_lost(old.case_id)
    assert stopped is not None
    assert stopped.outcome == "Rejected"
    assert old.state is CaseState.COMPLETE


def test_a_machine_that_is_cut_off_knows_by_itself_that_its_duties_are_over(tmp_path: Path, seconds: Seconds) -> None:
    path = tmp_path / "sphero.db"
    with Database(f"sqlite:///{path}", busy_seconds=0.1) as database:
        database.upgrade()
        one = machine(database, "one", seconds)
        one.beat()
        database.close()
        path.rename(tmp_path / "away.db")
        path.mkdir()
        with pytest.raises(DatabaseUnavailable):
            one.beat()
        assert one.holds(FOLDER)
        seconds.now += LEASE
        assert not one.holds(FOLDER)


def test_a_machine_that_sees_its_store_no_more_leaves_its_duties_to_others(tmp_path: Path) -> None:
    shared = tmp_path / "share"
    found = check_settings({"paths": {"data": str(tmp_path / "one"), "shared": str(shared)}}, tmp_path)
    places = places_of(found)
    places.make()
    store_id = places.store_id()
    with Database(found.database.url) as database:
        database.upgrade()
        one = Duties(database, {FOLDER, RUNS}, LEASE)
        one.start("one", store_id, places.sees)
        assert one.holds(FOLDER)
        shared.rename(tmp_path / "away")
        one.beat()
        assert not one.holds(FOLDER)
        shared.mkdir()
        assert places.store_id() != store_id
        one.beat()
        assert not one.holds(FOLDER), "what shows where the share was is another store"
        one.stop()


def test_a_machine_that_sees_another_store_does_not_start(tmp_path: Path) -> None:
    def settings(name: str, shared: Path) -> tuple[Database, Duties, str]:
        values = {"paths": {"data": str(tmp_path / name), "shared": str(shared)}}
        values["database"] = {"url": f"sqlite:///{tmp_path / 'sphero.db'}"}
        values["folder"] = {"enabled": False}  # type: ignore[dict-item]
        found = check_settings(values, tmp_path)
        places = places_of(found)
        places.make()
        database = Database(found.database.url)
        database.upgrade()
        told.append(list(checks(found)))
        return database, Duties(database, {RUNS}, LEASE), places.store_id()

    told: list[list[object]] = []
    (tmp_path / "one-store").mkdir()
    for name, store, starts in (("a", "one-store", True), ("b", "one-store", True), ("c", "empty-mount-point", False)):
        database, duties, store_id = settings(name, tmp_path / store)
        with database:
            if starts:
                duties.start(name, store_id)
                duties.stop()
            else:
                with pytest.raises(ServiceError, match="another store"):
                    duties.start(name, store_id)
    states = [[check.state for check in found if check.name == "store"] for found in told]  # type: ignore[attr-defined]
    assert states == [[], ["ok"], ["fail"]]


def test_a_store_that_is_away_is_told_from_a_file_that_is_missing(tmp_path: Path) -> None:
    there = [True]
    with Database(f"sqlite:///{tmp_path / 'sphero.db'}") as database:
        work = CaseWork(
            database=database,
            store=tmp_path,
            release=None,  # type: ignore[arg-type]
            pixel_aspect=1.0,
            has_store=lambda: there[0],
        )
        work.require_store()
        there[0] = False
        with pytest.raises(StoreUnavailable, match="shared"):
            work.require_store()
