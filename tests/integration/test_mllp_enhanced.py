"""The client in the enhanced acknowledgement mode: a commit first, then what the application says, over one connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from integrations.hl7.ack import AckCode, AckPolicy, Decision, Outcome, build_ack, control_id_of, read_ack
from integrations.hl7.framing import BlockReader, frame
from integrations.hl7.listener import MllpListener
from integrations.hl7.mllp import Delivery, Endpoint, MllpClient
from tests.hl7_examples import message

PATIENT = 10.0
NOW = datetime(2026, 11, 23, 10, 15, 1, tzinfo=UTC)
POLICY = AckPolicy(wants_application_ack=True)


def enhanced(body: bytes, commit: str = "AL", application: str = "AL") -> bytes:
    """Ask in MSH-15 and MSH-16."""
    header, rest = body.split(b"\r", 1)
    fields = header.split(b"|")
    fields += [b""] * (16 - len(fields))
    fields[14:16] = [commit.encode(), application.encode()]
    return b"|".join(fields) + b"\r" + rest


MESSAGE = enhanced(message())


def answer(code: AckCode, *, to: bytes = MESSAGE, asks: str = "") -> bytes:
    ack = build_ack(to, code, control_id=f"R{code}", now=NOW)
    return enhanced(ack, asks, "NE") if asks else ack


class Peer:
    """Answers each message with a script, and keeps whatever comes."""

    def __init__(self, script: tuple[bytes, ...]) -> None:
        self.came: list[bytes] = []
        self._script = script
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        connection.settimeout(PATIENT)
        blocks = BlockReader(1_000_000)
        with self._socket, connection:
            while data := connection.recv(65536):
                blocks.feed(data)
                while (body := blocks.next_block()) is not None:
                    self.came.append(body)
                    if b"|ORU^R01" in body:
                        connection.sendall(b"".join(frame(each) for each in self._script))


@contextmanager
def delivered(*script: bytes, ack_timeout: float = PATIENT, wants: bool = True) -> Iterator[tuple[Delivery, Peer]]:
    peer = Peer(script)
    endpoint = Endpoint("lis", "127.0.0.1", peer.port, 5, 5, ack_timeout, application_ack=wants)
    with MllpClient(endpoint) as client:
        delivery = client.send(MESSAGE)
    peer.thread.join(PATIENT)
    assert not peer.thread.is_alive()
    yield delivery, peer


@pytest.mark.parametrize(
    ("script", "decision", "code"),
    [
        (("CA", "AA"), Decision.DELIVERED, "AA"),
        (("CA", "AE"), Decision.PARK, "AE"),
        (("CA", "AR"), Decision.RETRY, "AR"),
        (("CA", "CA", "AA"), Decision.DELIVERED, "AA"),
        (("AA",), Decision.DELIVERED, "AA"),
        (("CE",), Decision.PARK, "CE"),
        (("CR",), Decision.RETRY, "CR"),
    ],
)
def test_the_last_answer_decides(script: tuple[str, ...], decision: Decision, code: str) -> None:
    with delivered(*(answer(AckCode(each)) for each in script)) as (delivery, peer):
        assert (delivery.decision(POLICY), delivery.code) == (decision, code)
        assert peer.came == [MESSAGE]


def test_a_commit_alone_is_not_the_end_where_the_application_is_to_answer() -> None:
    started = time.monotonic()
    foreign = answer(AckCode.AA, to=enhanced(message(2)))
    with delivered(answer(AckCode.CA), foreign, ack_timeout=0.5) as (delivery, _):
        assert delivery.outcome is Outcome.UNKNOWN
        assert delivery.decision(POLICY) is Decision.RESEND
        assert delivery.reason.startswith("committed (CA), and then: no acknowledgement within 0.5 s, 1 for other")
        assert delivery.code is AckCode.CA
        assert read_ack(delivery.raw).code is AckCode.CA
    assert time.monotonic() - started < PATIENT


def test_a_commit_is_the_end_where_nothing_more_is_asked_for() -> None:
    with delivered(answer(AckCode.CA), wants=False) as (delivery, _):
        assert delivery.decision(AckPolicy()) is Decision.DELIVERED


@pytest.mark.parametrize(("asks", "committed"), [("AL", True), ("SU", True), ("NE", False), ("ER", False), ("", False)])
def test_an_application_acknowledgement_is_committed_if_it_asks_for_it(asks: str, committed: bool) -> None:
    final = answer(AckCode.AA, asks=asks)
    with delivered(answer(AckCode.CA), final) as (delivery, peer):
        assert delivery.decision(POLICY) is Decision.DELIVERED
        commits = [read_ack(body) for body in peer.came[1:]]
    assert [(each.code, each.control_id) for each in commits] == ([(AckCode.CA, "RAA")] if committed else [])


def test_our_client_and_our_listener_speak_it_with_each_other() -> None:
    taken: list[bytes] = []

    def handler(body: bytes) -> bytes:
        taken.append(body)
        return answer(AckCode.AA, to=body, asks="AL")

    bodies = [enhanced(message(number)) for number in range(1, 6)]
    with MllpListener(handler) as listener:
        endpoint = Endpoint("lis", "127.0.0.1", listener.port, 5, 5, PATIENT, application_ack=True)
        with MllpClient(endpoint) as client:
            deliveries = [client.send(body) for body in bodies]
        assert [each.decision(POLICY) for each in deliveries] == [Decision.DELIVERED] * 5
        assert [each.ack.control_id for each in deliveries if each.ack] == [control_id_of(body) for body in bodies]
    assert taken == bodies
