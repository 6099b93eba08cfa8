"""From a folder of images to signed and corrected results at a LIS of another maker, by the commands that people use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import hl7
import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from tests.running import RunningService, ThirdPartyLis, case_files, manifest
from tests.signed_cases import SETTINGS
from tests.support import free_port

CANARY = "CanaryFamily"


@pytest.fixture(scope="module")
def lis() -> Iterator[ThirdPartyLis]:
    with ThirdPartyLis(free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, lis: ThirdPartyLis) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("signing"), lis.port, more=SETTINGS) as running:
        running.start()
        yield running


def sphero(service: RunningService, *words: str) -> str:
    """Run a command in this process, which has everything loaded; gives what it printed."""
    done = CliRunner().invoke(app, words, env={**SETTINGS, "SPHERO_CONFIG": str(service.folder / "sphero.toml")})
    assert done.exit_code == 0, done.output
    return done.stdout


def column(message: Any, segment: str, field: int) -> list[str]:
    return [str(row[field]) if len(row) > field else "" for row in message.segments(segment)]


def test_a_case_is_reported_signed_relabelled_and_corrected(service: RunningService, lis: ThirdPartyLis) -> None:
    told = manifest("P1", 2)
    told["patient"] |= {"family": CANARY}
    service.drop("26-77", case_files(7, 2), told)
    service.wait_delivered(1)
    waiting = json.loads(sphero(service, "case", "list", "--waiting", "--json"))
    assert [(row["state"], row["out"], row["to do"]) for row in waiting] == [("reported", "P", "sign")]

    sphero(service, "case", "sign", "26-77", "--by", "apruefer", "--comment", "Seen.")
    service.wait_delivered(2)
    said = sphero(service, "case", "relabel", "26-77", "1.1", "RBC")
    assert "the machine called it Spherocyte" in said
    sphero(service, "case", "sign", "26-77", "--by", "apruefer")
    service.wait_delivered(3)

    preliminary, final, corrected = [hl7.parse(body.decode()) for body in lis.received]
    assert [column(each, "OBR", 25) for each in (preliminary, final, corrected)] == [["P"], ["F"], ["C"]]
    for each in (final, corrected):
        assert set(column(each, "OBX", 16)) == {"4711^Pruefer^Anna^^^^^^HOSP"}
        assert column(each, "OBR", 32) == ["4711&Pruefer&Anna&&&&&&HOSP"]
    counted = [{str(row[3]).split("^")[0]: str(row[5]) for row in each.segments("OBX")} for each in (final, corrected)]
    assert int(counted[0]["SPHCNT"]) - int(counted[1]["SPHCNT"]) == 1
    assert counted[0]["RBCEVAL"] == counted[1]["RBCEVAL"]


def test_cells_and_report_are_written_as_files(service: RunningService) -> None:
    out = service.folder / "exported"
    sphero(service, "case", "export", "26-77", "--out", str(out))
    assert {"cells.csv", "coco.json", "field-001.geojson", "field-002.geojson", "report.html", "report.pdf"} == {
        path.name for path in out.iterdir()
    }
    assert CANARY in (out / "report.html").read_text()
    assert CANARY not in (out / "cells.csv").read_text()
    kept = {path.read_bytes() for path in (service.data / "reports").iterdir()}
    assert {(out / "report.html").read_bytes(), (out / "report.pdf").read_bytes()} <= kept
    assert len(kept) == 4, "one report for each of the two signatures"
    again = service.folder / "again"
    sphero(service, "case", "export", "26-77", "--out", str(again), "--what", "report")
    assert (again / "report.pdf").read_bytes() == (out / "report.pdf").read_bytes()
    assert not any(CANARY in path.name for path in service.data.rglob("*"))


def test_a_rejected_case_is_told_and_audited(service: RunningService, lis: ThirdPartyLis) -> None:
    service.drop("26-78", case_files(8, 1), manifest("P2", 1))
    service.wait_delivered(4)
    sphero(service, "case", "reject", "26-78", "--reason", "The smear is too thick.", "--by", "ben")
    service.wait_delivered(5)
    message = hl7.parse(lis.received[-1].decode())
    assert column(message, "OBR", 25) == ["X"]
    assert any("too thick" in note for note in column(message, "NTE", 3))
    actors = service.read(lambda work: {event.actor for event in work.audit.list()})
    assert {"ben", "apruefer"} <= actors
