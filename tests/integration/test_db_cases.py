"""The life of a case: arrival, late fields, holds, conflicts, leases; everything twice."""

from __future__ import annotations

import pytest

from db.errors import CaseNotReady, IllegalMove, LeaseLost, NotFound
from db.session import Database
from db.states import CaseState, FieldState, HoldReason
from db.views import Acquisition, Identity
from tests.database_examples import BUNDLE, ManualClock, accept, findings, report, to_state


def actions(database: Database, case_id: str | None = None) -> list[str]:
    with database.reading() as work:
        return [event.action for event in work.audit.list(case_id)]


def test_a_case_from_its_first_field_to_its_report(database: Database, clock: ManualClock) -> None:
    with database.transaction("intake") as work:
        first, second = accept(work, name="one"), accept(work, name="two")
    clock.advance(60)
    with database.transaction("service") as work:
        assert first.case_id == second.case_id
        assert [case.fields for case in work.cases.open_cases()] == [2]
        work.cases.complete(first.case_id)
        assert work.cases.claim(first.case_id, "w", 60)
        work.analyses.record(first.field_id, BUNDLE, findings())
        work.fields.quarantine(second.field_id, "damaged")
        work.cases.analysed(first.case_id, owner="w")
        assert report(work, first.case_id).new
    with database.reading() as work:
        case = work.cases.get(first.case_id)
        states = {field.field_id: (field.state, field.reason) for field in work.fields.of_case(first.case_id)}
    assert (case.state, case.lease_owner, case.attempts) == (CaseState.REPORTED, None, 0)
    assert states == {
        first.field_id: (FieldState.ANALYSED, None),
        second.field_id: (FieldState.QUARANTINED, "damaged"),
    }
    assert actions(database, first.case_id) == [
        "case open",
        "field accepted",
        "field accepted",
        "case complete",
        "case claimed",
        "field analysed",
        "field quarantined",
        "case analysed",
        "case reported",
    ]


def test_every_step_twice_has_the_effect_of_once(database: Database) -> None:
    for _ in range(2):
        with database.transaction("test") as work:
            accepted = accept(work)
            case_id = accepted.case_id
            work.identities.set(case_id, Identity("26-1", patient_id="P", patient_issuer="H"))
            work.cases.set_acquisition(case_id, Acquisition(expected_fields=1, pixel_aspect=1.25))
            work.cases.set_flow_run(case_id, "run")
            work.cases.complete(case_id)
            if work.cases.get(case_id).state is CaseState.COMPLETE:
                assert work.cases.claim(case_id, "w", 60)
                assert work.cases.claim(case_id, "w", 60)
            work.analyses.record(accepted.field_id, BUNDLE, findings())
            work.cases.analysed(case_id, owner="w")
            new = report(work, case_id).new
            work.reports.add_picture(accepted.field_id, "overlay", "o.png", "image/png")
            work.fields.quarantine_file("s", accession="26-1", size_bytes=0, reason="empty", stored_name=None)
            events = len(work.audit._context.events)
    assert (new, events) == (False, 0)
    with database.reading() as work:
        assert len(work.cases.list()) == len(work.fields.of_case(case_id)) == len(work.reports.of_case(case_id)) == 1
        assert len(work.reports.pictures_of(case_id)) == len(work.fields.quarantined_files(case_id)) == 1


def test_pages_of_one_file_are_fields_of_their_own(database: Database) -> None:
    with database.transaction("test") as work:
        pages = [accept(work, frame=frame) for frame in (0, 1, 0)]
    assert [page.new for page in pages] == [True, True, False]
    assert pages[0].field_id == pages[2].field_id != pages[1].field_id


@pytest.mark.parametrize("state", [CaseState.COMPLETE, CaseState.ANALYSED, CaseState.REPORTED])
def test_a_late_field_reopens_its_case(database: Database, state: CaseState) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, state)
        late = accept(work, name="late")
        case = work.cases.get(case_id)
    assert (late.case_id, late.new, late.reopened) == (case_id, True, True)
    assert (case.state, case.fields_accepted) == (CaseState.OPEN, 2 if state is CaseState.COMPLETE else 1)
    assert case.revision == (2 if state is CaseState.REPORTED else 1)


def test_after_a_late_field_the_next_version_is_reported(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.REPORTED)
        late = accept(work, name="late")
        work.cases.complete(case_id)
        assert work.cases.claim(case_id, "w2", 60)
        work.analyses.record(late.field_id, BUNDLE, findings())
        work.cases.analysed(case_id, owner="w2")
        assert report(work, case_id, 2, "w2").new
        assert not report(work, case_id, 1, "w2").new
        assert [found.revision for found in work.reports.of_case(case_id)] == [1, 2]


def test_a_worker_overtaken_by_a_late_field_reports_nothing(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.COMPLETE)
        field = work.fields.of_case(case_id)[0]
        assert work.cases.claim(case_id, "w", 60)
        work.analyses.record(field.field_id, BUNDLE, findings())
        accept(work, name="late")
        with pytest.raises(IllegalMove, match="from open to analysed"):
            work.cases.analysed(case_id, owner="w")
        work.cases.complete(case_id)
        with pytest.raises(CaseNotReady, match="1 fields"):
            work.cases.analysed(case_id, owner="w")
        assert work.cases.get(case_id).state is CaseState.COMPLETE


def test_a_report_needs_an_analysed_field_the_lease_and_the_revision(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.ANALYSED)
        with pytest.raises(LeaseLost):
            report(work, case_id, owner="other")
        with pytest.raises(IllegalMove, match="revision 1"):
            report(work, case_id, revision=2)
        refused = work.identities.find_or_create("26-2")
        work.fields.quarantine(accept(work, "26-2", "two").field_id, "not a smear")
        work.cases.complete(refused)
        assert work.cases.claim(refused, "w", 60)
        work.cases.analysed(refused, owner="w")
        with pytest.raises(CaseNotReady, match="no field"):
            report(work, refused)
        with pytest.raises(IllegalMove, match="from complete to reported"):
            report(work, to_claimed(work.cases.claim, to_state(work, CaseState.COMPLETE, "26-3", "three")))


def to_claimed(claim: object, case_id: str) -> str:
    assert callable(claim)
    assert claim(case_id, "w", 60)
    return case_id


@pytest.mark.parametrize("state", [CaseState.OPEN, CaseState.COMPLETE, CaseState.ANALYSED, CaseState.REPORTED])
def test_a_held_case_returns_to_where_it_was(database: Database, state: CaseState) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, state)
        for reason in (HoldReason.NO_PATIENT, HoldReason.UNMATCHED_ORDER, HoldReason.NO_PATIENT):
            work.cases.hold(case_id, reason)
        case = work.cases.get(case_id)
        assert (case.state, case.return_state, case.lease_owner) == (CaseState.HELD, state, None)
        assert set(case.hold_reasons) == {HoldReason.NO_PATIENT, HoldReason.UNMATCHED_ORDER}
        assert not work.cases.claim(case_id, "w", 60)
        work.cases.release(case_id, HoldReason.NO_PATIENT)
        work.cases.release(case_id, HoldReason.FAILED_QUALITY)
        assert work.cases.get(case_id).state is CaseState.HELD
        work.cases.release(case_id)
        work.cases.release(case_id)
        case = work.cases.get(case_id)
        assert (case.state, case.return_state, case.hold_reasons) == (state, None, ())


def test_a_late_field_of_a_held_case_counts_when_it_is_released(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.REPORTED)
        work.cases.hold(case_id, HoldReason.UNMATCHED_ORDER)
        late = accept(work, name="late")
        later = accept(work, name="later")
        case = work.cases.get(case_id)
        assert (late.reopened, later.reopened) == (False, False)
        assert (case.state, case.return_state, case.revision) == (CaseState.HELD, CaseState.OPEN, 2)
        work.cases.release(case_id)
        assert work.cases.get(case_id).state is CaseState.OPEN


def test_the_same_bytes_under_another_accession_hold_the_second_case(database: Database) -> None:
    with database.transaction("test") as work:
        first = accept(work, "26-1", "picture")
        second = accept(work, "26-2", "picture")
        again = accept(work, "26-2", "picture")
        assert (first.conflict, second.conflict, again.new) == (False, True, False)
        assert work.cases.get(first.case_id).state is CaseState.OPEN
        assert work.cases.get(second.case_id).hold_reasons == (HoldReason.CONFLICT,)
        with pytest.raises(IllegalMove, match="also in another"):
            work.cases.release(second.case_id)
        with pytest.raises(IllegalMove, match="also in another"):
            work.cases.release(second.case_id, HoldReason.CONFLICT)
        with pytest.raises(IllegalMove, match="released to it, not to complete"):
            work.cases.complete(second.case_id)
        work.fields.quarantine(second.field_id, "belongs to another case")
        work.cases.release(second.case_id)
        assert work.cases.get(second.case_id).state is CaseState.OPEN


def test_a_conflict_ends_when_the_wrong_case_is_rejected(database: Database) -> None:
    with database.transaction("test") as work:
        wrong, right = accept(work, "26-1", "picture"), accept(work, "26-2", "picture")
        work.cases.reject(wrong.case_id, "wrong folder")
        work.cases.release(right.case_id)
        assert work.cases.get(right.case_id).state is CaseState.OPEN
        assert accept(work, "26-3", "picture").conflict


def test_after_a_rejection_the_accession_begins_a_new_case(database: Database) -> None:
    with database.transaction("test") as work:
        old = accept(work)
        work.cases.hold(old.case_id, HoldReason.NO_PATIENT)
        work.cases.reject(old.case_id, "wrong specimen")
        work.cases.reject(old.case_id, "wrong specimen")
        assert work.cases.get(old.case_id).hold_reasons == ()
        same_file = accept(work)
        assert (same_file.case_id, same_file.new) == (old.case_id, False)
        new = work.fields.accept(
            "sent again",
            accession="26-1",
            sha256=work.fields.get(old.field_id).sha256,
            size_bytes=1000,
            media_type="image/png",
            width=640,
            height=480,
            stored_name="x.png",
        )
        assert (new.new, new.conflict) == (True, False)
        assert new.case_id != old.case_id
        for refused in (work.cases.complete, work.cases.release):
            if refused == work.cases.complete:
                with pytest.raises(IllegalMove, match="from rejected"):
                    refused(old.case_id)
            else:
                refused(old.case_id)
        with pytest.raises(IllegalMove, match="from rejected"):
            work.cases.hold(old.case_id, HoldReason.NO_PATIENT)


def test_a_refused_file_is_kept_with_its_reason(database: Database) -> None:
    with database.transaction("test") as work:
        nowhere = work.fields.quarantine_file("a", size_bytes=0, reason="empty", stored_name=None)
        somewhere = work.fields.quarantine_file(
            "b", accession="26-1", sha256="f" * 64, size_bytes=9, reason="no image", stored_name="q/1"
        )
        assert work.fields.knows_source("a")
        assert not work.fields.knows_source("c")
        [case] = work.cases.open_cases()
        assert (case.fields, case.files_quarantined) == (0, 1)
        assert {file.quarantine_id for file in work.fields.quarantined_files()} == {nowhere, somewhere}
        [kept] = work.fields.quarantined_files(case.case_id)
        assert (kept.reason, kept.stored_name, kept.sha256) == ("no image", "q/1", "f" * 64)
        assert accept(work).case_id == case.case_id


def test_field_outcomes_are_final(database: Database) -> None:
    with database.transaction("test") as work:
        first, second = accept(work, name="one"), accept(work, name="two")
        work.analyses.record(first.field_id, BUNDLE, findings())
        with pytest.raises(IllegalMove, match="from analysed to quarantined"):
            work.fields.quarantine(first.field_id, "late doubt")
        work.fields.quarantine(second.field_id, "damaged")
        with pytest.raises(IllegalMove, match="from quarantined to analysed"):
            work.analyses.record(second.field_id, BUNDLE, findings())


def test_one_worker_at_a_time(database: Database, clock: ManualClock) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.COMPLETE)
        assert work.cases.claim(case_id, "a", 60)
        assert not work.cases.claim(case_id, "b", 60)
        assert work.cases.unfinished() == ()
        clock.advance(59)
        assert work.cases.renew(case_id, "a", 60)
        assert not work.cases.renew(case_id, "b", 60)
        clock.advance(59)
        assert not work.cases.claim(case_id, "b", 60)
        clock.advance(1)
        assert [case.case_id for case in work.cases.unfinished()] == [case_id]
        assert work.cases.claim(case_id, "b", 60)
        assert not work.cases.renew(case_id, "a", 60)
        work.cases.unclaim(case_id, "a")
        assert work.cases.get(case_id).lease_owner == "b"
        work.cases.unclaim(case_id, "b", spent=False)
        assert work.cases.get(case_id).attempts == 1


def test_a_case_that_fails_too_often_is_held(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = to_state(work, CaseState.COMPLETE)
        for attempt in range(3):
            assert work.cases.claim(case_id, f"w{attempt}", 60, max_attempts=3)
            work.cases.unclaim(case_id, f"w{attempt}")
        assert not work.cases.claim(case_id, "w4", 60, max_attempts=3)
        assert work.cases.get(case_id).hold_reasons == (HoldReason.ATTEMPTS,)
        work.cases.release(case_id)
        assert work.cases.claim(case_id, "w5", 60, max_attempts=3)


def test_leases_of_dead_workers_end_at_once(database: Database) -> None:
    with database.transaction("test") as work:
        mine = to_state(work, CaseState.COMPLETE, "26-1", "one")
        other = to_state(work, CaseState.COMPLETE, "26-2", "two")
        assert work.cases.claim(mine, "host_1/7", 600)
        assert work.cases.claim(other, "hostX1/7", 600)
        assert (work.cases.release_leases("host_1/"), work.cases.release_leases("host_1/")) == (1, 0)
        assert [case.case_id for case in work.cases.unfinished()] == [mine]


def test_open_cases_are_not_work_and_reported_ones_neither(database: Database) -> None:
    with database.transaction("test") as work:
        for number, state in enumerate((CaseState.OPEN, CaseState.REPORTED, CaseState.REJECTED)):
            assert not work.cases.claim(to_state(work, state, f"26-{number}", f"field {number}"), "w", 60)
        assert work.cases.unfinished() == ()
        assert {case.state for case in work.cases.list([CaseState.OPEN, CaseState.REPORTED])} == {
            CaseState.OPEN,
            CaseState.REPORTED,
        }


def test_a_manifest_may_name_another_accession(database: Database) -> None:
    with database.transaction("test") as work:
        case_id = accept(work, "monday-3").case_id
        assert work.identities.set(case_id, Identity("26-7", "HOSP", family="Ümlaut", patient_id="P"))
        assert work.identities.set(case_id, Identity("26-7", given="Zoe"))
        late = accept(work, "monday-3", "late")
        assert late.case_id == work.identities.find("26-7", "HOSP") == case_id
        assert work.identities.find("26-7") is None
        assert work.identities.get(case_id) == Identity("26-7", "HOSP", patient_id="P", family="Ümlaut", given="Zoe")
        assert "26-7" not in repr(work.identities.get(case_id))


@pytest.mark.parametrize(
    ("identity", "contradicts"),
    [
        (Identity("26-1", patient_id="P1"), False),
        (Identity("26-1", patient_id="P1", patient_issuer="H", family="New"), False),
        (Identity("26-1", patient_id="P2"), True),
        (Identity("26-1", patient_id="P1", patient_issuer="OTHER"), True),
        (Identity("26-2"), True),
    ],
)
def test_a_contradiction_holds_the_case_and_changes_nothing(
    database: Database, identity: Identity, contradicts: bool
) -> None:
    with database.transaction("test") as work:
        accept(work, "26-2", "two")
        case_id = accept(work).case_id
        assert work.identities.set(case_id, Identity("26-1", patient_id="P1", patient_issuer="H"))
        known = work.identities.get(case_id)
        for _ in range(2):
            assert work.identities.set(case_id, identity) is not contradicts
        assert (work.cases.get(case_id).hold_reasons == (HoldReason.CONFLICT,)) is contradicts
        assert (work.identities.get(case_id) == known) is (contradicts or identity.family is None)


def test_what_is_not_there_is_told(database: Database) -> None:
    with database.reading() as work:
        for lookup in (work.cases.get, work.identities.get, work.fields.get, work.reports.picture, work.outbox.get):
            with pytest.raises(NotFound):
                lookup("nothing")
