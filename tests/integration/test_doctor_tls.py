"""What `sphero doctor` says about certificates, against a receiver under TLS."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.checks import checks_of_certificates, destination_check
from flows.config import check_settings
from flows.findings import Check
from flows.settings import Destination, Settings
from flows.wiring import make_client, make_listener
from integrations.errors import TlsError
from integrations.hl7.ack import AckPolicy, Outcome
from integrations.hl7.simulator import LisSimulator
from integrations.tls import TlsFiles
from tests.certificates import Authority
from tests.hl7_examples import message


def keys(files: TlsFiles) -> dict[str, Any]:
    return {"tls": True, "ca_file": files.ca_file, "cert_file": files.cert_file, "key_file": files.key_file}


def settings(port: int, files: TlsFiles, **more: object) -> Settings:
    destination = {"name": "lis", "host": "127.0.0.1", "port": port, **keys(files), **more}
    return check_settings({"hl7": {"destination": [destination]}}, Path("/nowhere"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def only(port: int, files: TlsFiles, **more: object) -> Destination:
    (destination,) = settings(port, files, **more).hl7.destination
    return destination


def certificates(files: TlsFiles) -> list[Check]:
    return list(checks_of_certificates("tls lis", only(1, files)))


def test_until_when_files_are_valid(authority: Authority) -> None:
    assert [(check.state, check.found.split(" until ")[0]) for check in certificates(authority.sign("ours"))] == [
        ("ok", "ca_file is valid"),
        ("ok", "cert_file is valid"),
    ]
    soon = certificates(authority.sign("soon", valid=timedelta(days=20)))[1]
    assert (soon.state, soon.found.split(" on ")[0]) == ("note", "cert_file expires")
    late = certificates(authority.sign("late", valid=timedelta(days=-2)))[1]
    assert (late.state, late.found.split(" on ")[0]) == ("fail", "cert_file has expired")
    assert soon.remedy
    assert late.remedy


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda files, other: TlsFiles(files.ca_file, files.cert_file, other.key_file), "is not the key of cert_file"),
        (lambda files, _: TlsFiles(files.key_file, files.cert_file, files.key_file), "holds no certificates"),
    ],
)
def test_files_that_do_not_fit_are_told(
    authority: Authority, wrong: Callable[[TlsFiles, TlsFiles], TlsFiles], told: str
) -> None:
    files = wrong(authority.sign("ours"), authority.sign("other"))
    (found,) = certificates(files)
    assert (found.state, told in found.found) == ("fail", True)
    with pytest.raises(TlsError, match=told):
        make_client(only(1, files))


def test_the_receiver_is_tried_with_these_certificates(authority: Authority, tmp_path: Path) -> None:
    ours = authority.sign("ours")
    with LisSimulator(tls=authority.sign("server")) as lis:
        assert destination_check(only(lis.port, ours)).state == "ok"
        with make_client(only(lis.port, ours), AckPolicy()) as client:
            assert client.send(message()).outcome is Outcome.ACKNOWLEDGED
        stranger = Authority(tmp_path, "stranger")
        found = destination_check(only(lis.port, TlsFiles(stranger.file, ours.cert_file, ours.key_file)))
        assert found.state == "fail"
        assert "is not signed by an authority of ca_file" in found.found
        assert "ca_file" in found.remedy
        found = destination_check(only(lis.port, ours, server_name="lis.example"))
        assert "is for another name" in found.found
    with LisSimulator(tls=authority.sign("server", valid=timedelta(days=3))) as lis:
        found = destination_check(only(lis.port, ours))
        assert (found.state, found.found.split(" on ")[0]) == ("note", "its certificate expires")


def test_the_listener_of_the_settings_serves_under_tls(authority: Authority) -> None:
    ours = authority.sign("ours")
    listener = check_settings({"hl7": {"listener": {"enabled": True, **keys(authority.sign("server"))}}}, Path("/x"))
    section = listener.hl7.listener.model_copy(update={"port": 0})
    with make_listener(section, lambda _: b"MSH|^~\\&|X\rMSA|AE|1\r") as running:
        assert destination_check(only(running.port, ours)).state == "ok"
    broken = section.model_copy(update={"key_file": ours.key_file})
    with pytest.raises(TlsError, match="is not the key"):
        make_listener(broken, lambda _: b"")
    assert [check.state for check in checks_of_certificates("tls listener", broken)] == ["fail"]
