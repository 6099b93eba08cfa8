"""Retention: what is closed and old goes as the policy says, nothing else does, and a killed run goes on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import text

from db.errors import FindingsRemoved
from db.people import Actor
from db.retention import Retention
from db.session import Database, UnitOfWork
from db.states import CaseState, HoldReason, Removable
from flows.config import check_settings
from flows.places import Places
from flows.retention import apply_policy, due_cases, remove
from flows.settings import Settings
from tests.database_examples import BUNDLE, COUNTS, ManualClock, enqueue, findings, report

DAY = 86_400


class Site:
    """A database and its folders, with short ways to cases of every kind."""

    def __init__(self, root: Path, database: Database, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        self.places = Places(root / "data", root / "data" / "incoming", root / "data")
        self.places.make()

    def settings(self, **days: int) -> Settings:
        return check_settings({"retention": days, "paths": {"data": str(self.places.data)}}, self.places.data)

    def field(self, work: UnitOfWork, accession: str, name: str) -> tuple[str, str, Path]:
        content = name.encode() * 10
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.places.store / f"{sha256}.png"
        path.write_bytes(content)
        accepted = work.fields.accept(
            f"{accession}/{name}",
            accession=accession,
            sha256=sha256,
            size_bytes=len(content),
            media_type="image/png",
            width=640,
            height=480,
            stored_name=path.name,
        )
        return accepted.case_id, accepted.field_id, path

    def signed(self, accession: str, name: str) -> tuple[str, Path]:
        with self.database.transaction("test") as work:
            case_id, field_id, path = self.field(work, accession, name)
            work.cases.complete(case_id)
            assert work.cases.claim(case_id, "w", 60)
            work.analyses.record(field_id, BUNDLE, findings(6))
            work.cases.analysed(case_id, owner="w")
            report(work, case_id)
            work.reviews.sign(
                case_id, Actor("apruefer"), seen=work.reviews.seen(case_id), counts=COUNTS, bundle=BUNDLE, body={}
            )
        return case_id, path

    def actions(self, case_id: str) -> list[str]:
        with self.database.reading() as work:
            return [event.action for event in work.audit.list(case_id) if "remov" in event.action]


@pytest.fixture
def site(database: Database, tmp_path: Path, clock: ManualClock) -> Site:
    """Give a site without cases; on PostgreSQL as the service's role."""
    return Site(tmp_path, database, clock)


def test_nothing_goes_by_default_and_nothing_before_its_time(site: Site) -> None:
    case_id, path = site.signed("26-1", "one")
    site.clock.advance(10 * DAY)
    assert apply_policy(site.settings(), site.database, site.places) == ()
    assert apply_policy(site.settings(image_days=11), site.database, site.places) == ()
    assert path.exists()
    (removed,) = apply_policy(site.settings(image_days=10), site.database, site.places)
    assert (removed.case_id, removed.kind, removed.items, removed.size) == (case_id, Removable.IMAGES, 1, 30)
    assert not path.exists()
    assert site.actions(case_id) == ["images removal decided", "images removed"]
    assert apply_policy(site.settings(image_days=10), site.database, site.places) == ()
    with site.database.reading() as work:
        assert work.audit.verify().intact


def test_cells_go_and_numbers_stay(site: Site) -> None:
    case_id, _ = site.signed("26-1", "one")
    with site.database.transaction("test") as work:
        before = work.reports.of_case(case_id)
        work.reviews.relabel(case_id, 1, 2, findings(1).cells[0].cell_class, Actor("apruefer"))
        work.reviews.sign(
            case_id, Actor("apruefer"), seen=work.reviews.seen(case_id), counts=COUNTS, bundle=BUNDLE, body={"n": 2}
        )
    site.clock.advance(10 * DAY)
    (removed,) = apply_policy(site.settings(cell_days=5), site.database, site.places)
    with site.database.reading() as work:
        left = work.audit._session.scalar(text("SELECT count(*) FROM cells"))
        judged = work.audit._session.scalar(text("SELECT count(*) FROM cell_reviews"))
        assert (removed.items + left, left) == (6, judged)  # what a person judged stays
        assert work.reports.of_case(case_id)[: len(before)] == before
        with pytest.raises(FindingsRemoved, match="no new version"):
            work.analyses.results_of(case_id)


def test_what_is_not_closed_is_never_touched(site: Site) -> None:
    with site.database.transaction("test") as work:
        opened, _, _ = site.field(work, "26-1", "open")
        preliminary, field_id, _ = site.field(work, "26-2", "preliminary")
        work.cases.complete(preliminary)
        work.cases.claim(preliminary, "w", 60)
        work.analyses.record(field_id, BUNDLE, findings())
        work.cases.analysed(preliminary, owner="w")
        report(work, preliminary)
    held, _ = site.signed("26-3", "held")
    waiting, _ = site.signed("26-4", "waiting")
    with site.database.transaction("test") as work:
        work.cases.hold(held, HoldReason.CONFLICT)
        enqueue(work, waiting, 2)
        rejected, _, path = site.field(work, "26-5", "rejected")
        work.cases.reject(rejected, "wrong folder")
    site.clock.advance(1000 * DAY)
    removed = apply_policy(site.settings(image_days=1, cell_days=1, report_days=1), site.database, site.places)
    assert {each.case_id for each in removed} == {rejected}
    assert not path.exists()
    assert len(list(site.places.store.iterdir())) == 4
    assert {opened, preliminary, held, waiting}.isdisjoint({each.case_id for each in removed})


def test_what_two_cases_share_stays_until_both_are_due(site: Site) -> None:
    one, path = site.signed("26-1", "same")
    with site.database.transaction("test") as work:
        two, _, _ = site.field(work, "26-2", "same")
        for case_id in (one, two):
            work.cases.reject(case_id, "twice") if work.cases.get(case_id).state is not CaseState.SIGNED else None
    site.clock.advance(10 * DAY)
    with site.database.transaction("test") as work:
        if HoldReason.CONFLICT in work.cases.get(one).hold_reasons:
            work.cases.release(one)
    first = remove(site.database, site.places, one, Removable.IMAGES, 0)
    assert first is not None
    assert path.exists()
    second = remove(site.database, site.places, two, Removable.IMAGES, 0)
    assert second is not None
    assert not path.exists()


def test_a_killed_run_goes_on_where_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    case_id, path = site.signed("26-1", "one")
    site.clock.advance(10 * DAY)
    settings = site.settings(image_days=5)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Retention, "done", die)
        with pytest.raises(KeyboardInterrupt):
            apply_policy(settings, site.database, site.places)
    assert not path.exists()
    assert site.actions(case_id) == ["images removal decided"]
    assert list(due_cases(site.database, Removable.IMAGES, 5)) == [case_id]
    assert [each.case_id for each in apply_policy(settings, site.database, site.places)] == [case_id]
    assert site.actions(case_id) == ["images removal decided", "images removed"]


def test_a_run_that_is_to_stop_stops_between_two_cases(site: Site) -> None:
    for number in range(3):
        site.signed(f"26-{number}", f"field {number}")
    site.clock.advance(10 * DAY)
    asked = iter([False, True])
    assert len(apply_policy(site.settings(image_days=1), site.database, site.places, stop=lambda: next(asked))) == 1
    assert len(apply_policy(site.settings(image_days=1), site.database, site.places)) == 2
