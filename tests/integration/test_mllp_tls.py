"""MLLP under TLS with client certificates: our client and our listener, with right and with wrong certificates."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from integrations.errors import TlsError
from integrations.hl7.ack import AckCode, Outcome, build_ack
from integrations.hl7.faults import Fault
from integrations.hl7.listener import ListenerLimits, MllpListener
from integrations.hl7.mllp import Endpoint, MllpClient
from integrations.hl7.simulator import LisSimulator
from integrations.tls import ClientTls, TlsFiles, validities
from tests.certificates import Authority
from tests.hl7_examples import message
from tests.support import wait_for

PATIENT = 10.0
NOW = datetime(2026, 11, 23, 10, 15, 1, tzinfo=UTC)


def accept(body: bytes) -> bytes:
    return build_ack(body, AckCode.AA, control_id="1", now=NOW)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> TlsFiles:
    return authority.sign("server")


@pytest.fixture
def ours(authority: Authority) -> TlsFiles:
    return authority.sign("client")


def listening(files: TlsFiles, limits: ListenerLimits | None = None) -> MllpListener:
    return MllpListener(accept, tls=files.server_context, limits=limits)


def client(port: int, files: TlsFiles, *, name: str = "localhost", ack_timeout: float = PATIENT) -> MllpClient:
    endpoint = Endpoint("lis", "127.0.0.1", port, 5, 5, ack_timeout, tls_timeout=5)
    return MllpClient(endpoint, tls=ClientTls(files, name))


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_messages_over_one_connection_with_client_certificates(server: TlsFiles, ours: TlsFiles, name: str) -> None:
    with listening(server) as listener, client(listener.port, ours, name=name) as sender:
        assert {sender.send(message(number)).reason for number in range(1, 11)} == {"answered AA"}
        assert listener.connections == 1
        valid = sender.peer_validity()
        assert valid is not None
        assert timedelta(days=89) < valid.ends - datetime.now(UTC) < timedelta(days=91)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls(server: TlsFiles, ours: TlsFiles, version: ssl.TLSVersion) -> None:
    def context() -> ssl.SSLContext:
        made = server.server_context()
        made.maximum_version = made.minimum_version = version
        return made

    with MllpListener(accept, tls=context) as listener, client(listener.port, ours) as sender:
        assert sender.send(message() + b"NTE|1||" + b"x" * 500_000 + b"\r").outcome is Outcome.ACKNOWLEDGED
    with MllpListener(accept, tls=context) as listener:
        with client(listener.port, replace(ours, cert_file=None, key_file=None)) as sender:
            refused = sender.send(message())
            again = sender.probe()
        assert refused.outcome is Outcome.REFUSED
        assert "see cert_file" in refused.reason
        assert again is not None


def test_a_certificate_is_not_asked_for_without_authorities(server: TlsFiles, ours: TlsFiles) -> None:
    anonymous = replace(ours, cert_file=None, key_file=None)
    with listening(replace(server, ca_file=None)) as listener, client(listener.port, anonymous) as sender:
        assert sender.send(message()).outcome is Outcome.ACKNOWLEDGED


def problem(port: int, files: TlsFiles, name: str = "localhost") -> str:
    with client(port, files, name=name) as sender:
        told = sender.probe()
        delivery = sender.send(message())
    assert told is not None
    assert (delivery.outcome, delivery.reason) == (Outcome.REFUSED, f"no connection: {told}")
    return told


def test_each_wrong_certificate_is_told_in_words_and_nothing_is_sent(
    authority: Authority, server: TlsFiles, ours: TlsFiles, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "stranger")
    with listening(server) as listener:
        told = problem(listener.port, replace(ours, ca_file=other.file))
        assert told == "the server's certificate is not signed by an authority of ca_file"
        told = problem(listener.port, ours, name="lis.example")
        assert told == "the server's certificate is for another name; see host and server_name"
        stranger = replace(other.sign("stranger-client"), ca_file=authority.file)
        told = problem(listener.port, stranger)
        assert told.startswith("the server does not accept our certificate (")
        expired = authority.sign("old-client", valid=timedelta(days=-1))
        assert "does not accept our certificate" in problem(listener.port, expired)
    with listening(authority.sign("old-server", valid=timedelta(days=-1))) as listener:
        assert problem(listener.port, ours) == "the server's certificate, or its authority's, has expired"


def test_a_server_without_tls_and_a_client_without_tls(server: TlsFiles, ours: TlsFiles) -> None:
    with MllpListener(accept) as listener:
        assert problem(listener.port, ours) == "the server speaks no TLS there, or closed while shaking hands"
    with listening(server) as listener:
        with MllpClient(Endpoint("lis", "127.0.0.1", listener.port, 5, 5, 5)) as sender:
            assert sender.send(message()).outcome is Outcome.UNKNOWN
        with client(listener.port, ours) as sender:
            assert sender.send(message()).outcome is Outcome.ACKNOWLEDGED


def test_one_that_does_not_shake_hands_holds_up_nobody(server: TlsFiles, ours: TlsFiles) -> None:
    with (
        listening(server, ListenerLimits(handshake_seconds=1.0)) as listener,
        socket.create_connection(("127.0.0.1", listener.port), timeout=PATIENT) as silent,
        client(listener.port, ours) as sender,
    ):
        assert sender.send(message()).outcome is Outcome.ACKNOWLEDGED
        assert silent.recv(1) == b""
        wait_for(lambda: listener.connections == 1, PATIENT, what="the end of the silent one")


def test_the_handshake_has_its_deadline(ours: TlsFiles) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = Endpoint("lis", "127.0.0.1", silent.getsockname()[1], 5, 5, 5, tls_timeout=0.3)
        started = time.monotonic()
        with MllpClient(endpoint, tls=ClientTls(ours, "localhost")) as sender:
            delivery = sender.send(message())
        assert time.monotonic() - started < PATIENT
    assert (delivery.outcome, delivery.reason) == (Outcome.REFUSED, "no connection: no TLS handshake within 0.3 s")


def test_a_renewed_certificate_is_taken_up_without_a_restart(
    authority: Authority, server: TlsFiles, ours: TlsFiles, tmp_path: Path
) -> None:
    with listening(server) as listener:
        authority.sign("server", hosts=("lis.example",))
        with client(listener.port, ours, name="lis.example") as sender:
            assert sender.send(message()).outcome is Outcome.ACKNOWLEDGED
        assert server.key_file is not None
        server.key_file.write_text("broken")
        with client(listener.port, ours, name="lis.example") as sender:
            assert sender.probe() is not None
        authority.sign("server")
        with client(listener.port, ours) as sender:
            assert sender.send(message()).outcome is Outcome.ACKNOWLEDGED


@pytest.mark.parametrize("fault", [Fault.SPLIT_ACK, Fault.DOUBLE_ACK, Fault.RESET, Fault.HUGE_ACK, Fault.LATE_ACK])
def test_faults_under_tls(server: TlsFiles, ours: TlsFiles, fault: Fault) -> None:
    with (
        LisSimulator(fault=fault, tls=server) as simulator,
        client(simulator.port, ours, ack_timeout=1 if fault is Fault.LATE_ACK else PATIENT) as sender,
    ):
        expected = Outcome.ACKNOWLEDGED if fault in (Fault.SPLIT_ACK, Fault.DOUBLE_ACK) else Outcome.UNKNOWN
        assert [sender.send(message(number)).outcome for number in (1, 2)] == [expected] * 2
        simulator.heal()
        wait_for(lambda: sender.send(message(2)).outcome is Outcome.ACKNOWLEDGED, PATIENT, what="AA")


def test_stopping_under_tls_answers_what_is_at_work(server: TlsFiles, ours: TlsFiles) -> None:
    stop: list[MllpListener] = []

    def stopping(body: bytes) -> bytes:
        stop[0]._stopping.set()
        return accept(body)

    with MllpListener(stopping, tls=server.server_context) as listener, client(listener.port, ours) as sender:
        stop.append(listener)
        assert sender.send(message()).outcome is Outcome.ACKNOWLEDGED


def test_each_wrong_file_is_named(authority: Authority, ours: TlsFiles, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"\xffno certificate")
    password = tmp_path / "password"
    password.write_text("wrong\n")
    locked = authority.sign("locked", password=b"secret")
    other = authority.sign("other")
    for files, told in [
        (replace(ours, ca_file=tmp_path / "missing"), "ca_file .* cannot be read"),
        (replace(ours, ca_file=garbage), "ca_file .* holds no certificates in PEM"),
        (replace(ours, cert_file=garbage), "is not PEM"),
        (replace(ours, key_file=tmp_path / "missing"), "key_file .* cannot be read"),
        (replace(ours, key_file=other.key_file), "key_file .*other.key is not the key of cert_file .*client.pem"),
        (locked, "has a password; name its key_password_file"),
        (replace(locked, key_password_file=password), "has another password"),
        (replace(locked, key_password_file=tmp_path / "missing"), "key_password_file .* cannot be read"),
    ]:
        for make in (files.client_context, files.server_context):
            with pytest.raises(TlsError, match=told):
                make()
    password.write_text("secret\n")
    replace(locked, key_password_file=password).client_context()
    with pytest.raises(TlsError, match="needs cert_file and key_file"):
        TlsFiles().server_context()
    with pytest.raises(TlsError, match="holds no certificates"):
        list(validities(replace(ours, cert_file=garbage)))


def test_until_when_certificates_are_valid(authority: Authority) -> None:
    soon = authority.sign("soon", valid=timedelta(days=5))
    found = {each.key: each.ends - datetime.now(UTC) for each in validities(soon)}
    assert found["cert_file"] < timedelta(days=6) < timedelta(days=300) < found["ca_file"]
