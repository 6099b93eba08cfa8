"""From fields with their outcome to what a LIS of another maker has received: results, and that there is none."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from db.errors import ConstraintBroken
from db.session import Database
from db.states import CaseState, HoldReason, MessageState, ReportStatus
from db.views import CaseView
from flows.analyse import CaseWork
from flows.errors import CaseStopped
from flows.message_pictures import MessagePictures, fit_jpeg
from flows.release import Release
from integrations.hl7.escape import Charset
from integrations.hl7.profile import PictureChoice, Profile, SendPictures
from sphero_core.types import CellClass, FieldFindings, Quality
from tests.database_examples import BUNDLE, ManualClock
from tests.laboratory import BLURRED, GOOD, Laboratory, column
from tests.running import ThirdPartyLis, picture
from tests.support import free_port


@pytest.fixture
def laboratory(database: Database, clock: ManualClock) -> Iterator[Laboratory]:
    with ThirdPartyLis(free_port()) as lis:
        yield Laboratory(database, clock, lis, Profile())


def test_a_case_of_which_every_field_was_refused_tells_the_lis_so(laboratory: Laboratory) -> None:
    laboratory.refuse_file("the file is no JPEG, PNG or TIFF")
    case = laboratory.analyse({"one": BLURRED, "two": BLURRED, "three": "the model ended over it"})
    result = laboratory.report(case)

    assert result.report.status is ReportStatus.NOT_OBTAINED
    assert result.report.bundle == BUNDLE
    (message,) = laboratory.deliver()
    assert column(message, "OBR", 25) == ["X"]
    assert set(column(message, "OBX", 11)) == {"X"}
    assert set(column(message, "OBX", 5)) == {""}
    assert [code.split("^")[0] for code in column(message, "OBX", 3)] == [
        "802-9",
        "SPHPCT",
        "SPHCNT",
        "RBCEVAL",
        "6742-1",
    ]
    reason = [
        "No result: every field was refused",
        "2 fields: blurred; thin — end",
        "1 field: the model ended over it",
        "1 field: the file is no JPEG, PNG or TIFF",
    ]
    assert column(message, "NTE", 3) == reason * 2, "at the first observation and at the finding"
    with laboratory.database.reading() as work:
        assert work.cases.get(case.case_id).state is CaseState.REPORTED
        (sent,) = work.outbox.of_case(case.case_id)
        assert work.reports.of_case(case.case_id)[0].not_obtained == "\n".join(reason).removeprefix("No result: ")
    assert (sent.state, sent.ack_code) == (MessageState.DELIVERED, "AA")


def test_a_case_without_any_field_tells_the_lis_so(laboratory: Laboratory) -> None:
    laboratory.refuse_file("the file is no JPEG, PNG or TIFF")
    result = laboratory.report(laboratory.analyse({}))
    assert result.report.bundle is None
    (message,) = laboratory.deliver()
    assert column(message, "OBR", 25) == ["X"]
    assert column(message, "SFT", 4) == ["no model"]
    assert column(message, "OBX", 19)[0] == ""


def test_a_field_that_came_late_replaces_it_by_a_result(laboratory: Laboratory) -> None:
    first = laboratory.analyse({"one": BLURRED})
    laboratory.work().report(first, "w")
    again = laboratory.analyse({"two": GOOD})
    assert (again.case_id, again.revision) == (first.case_id, 2)
    laboratory.work().report(again, "w")
    withdrawn, told = laboratory.deliver()
    assert (column(withdrawn, "OBR", 25), column(told, "OBR", 25)) == (["X"], ["P"])
    assert set(column(told, "OBX", 3)) <= set(column(withdrawn, "OBX", 3))
    assert column(told, "OBR", 22) > column(withdrawn, "OBR", 22), "later, although the clock stood still"
    assert column(told, "MSH", 10) != column(withdrawn, "MSH", 10)
    with laboratory.database.reading() as work:
        assert [each.status for each in work.reports.of_case(first.case_id)] == ["X", "P"]


def test_the_same_outcome_reported_twice_is_one_report_and_one_message(laboratory: Laboratory) -> None:
    case = laboratory.analyse({"one": BLURRED})
    first = laboratory.report(case)
    laboratory.clock.advance(60)
    assert laboratory.report(case).report == replace(first.report, new=False)
    assert len(laboratory.deliver()) == 1


def test_why_there_is_no_result_cannot_be_changed(laboratory: Laboratory) -> None:
    laboratory.work().report(laboratory.analyse({"one": BLURRED}), "w")

    with pytest.raises(ConstraintBroken), laboratory.database.transaction("test") as work:
        work.reports._session.execute(text("UPDATE reports SET not_obtained = NULL"))


def test_a_name_that_a_destination_cannot_carry_holds_the_case_and_tells_where(laboratory: Laboratory) -> None:
    laboratory.profile = Profile(charset=Charset.ASCII)
    case = laboratory.analyse({"one": GOOD})
    with pytest.raises(CaseStopped, match=r"PID-5 family name: holds U\+00FC") as stopped:
        laboratory.report(case)
    assert "Müller" not in str(stopped.value)
    with laboratory.database.reading() as work:
        held = work.cases.get(case.case_id)
        assert (held.hold_reasons, held.return_state) == ((HoldReason.UNSENDABLE,), CaseState.COMPLETE)
        assert work.outbox.of_case(case.case_id) == ()
        assert work.reports.of_case(case.case_id) == ()


def test_time_stands_in_the_zone_of_the_site(laboratory: Laboratory) -> None:

    zone = ZoneInfo("Europe/Berlin")
    release = Release(
        database=laboratory.database,
        profiles={"lis": laboratory.profile},
        pictures=MessagePictures(file=laboratory.files.__getitem__, url=""),
        clock=lambda: (laboratory.clock() + timedelta(seconds=1)).astimezone(zone),
    )
    work = CaseWork(database=laboratory.database, store=Path(), release=release, pixel_aspect=1.0)
    work.report(laboratory.analyse({"one": GOOD}), "w")
    (message,) = laboratory.deliver()
    assert column(message, "OBR", 22) == ["20260329030000+0200"], "one second later summer time begins"


def spherocytes(count: int) -> FieldFindings:
    cells = [replace(cell, cell_class=CellClass.RBC, touches_border=False) for cell in GOOD.cells]
    cells[:count] = [replace(cell, cell_class=CellClass.SPHEROCYTE) for cell in cells[:count]]
    return replace(GOOD, cells=tuple(cells))


def pictures_of(laboratory: Laboratory, case: CaseView) -> dict[str, str]:
    """The ids of the overlays by the name of their field."""
    with laboratory.database.reading() as work:
        return {
            each.stored_name.removesuffix(".jpg"): each.picture_id for each in work.reports.pictures_of(case.case_id)
        }


def test_pictures_of_the_fields_with_the_most_spherocytes_are_embedded_below_the_cap(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.profile = Profile(pictures=PictureChoice(SendPictures.EMBEDDED, most=3, max_bytes=60_000))
    outcomes: dict[str, FieldFindings | str] = {
        "few": spherocytes(1), "many": spherocytes(9), "refused": replace(spherocytes(20), quality=Quality(False)),
        "gone": spherocytes(8), "some": spherocytes(5),
    }  # fmt: skip
    case = laboratory.analyse(outcomes)
    for name, picture_id in pictures_of(laboratory, case).items():
        laboratory.files[picture_id] = tmp_path / f"{name}.jpg"
        if name != "gone":
            laboratory.files[picture_id].write_bytes(picture(len(name), suffix=".jpg", size=(960, 1280)))
    laboratory.report(case)
    (message,) = laboratory.deliver()
    rows = [row for row in message.segments("OBX") if str(row[3]).startswith("72170-4")]
    assert [(str(row[2]), str(row[4]), str(row[11])) for row in rows] == [
        ("ED", "1", "P"), ("ED", "2", "X"), ("ED", "3", "P"),
    ], "many, gone, some"  # fmt: skip
    sent = [base64.b64decode(str(row[5]).split("^")[4]) for row in rows if str(row[5])]
    assert all(jpeg.startswith(b"\xff\xd8") and len(jpeg) <= 60_000 for jpeg in sent)
    assert sent[0] == fit_jpeg((tmp_path / "many.jpg").read_bytes(), 60_000)


def test_pictures_are_pointed_to_where_the_receiver_reaches_them(laboratory: Laboratory) -> None:
    laboratory.profile = Profile(pictures=PictureChoice(SendPictures.POINTER))
    case = laboratory.analyse({"one": GOOD})
    laboratory.report(case)
    (message,) = laboratory.deliver()
    (picture_id,) = pictures_of(laboratory, case).values()
    assert column(message, "OBX", 5)[-1] == f"http://sphero:8080/pictures/{picture_id}^SPHERO^IM^JPEG"


def test_a_picture_is_made_smaller_only_where_it_must_be() -> None:
    jpeg = picture(1, suffix=".jpg", size=(960, 1280))
    assert fit_jpeg(jpeg, len(jpeg)) == jpeg
    smaller = fit_jpeg(jpeg, 40_000)
    assert smaller is not None
    assert 10_000 < len(smaller) <= 40_000
    assert fit_jpeg(jpeg, 10) is None
    assert fit_jpeg(b"no picture" * 10, 10) is None
