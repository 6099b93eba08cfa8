"""`sphero dicom` and the DICOM lines of `sphero doctor`, against a real Orthanc and dcmtk's storescp."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from typer.testing import CliRunner, Result

from flows.checks import checks_of_certificates
from flows.cli.app import app
from flows.config import check_settings
from flows.dicom_checks import dicom_checks
from tests.dicom_objects import Specimen, write_study
from tests.dicom_peers import PASSWORD, USER, Orthanc, StoreScp
from tests.dicom_stores import dimse_store, web_store
from tests.support import free_port

Run = Callable[..., Result]


@pytest.fixture
def run(orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    stores = [
        web_store(orthanc, name="web"),
        dimse_store(orthanc, name="dimse"),
        dimse_store(orthanc, name="away", port=1),
    ]
    monkeypatch.setenv("SPHERO_DICOM__STORE", json.dumps(stores))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["dicom", *(str(word) for word in words)])


def test_echo_tells_each_system_in_one_line(run: Run, orthanc: Orthanc) -> None:
    told = run("echo")
    lines = told.output.splitlines()
    assert told.exit_code == 1
    assert lines[0].startswith("ok    web")
    assert lines[0].endswith(f"{orthanc.dicomweb_url} answers QIDO-RS")
    assert lines[1].endswith("answers C-ECHO, and offers C-FIND with C-GET")
    assert lines[2].startswith("fail  away")
    assert "cannot be reached" in lines[2]
    assert "-> see [[dicom.store]] away" in lines[2]
    given = run("echo", f"ORTHANC@127.0.0.1:{orthanc.port}", "--json")
    assert (given.exit_code, json.loads(given.output)[0]["state"]) == (0, "ok")
    assert "nor TITLE@HOST:PORT" in run("echo", "nobody").output


def test_what_is_sent_is_found(run: Run, orthanc: Orthanc, tmp_path: Path) -> None:
    files = write_study(tmp_path, specimen=Specimen(), objects=3)
    assert run("send", "dimse", files[0]).output == f"ok    {files[0]}\n"
    assert run("send", "web", files[1]).exit_code == 0
    with StoreScp() as receiver:
        assert run("send", f"STORESCP@127.0.0.1:{receiver.port}", files[2]).exit_code == 0
        assert [dcmread(file).SOPInstanceUID for file in receiver.files] == [dcmread(files[2]).SOPInstanceUID]
    uids = {str(dcmread(file).SOPInstanceUID) for file in files[:2]}
    assert orthanc.sop_uids == uids
    for store in ("web", "dimse"):
        found = json.loads(run("find", store, "--days", "3650", "--json").output)
        assert found == [{"study": Specimen().study_uid, "instances": 2}]
        inside = json.loads(run("find", store, "--study", Specimen().study_uid, "--json").output)
        assert {each["instance"] for each in inside} == uids
        assert all(each["wanted"] for each in inside)


def test_a_file_that_is_not_taken_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "no.dcm").write_bytes(b"no DICOM")
    told = run("send", "dimse", tmp_path / "no.dcm", "--json")
    assert told.exit_code == 1
    assert "this is no DICOM file" in json.loads(told.output)[0]["problem"]


def test_doctor_looks_at_receiver_stores_and_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(**dicom: Any) -> dict[str, tuple[str, str]]:
        settings = check_settings({"dicom": dicom}, tmp_path)
        return {check.name: (check.state, check.found) for check in dicom_checks(settings, checks_of_certificates)}

    with Orthanc(password=True) as server:
        monkeypatch.setenv("ORTHANC_PASSWORD", PASSWORD)
        archives = [
            web_store(server, name="a", user=USER, password_variable="ORTHANC_PASSWORD"),
            web_store(server, name="b"),
            web_store(server, name="c", user=USER, password_variable="NOT_SET"),
            dimse_store(server, name="d"),
        ]
        told = found(archive=archives, receiver={"enabled": True, "port": free_port()})
    assert told["receiver"][0] == "note"
    assert told["archive a"][0] == told["archive d"][0] == "ok"
    assert told["archive b"][0] == "fail"
    assert "HTTP status 401" in told["archive b"][1]
    assert told["archive c"] == ("fail", "c: password_variable names NOT_SET, which is not in the environment")
