"""Interoperability with HL7 packages of Node.js in both directions, under TLS with client certificates where they can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from integrations.hl7.ack import AckCode, Outcome, build_ack, control_id_of, read_ack
from integrations.hl7.listener import MllpListener
from integrations.hl7.message import build_message
from integrations.hl7.mllp import Endpoint, MllpClient
from integrations.hl7.reception import new_control_id
from integrations.hl7.result import Patient
from integrations.tls import ClientTls, TlsFiles
from tests.certificates import Authority
from tests.hl7_examples import PLAIN, PROFILE, message
from tests.integration.test_mllp_listener import NOW
from tests.node_peers import NodePeer, pem_arguments
from tests.order_examples import Lis
from tests.support import wait_for

UMLAUTS = replace(PLAIN, patient=Patient("123456", "HOSP", "Müller-Łukasz", "Zoë"))
MESSAGES = [build_message(UMLAUTS, PROFILE, "lis").body, *(message(number) for number in range(2, 6))]
ORDERS = [Lis().orm(control_id=f"ORDER{number}") for number in range(1, 6)]
ORDERS += [Lis().oml(control_id="ORDER6"), Lis().merge("123456^^^HOSP^MR", "99^^^HOSP^MR", control_id="ORDER7")]


@pytest.fixture(params=["plain", "tls"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority | None:
    return Authority(tmp_path) if request.param == "tls" else None


def signed(authority: Authority | None, name: str) -> TlsFiles | None:
    return authority.sign(name) if authority else None


def client(port: int, files: TlsFiles | None = None) -> MllpClient:
    tls = ClientTls(files, "localhost") if files else None
    return MllpClient(Endpoint("lis", "127.0.0.1", port, 10, 10, 30), tls=tls)


def lines(body: str | bytes) -> list[str]:
    """The segments, whatever separates them and however a block is wrapped."""
    text = body.decode() if isinstance(body, bytes) else body
    return [line for line in text.strip("\x0b\x1c\r\n").replace("\n", "\r").split("\r") if line]


def test_our_client_to_simple_hl7() -> None:
    with NodePeer("simple_hl7.js", "server") as lis:
        with client(lis.wait_said("port")[0]) as sender:
            deliveries = [sender.send(body) for body in MESSAGES]
        assert [each.reason for each in deliveries] == ["answered AA"] * len(MESSAGES)
        assert [lines(body) for body in lis.wait_said("body", len(MESSAGES))] == [lines(body) for body in MESSAGES]


def test_our_client_to_node_hl7_server(authority: Authority | None) -> None:
    with NodePeer("node_hl7_server.js", *pem_arguments(signed(authority, "server"))) as lis:
        port = lis.wait_said("port")[0]
        # It answers every earlier message of a connection once more: those answers must not be taken for ours.
        with client(port, signed(authority, "ours")) as sender:
            deliveries = [sender.send(body) for body in MESSAGES]
        assert [each.outcome for each in deliveries] == [Outcome.ACKNOWLEDGED] * len(MESSAGES)
        assert [each.ack.control_id for each in deliveries if each.ack] == [control_id_of(body) for body in MESSAGES]
        sent = {control_id_of(body) for body in MESSAGES}
        wait_for(lambda: set(lis.said("control_id")) == sent, 30, what="each message, told by the server")
        assert lines(lis.said("body")[0]) == lines(MESSAGES[0])
        assert lis.said("error") == []


class Orders:
    """A handler that keeps what comes."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, body: bytes) -> bytes:
        self.bodies.append(body)
        return build_ack(body, AckCode.AA, control_id=new_control_id(), now=NOW)


def taken(sender: NodePeer, orders: Orders) -> None:
    sender.tell(*ORDERS)
    acks = [read_ack(ack.encode()) for ack in sender.wait_said("ack", len(ORDERS))]
    assert [(ack.code, ack.control_id) for ack in acks] == [(AckCode.AA, control_id_of(order)) for order in ORDERS]
    assert [lines(body) for body in orders.bodies] == [lines(order) for order in ORDERS]


def test_simple_hl7_to_our_listener() -> None:
    orders = Orders()
    with MllpListener(orders) as listener, NodePeer("simple_hl7.js", "client", str(listener.port)) as sender:
        taken(sender, orders)


def test_node_hl7_client_to_our_listener(authority: Authority | None) -> None:
    orders, server = Orders(), signed(authority, "server")
    with (
        MllpListener(orders, tls=server.server_context if server else None) as listener,
        NodePeer("node_hl7_client.js", str(listener.port), *pem_arguments(signed(authority, "theirs"))) as sender,
    ):
        taken(sender, orders)
