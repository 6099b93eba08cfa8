"""Interoperability with python-hl7: our client to its asyncio server, its senders to our listener, TLS included."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from asyncio import IncompleteReadError
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hl7
import hl7.mllp
import pytest

from integrations.hl7.ack import AckCode, Outcome, build_ack, control_id_of
from integrations.hl7.header import decode_message
from integrations.hl7.listener import MllpListener
from integrations.hl7.message import build_message
from integrations.hl7.mllp import Endpoint, MllpClient
from integrations.hl7.reception import new_control_id
from integrations.tls import ClientTls, TlsFiles
from tests.certificates import Authority
from tests.hl7_examples import PLAIN, PROFILE, hostile, message
from tests.integration.test_mllp_listener import NOW
from tests.order_examples import Lis
from tests.unit.test_hl7_oru import HOSTILE_TEXT


@dataclass
class ThirdPartyLis:
    """What the other server received, parsed by it."""

    port: int = 0
    code: str = "AA"
    messages: list[Any] = field(default_factory=list)
    connections: int = 0


@contextmanager
def third_party_lis(tls: TlsFiles | None = None) -> Iterator[ThirdPartyLis]:
    """Run python-hl7's server in a thread of its own."""
    lis = ThirdPartyLis()
    listening, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def session(reader: Any, writer: Any) -> None:
        lis.connections += 1
        try:
            while True:
                received = await reader.readmessage()
                lis.messages.append(received)
                writer.writemessage(received.create_ack(lis.code))
                await writer.drain()
        except IncompleteReadError:
            writer.close()

    async def serve() -> None:
        context = tls.server_context() if tls else None
        server = await hl7.mllp.start_hl7_server(
            session, "127.0.0.1", 0, encoding="utf-8", limit=8 * 1024 * 1024, ssl=context
        )
        lis.port = server.sockets[0].getsockname()[1]
        listening.set()
        async with server:
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert listening.wait(10)
    try:
        yield lis
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def lis() -> Iterator[ThirdPartyLis]:
    with third_party_lis() as running:
        yield running


def client(lis: ThirdPartyLis, tls: TlsFiles | None = None) -> MllpClient:
    return MllpClient(Endpoint("lis", "127.0.0.1", lis.port, 5, 5, 5), tls=ClientTls(tls, "localhost") if tls else None)


def test_many_messages_over_one_connection(lis: ThirdPartyLis) -> None:
    bodies = [message(number) for number in range(1, 21)]
    with client(lis) as sender:
        deliveries = [sender.send(body) for body in bodies]
    assert {delivery.reason for delivery in deliveries} == {"answered AA"}
    assert [str(received).rstrip("\r") for received in lis.messages] == [body.decode().rstrip("\r") for body in bodies]
    assert lis.connections == 1


@pytest.mark.parametrize("code", list(AckCode))
def test_its_acknowledgements_are_read(lis: ThirdPartyLis, code: AckCode) -> None:
    lis.code = code
    with client(lis) as sender:
        delivery = sender.send(message())
    assert delivery.ack is not None
    assert (delivery.ack.code, delivery.ack.control_id) == (code, control_id_of(message()))


def test_hostile_text_arrives_as_it_was_written(lis: ThirdPartyLis) -> None:
    result, profile = hostile(HOSTILE_TEXT)
    with client(lis) as sender:
        assert sender.send(build_message(result, profile, "lis").body).outcome is Outcome.ACKNOWLEDGED
    (received,) = lis.messages
    as_one_line = HOSTILE_TEXT.replace("\r", " ")
    for place in ["MSH.3", "PID.3.1.1", "PID.3.1.4", "PID.5.1.1", "PID.5.1.2", "OBR.2", "OBR.18", "SPM.2.1.2.2"]:
        segment, number, *rest = place.split(".")
        repetition, component, subcomponent = ([int(part) for part in rest] + [1, 1, 1])[:3]
        value = received.extract_field(segment, 1, int(number), repetition, component, subcomponent)
        assert value == as_one_line, place
    notes = [received.extract_field("NTE", number, 3) for number in range(1, 5)]
    assert notes == HOSTILE_TEXT.split("\r") * 2
    assert len(received.segments("OBX")) == 4


def test_a_message_far_above_one_read(lis: ThirdPartyLis) -> None:
    assert PLAIN.counts is not None
    many = tuple(f"Limitation {number}: {'ü' * 500}" for number in range(1500))
    result = replace(PLAIN, counts=replace(PLAIN.counts, limitations=many))
    body = build_message(result, PROFILE, "lis").body
    assert len(body) > 1_000_000
    with client(lis) as sender:
        assert sender.send(body).outcome is Outcome.ACKNOWLEDGED
    assert len(lis.messages[0].segments("NTE")) == 1502


def test_under_tls_with_client_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    bodies = [message(number) for number in range(1, 6)]
    with third_party_lis(authority.sign("server")) as lis:
        with client(lis, authority.sign("ours")) as sender:
            assert {sender.send(body).reason for body in bodies} == {"answered AA"}
        with client(lis, TlsFiles(authority.file)) as nameless:
            assert nameless.send(bodies[0]).outcome is not Outcome.ACKNOWLEDGED
    assert [str(received).rstrip("\r") for received in lis.messages] == [body.decode().rstrip("\r") for body in bodies]
    assert lis.connections == 1


class Orders:
    """A handler that keeps what comes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, body: bytes) -> bytes:
        self.texts.append(decode_message(body).rstrip("\r"))
        return build_ack(body, AckCode.AA, control_id=new_control_id(), now=NOW)


ORDERS = [Lis().orm(control_id="C1"), Lis().oml(control_id="C2"), Lis(charset="8859/1").oml(control_id="C3")]
TEXTS = [decode_message(order).rstrip("\r") for order in ORDERS]


@pytest.mark.parametrize("line_end", [b"\r", b"\r\n", b"\n"])
def test_mllp_send_to_our_listener(tmp_path: Path, line_end: bytes) -> None:
    """``mllp_send --loose`` takes what people have in files."""
    file, orders = tmp_path / "orders.hl7", Orders()
    file.write_bytes(b"".join(order.replace(b"\r", line_end) for order in ORDERS))
    with MllpListener(orders) as listener:
        program = str(Path(sys.executable).with_name("mllp_send"))
        command = [program, "--loose", "--port", str(listener.port), "--file", str(file), listener.host]
        sent = subprocess.run(command, capture_output=True, timeout=60, check=True, cwd=tmp_path)
    assert [sent.stdout.count(b"MSA|AA|" + control_id) for control_id in (b"C1", b"C2", b"C3")] == [1, 1, 1]
    assert orders.texts == TEXTS


@pytest.mark.parametrize("secure", [False, True])
async def test_its_asyncio_client_to_our_listener(tmp_path: Path, secure: bool) -> None:
    authority, orders = Authority(tmp_path), Orders()
    server, theirs = authority.sign("server"), authority.sign("theirs").client_context()
    options = {"ssl": theirs, "server_hostname": "localhost"} if secure else {}
    with MllpListener(orders, tls=server.server_context if secure else None) as listener:
        reader, writer = await hl7.mllp.open_hl7_connection("127.0.0.1", listener.port, encoding="utf-8", **options)
        for text in TEXTS[:2]:
            writer.writemessage(hl7.parse(text))
            await writer.drain()
            ack = await asyncio.wait_for(reader.readmessage(), 10)
            assert str(ack.segment("MSA")[1]) == "AA"
        writer.close()
        await writer.wait_closed()
    assert orders.texts == TEXTS[:2]
