"""What people do about a result, up to what a LIS of another maker has received of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from db.cases import WORK
from db.errors import CaseChanged, ConstraintBroken, IllegalMove, NotFound
from db.people import Actor
from db.session import Database
from db.states import CaseState, HoldReason, ReportStatus
from db.views import CaseView
from flows.errors import ReviewRefused
from flows.release import ReleasePolicy
from flows.review_desk import ReviewDesk
from integrations.hl7.profile import PictureChoice, Profile, SendPictures
from sphero_core.types import CellClass, FieldFindings
from tests.database_examples import ManualClock
from tests.laboratory import BLURRED, GOOD, Laboratory, column
from tests.running import ThirdPartyLis
from tests.support import free_port

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database; the others run on both."""

ANNA = Actor("apruefer", "4711", "HOSP", "Prüfer", "Anna")
BEN = Actor("ben")


def smear(spherocytes: int, cells: int = 40) -> FieldFindings:
    """A field of red cells, the first ones spherocytes."""
    made = [
        replace(cell, cell_class=CellClass.RBC, touches_border=False, overlaps=False)
        for cell in (GOOD.cells * 2)[:cells]
    ]
    made[:spherocytes] = [replace(cell, cell_class=CellClass.SPHEROCYTE) for cell in made[:spherocytes]]
    return replace(GOOD, cells=tuple(made))


@pytest.fixture
def laboratory(database: Database, clock: ManualClock) -> Iterator[Laboratory]:
    with ThirdPartyLis(free_port()) as lis:
        yield Laboratory(database, clock, lis, Profile())


def reported(laboratory: Laboratory) -> CaseView:
    case = laboratory.analyse({"one": smear(4), "two": smear(2)})
    laboratory.report(case)
    return case


def state_of(laboratory: Laboratory, case: CaseView) -> CaseState:
    with laboratory.database.reading() as work:
        return work.cases.get(case.case_id).state


def statuses(laboratory: Laboratory, case: CaseView) -> list[str]:
    with laboratory.database.reading() as work:
        return [report.status.value for report in work.reports.of_case(case.case_id)]


def test_preliminary_then_signed_then_corrected(laboratory: Laboratory) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    report = desk.sign(case.case_id, ANNA, comment="Seen.")
    assert (report.status, report.revision, report.new) == (ReportStatus.FINAL, 2, True)
    assert state_of(laboratory, case) is CaseState.SIGNED

    review = desk.relabel(case.case_id, 1, 2, CellClass.RBC, BEN)
    assert (review.machine_class, review.before, review.cell_class) == ("Spherocyte", "Spherocyte", "RBC")
    corrected = desk.sign(case.case_id, ANNA, comment="One cell was none.")
    assert (corrected.status, corrected.revision) == (ReportStatus.CORRECTED, 3)
    assert (report.counts.spherocytes, corrected.counts.spherocytes, corrected.counts.red_cells) == (6, 5, 80)
    assert corrected.counts.spherocyte_percent == pytest.approx(100 * 5 / 80)

    preliminary, final, last = laboratory.deliver()
    assert [column(each, "OBR", 25) for each in (preliminary, final, last)] == [["P"], ["F"], ["C"]]
    assert [set(column(each, "OBX", 11)) for each in (preliminary, final, last)] == [{"P"}, {"F"}, {"C"}]
    assert set(column(preliminary, "OBX", 16)) == {""}
    for each in (final, last):
        assert set(column(each, "OBX", 16)) == {"4711^Prüfer^Anna^^^^^^HOSP"}
        assert column(each, "OBR", 32) == ["4711&Prüfer&Anna&&&&&&HOSP"]
    assert "Seen." in column(final, "NTE", 3)
    times = [column(each, "OBR", 22)[0] for each in (preliminary, final, last)]
    assert times == sorted(set(times)), "later each time, although the clock stood still"
    assert len({column(each, "MSH", 10)[0] for each in (preliminary, final, last)}) == 3


@ON_SQLITE
def test_signing_again_what_did_not_change_makes_no_version(laboratory: Laboratory) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    first = desk.sign(case.case_id, ANNA, comment="Seen.")
    laboratory.clock.advance(60)
    again = desk.sign(case.case_id, ANNA)
    assert again == replace(first, new=False)
    assert desk.sign(case.case_id, ANNA, comment="Seen.").new is False
    assert statuses(laboratory, case) == ["P", "F"]
    assert len(laboratory.deliver()) == 2


@ON_SQLITE
def test_a_changed_grade_keeps_the_reckoned_one_and_its_reason_leaves(laboratory: Laboratory) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    reckoned = desk.preview(case.case_id).counts.grading
    assert reckoned is not None
    with pytest.raises(ReviewRefused, match="needs its reason"):
        desk.sign(case.case_id, ANNA, grade="3+")
    with pytest.raises(ReviewRefused, match=r"the scheme davis has the grades 0, 1\+"):
        desk.sign(case.case_id, ANNA, grade="9+", reason="many")
    report = desk.sign(case.case_id, ANNA, grade="3+", reason="Denser than the share says.")
    assert report.act is not None
    assert report.act.grade is not None
    assert (report.act.grade.grade, report.act.grade.machine_grade) == ("3+", reckoned.grade)
    assert report.counts.grading == reckoned
    message = laboratory.deliver()[-1]
    assert column(message, "OBX", 5)[0] == "260373001^Detected^SCT^3+^3+^99SPH"
    said = f"The reviewer changed the grade from {reckoned.grade} to 3+: Denser than the share says."
    assert said in column(message, "NTE", 3)


def test_a_field_that_comes_after_the_signature_waits_for_a_person(laboratory: Laboratory) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    desk.sign(case.case_id, ANNA)
    late = laboratory.analyse({"three": smear(30)})
    assert (late.case_id, late.revision) == (case.case_id, 3)
    assert laboratory.work().report(late, "w") is None
    assert state_of(laboratory, case) is CaseState.ANALYSED
    with laboratory.database.reading() as work:
        assert work.cases.unfinished(WORK) == (), "no worker takes it up again"
        assert work.cases.get(case.case_id).lease_owner is None
    assert len(laboratory.deliver()) == 2
    assert desk.sign(case.case_id, ANNA).status is ReportStatus.CORRECTED
    assert column(laboratory.deliver()[-1], "OBR", 25) == ["C"]


@ON_SQLITE
def test_every_field_refused_after_the_signature_says_nothing_by_itself(laboratory: Laboratory) -> None:
    case = laboratory.analyse({"one": smear(4)})
    laboratory.report(case)
    laboratory.desk().sign(case.case_id, ANNA)
    late = laboratory.analyse({"two": "the file is damaged"})
    assert laboratory.work().report(late, "w") is None
    assert statuses(laboratory, case) == ["P", "F"]


@ON_SQLITE
def test_under_the_policy_hold_nothing_leaves_before_a_signature(laboratory: Laboratory) -> None:
    laboratory.policy = ReleasePolicy.HOLD
    case = laboratory.analyse({"one": smear(4)})
    assert laboratory.work().report(case, "w") is None
    assert laboratory.deliver() == []
    assert laboratory.work().due == {CaseState.COMPLETE}
    report = laboratory.desk().sign(case.case_id, ANNA)
    assert (report.status, report.revision) == (ReportStatus.FINAL, 1)
    (message,) = laboratory.deliver()
    assert column(message, "OBR", 25) == ["F"]


@ON_SQLITE
def test_under_the_policy_final_no_person_is_named(laboratory: Laboratory) -> None:
    laboratory.policy = ReleasePolicy.FINAL
    case = laboratory.analyse({"one": smear(4)})
    assert laboratory.report(case).report.status is ReportStatus.FINAL
    (message,) = laboratory.deliver()
    assert column(message, "OBR", 25) == ["F"]
    assert set(column(message, "OBX", 16)) == {"AUTO^Released by software"}
    assert any("not verified by a person" in note for note in column(message, "NTE", 3))
    laboratory.analyse({"two": smear(1)})
    late = laboratory.analyse({})
    assert laboratory.work().report(late, "w") is None, "once final, a person corrects"


@ON_SQLITE
def test_a_rejection_tells_the_lis_why(laboratory: Laboratory) -> None:
    laboratory.profile = Profile(pictures=PictureChoice(SendPictures.POINTER))
    case, desk = reported(laboratory), laboratory.desk()
    report = desk.reject(case.case_id, ANNA, "The smear is too thick.")
    assert report is not None
    assert report.status is ReportStatus.NOT_OBTAINED
    assert state_of(laboratory, case) is CaseState.REJECTED
    message = laboratory.deliver()[-1]
    assert column(message, "OBR", 25) == ["X"]
    assert set(column(message, "OBX", 11)) == {"X"}
    assert "No result: rejected: The smear is too thick." in column(message, "NTE", 3)
    again = desk.reject(case.case_id, ANNA, "The smear is too thick.")
    assert again == replace(report, new=False)


@ON_SQLITE
def test_an_unknown_patient_cannot_be_told_and_the_case_is_closed(laboratory: Laboratory) -> None:
    with laboratory.database.transaction("test") as work:
        case_id = work.identities.find_or_create("26-9")
        work.cases.hold(case_id, HoldReason.NO_PATIENT)
    assert laboratory.desk().reject(case_id, ANNA, "No such order.") is None
    with laboratory.database.reading() as work:
        assert work.cases.get(case_id).state is CaseState.REJECTED
        assert work.outbox.of_case(case_id) == ()


@ON_SQLITE
def test_a_signed_case_is_withdrawn_not_rejected(laboratory: Laboratory) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    desk.sign(case.case_id, ANNA)
    with pytest.raises(IllegalMove, match="withdraw"):
        desk.reject(case.case_id, ANNA, "mistaken")
    report = desk.withdraw(case.case_id, ANNA, "The tubes were swapped.")
    assert report.status is ReportStatus.WRONG_PATIENT
    message = laboratory.deliver()[-1]
    assert column(message, "OBR", 25) == ["C"]
    assert set(column(message, "OBX", 11)) == {"W"}
    assert "Reported for the wrong patient: disregard this result." in column(message, "NTE", 3)
    with pytest.raises(IllegalMove):
        desk.sign(case.case_id, ANNA)
    with laboratory.database.reading() as work:
        assert work.identities.find("26-1") is None, "the number is free for the right case"


@ON_SQLITE
def test_nothing_out_is_nothing_to_withdraw(laboratory: Laboratory) -> None:
    laboratory.policy = ReleasePolicy.HOLD
    case = laboratory.analyse({"one": smear(4)})
    laboratory.work().report(case, "w")
    with pytest.raises(IllegalMove, match="nothing to withdraw"):
        laboratory.desk().withdraw(case.case_id, ANNA, "swapped")


@ON_SQLITE
def test_what_cannot_be_reviewed_says_why(laboratory: Laboratory) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    with pytest.raises(NotFound, match="no cell 41"):
        desk.relabel(case.case_id, 1, 41, CellClass.RBC, ANNA)
    with pytest.raises(NotFound, match="no analysed field 3"):
        desk.relabel(case.case_id, 3, 1, CellClass.RBC, ANNA)
    with laboratory.database.transaction("test") as work:
        work.cases.hold(case.case_id, HoldReason.CONFLICT)
    with pytest.raises(IllegalMove, match="held"):
        desk.sign(case.case_id, ANNA)
    with pytest.raises(IllegalMove, match="held"):
        desk.relabel(case.case_id, 1, 1, CellClass.RBC, ANNA)


@ON_SQLITE
def test_a_case_without_a_counted_field_is_not_signed(laboratory: Laboratory) -> None:
    case = laboratory.analyse({"one": BLURRED})
    laboratory.report(case)
    with pytest.raises(ReviewRefused, match="no result to sign"):
        laboratory.desk().sign(case.case_id, ANNA)


@ON_SQLITE
def test_what_changed_while_it_was_looked_at_is_not_signed(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    with laboratory.database.reading() as work:
        seen = work.reviews.seen(case.case_id)
    outcome = desk.preview(case.case_id)
    assert outcome.bundle is not None
    desk.relabel(case.case_id, 1, 1, CellClass.RBC, BEN)
    with pytest.raises(CaseChanged), laboratory.database.transaction("ben") as work:
        work.reviews.sign(
            case.case_id, ANNA, seen=seen, counts=outcome.counts, bundle=outcome.bundle, body=outcome.body
        )
    # The desk looks again by itself, but not for ever.
    looked = []

    def meddled(self: ReviewDesk, *given: object) -> None:
        looked.append(given)
        raise CaseChanged("moved")

    monkeypatch.setattr(ReviewDesk, "_sign", meddled)
    with pytest.raises(CaseChanged):
        desk.sign(case.case_id, ANNA)
    assert len(looked) == 3


def test_the_machines_call_stays_and_a_label_can_be_taken_back(laboratory: Laboratory) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    desk.relabel(case.case_id, 1, 1, CellClass.RBC, ANNA)
    assert desk.relabel(case.case_id, 1, 1, CellClass.RBC, ANNA).changed is False
    with laboratory.database.reading() as work:
        cell = work.analyses.results_of(case.case_id)[0].findings.cells[0]
        assert (cell.cell_class, cell.machine_class) == (CellClass.RBC, CellClass.SPHEROCYTE)
        assert work.reviews.relabelled(case.case_id) == 1
        names = {picture.stored_name for picture in work.reports.pictures_of(case.case_id)}
        assert "one.jpg" not in names, "the picture of the field is drawn anew"
    desk.relabel(case.case_id, 1, 1, CellClass.SPHEROCYTE, ANNA)
    with laboratory.database.reading() as work:
        cell = work.analyses.results_of(case.case_id)[0].findings.cells[0]
        assert (cell.cell_class, cell.machine_class) == (CellClass.SPHEROCYTE, None)
        assert work.reviews.relabelled(case.case_id) == 0
        events = work.audit.list(case.case_id)
    assert [event.actor for event in events if event.action == "cell relabelled"] == ["apruefer"] * 2


def test_a_signed_case_in_which_a_cell_got_another_class_waits_for_a_signature(laboratory: Laboratory) -> None:
    case, desk = reported(laboratory), laboratory.desk()

    def unsigned() -> tuple[str, ...]:
        laboratory.clock.advance(1)
        with laboratory.database.reading() as work:
            return work.reviews.unsigned()

    desk.relabel(case.case_id, 1, 1, CellClass.RBC, ANNA)
    assert unsigned() == (), "it waits as a reported case does"
    desk.sign(case.case_id, ANNA)
    assert unsigned() == ()
    desk.relabel(case.case_id, 1, 1, CellClass.SPHEROCYTE, ANNA)
    assert unsigned() == (case.case_id,)
    desk.sign(case.case_id, ANNA)
    assert unsigned() == ()


@ON_SQLITE
def test_each_act_is_audited_under_the_persons_name_without_the_persons_words(laboratory: Laboratory) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    desk.sign(case.case_id, ANNA, comment="Patient Muster is known to us.")
    with laboratory.database.reading() as work:
        events = work.audit.list(case.case_id)
        assert work.audit.verify().intact
    (signed,) = [event for event in events if event.action == "case signed"]
    assert signed.actor == "apruefer"
    assert not any("Muster" in event.detail for event in events)


@pytest.mark.parametrize("table", ["report_acts", "cell_reviews"])
def test_acts_cannot_be_changed_or_removed(laboratory: Laboratory, table: str) -> None:
    case, desk = reported(laboratory), laboratory.desk()
    desk.relabel(case.case_id, 1, 1, CellClass.RBC, ANNA)
    desk.sign(case.case_id, ANNA)
    for statement in (f"UPDATE {table} SET login = 'x'", f"DELETE FROM {table}"):  # noqa: S608  # our own names
        with pytest.raises(ConstraintBroken), laboratory.database.transaction("test") as work:
            work.reviews._session.execute(text(statement))
