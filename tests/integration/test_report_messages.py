"""The report for people in messages: what a LIS of another maker gets is the file that people get, byte for byte."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.errors import CaseChanged
from db.session import Database
from flows.grading import CaseGrader
from flows.http_server import HttpServer, make_app
from flows.message_reports import MessageReports
from flows.pictures import DrawsHere, Pictures
from flows.report_desk import ReportDesk
from flows.report_pages import ReportPages
from flows.settings import ReviewSettings
from integrations.hl7.profile import Profile, ReportChoice, SendPictures
from tests.database_examples import ManualClock
from tests.integration.test_reviews import ANNA, smear
from tests.laboratory import PATIENT, Laboratory
from tests.running import ThirdPartyLis
from tests.support import free_port

URL = "http://sphero:8080"


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> ReportDesk:
    folder = tmp_path / "reports"
    folder.mkdir()
    return ReportDesk(
        database=database,
        store=tmp_path,
        folder=folder,
        laboratory="Haematology",
        zone=UTC,
        pixel_aspect=1.0,
        grader=CaseGrader(),
    )


@pytest.fixture
def laboratory(database: Database, clock: ManualClock, desk: ReportDesk) -> Iterator[Laboratory]:
    with ThirdPartyLis(free_port()) as lis:
        yield Laboratory(database, clock, lis, sending(SendPictures.EMBEDDED), reports=MessageReports(desk, URL))


def sending(send: SendPictures, **choice: Any) -> Profile:
    return Profile(report=ReportChoice(send, **choice))


@contextmanager
def serving(pictures: Pictures, pages: ReportPages) -> Iterator[str]:
    app, port = make_app(pictures, dict), free_port()
    pages.serve(app)
    server = HttpServer(app, "127.0.0.1", port)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


def report_row(message: Any) -> Any:
    [row] = [row for row in message.segments("OBX") if str(row[3]).startswith("11502-2^")]
    return row


def notes(message: Any) -> str:
    return "\n".join(str(row[3]) for row in message.segments("NTE"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_version_carries_its_own_report_as_people_get_it(laboratory: Laboratory, desk: ReportDesk) -> None:
    case = laboratory.analyse({"one": smear(4), "two": smear(2)})
    laboratory.report(case)
    laboratory.clock.advance(60)
    laboratory.desk().sign(case.case_id, ANNA, comment="Seen with the smear.")
    for revision, message in enumerate(laboratory.deliver(), start=1):
        row = report_row(message)
        source, kind, subtype, encoding, data = str(row[5]).split("^")
        assert (str(row[2]), source, kind, subtype, encoding) == ("ED", "SPHERO", "AP", "PDF", "Base64")
        assert str(row[11]) == str(message.segment("OBR")[25])
        pdf = base64.b64decode(data, validate=True)
        assert pdf.startswith(b"%PDF")
        assert pdf == desk.files(case.case_id, "ben", revision)["pdf"]
    assert revision == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_pointer_leads_to_the_report_for_whom_the_identity_provider_names(
    laboratory: Laboratory, desk: ReportDesk, database: Database, tmp_path: Path
) -> None:
    laboratory.profile = sending(SendPictures.POINTER, type_of_data="application", subtype="pdf")
    case = laboratory.analyse({"one": smear(4)})
    laboratory.report(case)
    [message] = laboratory.deliver()
    row = report_row(message)
    address, source, kind, subtype = str(row[5]).split("^")
    assert (str(row[2]), source, kind, subtype) == ("RP", "SPHERO", "application", "pdf")
    assert address.startswith(f"{URL}/reports/")
    pages = ReportPages(database, desk, ReviewSettings(user_header="X-Remote-User"))
    pictures = Pictures(database=database, model=DrawsHere(), store=tmp_path, folder=tmp_path, pixel_aspect=1.0)
    path, named = address.removeprefix(URL), {"X-Remote-User": "ben"}
    other = path.replace(path[-8], "f" if path[-8] != "f" else "0")
    with serving(pictures, pages) as here:
        assert httpx.get(here + path).status_code == 403
        assert httpx.get(here + other, headers=named).status_code == 404
        answer = httpx.get(here + path, headers=named)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.content == desk.files(case.case_id, "ben")["pdf"]
    with database.reading() as work:
        read = [event for event in work.audit.list() if event.action == "report read"]
    assert [(event.actor, event.case_id) for event in read] == [("ben", case.case_id)]
    closed = ReportPages(database, desk, ReviewSettings())
    with serving(pictures, closed) as here:
        assert httpx.get(here + path, headers=named).status_code == 403


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_report_that_is_too_large_is_left_out_and_the_message_says_so(laboratory: Laboratory) -> None:
    laboratory.profile = sending(SendPictures.EMBEDDED, max_bytes=100)
    laboratory.report(laboratory.analyse({"one": smear(4)}))
    [message] = laboratory.deliver()
    row = report_row(message)
    assert (str(row[5]), str(row[11])) == ("", "X")
    assert "more than this receiver takes" in notes(message)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_report_goes_with_a_case_that_is_closed_without_a_result(laboratory: Laboratory) -> None:
    laboratory.report(laboratory.analyse({"one": "out of focus"}))
    [message] = laboratory.deliver()
    assert str(report_row(message)[11]) == "X"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_withdrawn_version_has_a_report_without_its_numbers(laboratory: Laboratory, desk: ReportDesk) -> None:
    case = laboratory.report(laboratory.analyse({"one": smear(4)})).report
    laboratory.desk().withdraw(case.case_id, ANNA, "The tubes were swapped.")
    page = desk.files(case.case_id, "anna")["html"].decode()
    assert "Withdrawn: not a result of this patient" in page
    assert "The tubes were swapped." in page
    before, history = page.split("Versions of this result")
    assert "% of red cells" not in before
    assert "<svg" not in before
    assert history.count("% of red cells") == 1, "the version that is withdrawn"


def test_a_report_says_of_the_patient_what_its_message_says(laboratory: Laboratory, database: Database) -> None:
    case = laboratory.analyse({"one": smear(4)})
    reports = laboratory.reports
    assert reports is not None

    class Slow(MessageReports):
        def prepare(self, *laid_out: Any) -> Any:
            attached = super().prepare(*laid_out)
            with database.transaction("test") as work:
                work.identities.set(case.case_id, replace(PATIENT, birth_date="1980-02-29"))
            return attached

    laboratory.reports = Slow(reports._desk, URL)
    with pytest.raises(CaseChanged):
        laboratory.report(case)
    assert laboratory.deliver() == []
    laboratory.reports = reports
    laboratory.report(case)
    [message] = laboratory.deliver()
    assert str(message.segment("PID")[7]) == "19800229"
