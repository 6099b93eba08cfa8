"""The MLLP listener against peers over real sockets: good ones, slow ones, hostile ones, and many at once."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self

import pytest

from integrations.addresses import parse_networks
from integrations.errors import MessageNotTaken
from integrations.hl7.ack import AckCode, build_ack, control_id_of, read_ack
from integrations.hl7.framing import BlockReader, frame
from integrations.hl7.listener import ListenerLimits, MllpListener
from integrations.hl7.mllp import Endpoint, MllpClient
from tests.hl7_examples import message
from tests.support import wait_for

PATIENT = 10.0
NOW = datetime(2026, 11, 23, 10, 15, 1, tzinfo=UTC)


class Keeping:
    """A handler that keeps what it gets and answers AA."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, body: bytes) -> bytes:
        self.bodies.append(body)
        return build_ack(body, AckCode.AA, control_id=str(len(self.bodies)), now=NOW)


@contextmanager
def listening(
    handler: Callable[[bytes], bytes] | None = None, *, allowed: tuple[str, ...] = (), **limits: float
) -> Iterator[MllpListener]:
    kinds = {name: type(getattr(ListenerLimits(), name)) for name in limits}
    chosen = ListenerLimits(**{name: kinds[name](value) for name, value in limits.items()})
    with MllpListener(handler or Keeping(), limits=chosen, allowed=allowed) as listener:
        yield listener


class PlainPeer:
    """A socket and the blocks that come out of it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENT)
        self._blocks = BlockReader(1024 * 1024)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *bodies: bytes) -> None:
        self.socket.sendall(b"".join(frame(body) for body in bodies))

    def answer(self) -> bytes:
        """Give the next block; fails when the listener closes or is silent."""
        while (block := self._blocks.next_block()) is None:
            data = self.socket.recv(65536)
            assert data, "the listener has closed"
            self._blocks.feed(data)
        return block

    def code(self) -> str:
        return read_ack(self.answer()).code.value

    def is_closed(self) -> bool:
        """Wait until the listener has closed."""
        try:
            return self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True


def client(listener: MllpListener) -> MllpClient:
    return MllpClient(Endpoint("orders", listener.host, listener.port, 5, 5, PATIENT))


def test_many_messages_over_one_connection() -> None:
    keeping = Keeping()
    bodies = [message(number) for number in range(1, 21)]
    with listening(keeping) as listener, client(listener) as sender:
        assert {sender.send(body).reason for body in bodies} == {"answered AA"}
        assert listener.connections == 1
    assert keeping.bodies == bodies


def test_pipelined_messages_are_answered_in_their_order() -> None:
    bodies = [message(number) for number in range(1, 11)]
    with listening() as listener, PlainPeer(listener.port) as peer:
        peer.send(*bodies)
        assert [read_ack(peer.answer()).control_id for _ in bodies] == [control_id_of(body) for body in bodies]


def test_many_connections_at_once() -> None:
    keeping = Keeping()

    def deliver(number: int) -> str:
        with client(listener) as sender:
            return "".join(sender.send(message(number)).reason for _ in range(5))

    with listening(keeping) as listener, ThreadPoolExecutor(8) as pool:
        assert set(pool.map(deliver, range(1, 9))) == {"answered AA" * 5}
    assert len(keeping.bodies) == 40
    assert len(set(keeping.bodies)) == 8


def test_a_message_in_many_pieces_is_taken() -> None:
    with listening() as listener, PlainPeer(listener.port) as peer:
        for byte in frame(message()):
            peer.socket.sendall(bytes([byte]))
        assert peer.code() == "AA"


def test_enhanced_mode_commits_first_then_tells_the_outcome() -> None:
    head = b"MSH|^~\\&|L|H|S|F|2026||OML^O21|ID7|P|2.5.1|||AL|AL\r"
    with listening() as listener, PlainPeer(listener.port) as peer:
        peer.send(head)
        assert [peer.code(), peer.code()] == ["CA", "AA"]
        peer.send(build_ack(head, AckCode.CA, control_id="X", now=NOW))  # the sender commits our answer: no reply
        peer.send(head)
        assert peer.code() == "CA"


def test_one_that_sends_nothing_is_left_after_the_idle_time_and_holds_up_nobody() -> None:
    with listening(idle_seconds=0.3) as listener, PlainPeer(listener.port) as silent, PlainPeer(listener.port) as peer:
        peer.send(message())
        assert peer.code() == "AA"
        assert silent.is_closed()


def test_bytes_that_trickle_in_do_not_move_the_deadline_of_a_message() -> None:
    started = time.monotonic()
    with listening(block_seconds=0.5) as listener, PlainPeer(listener.port) as peer:
        peer.socket.settimeout(0.05)
        peer.socket.sendall(b"\x0bMSH")
        closed = False
        while not closed and time.monotonic() - started < PATIENT:
            try:
                peer.socket.sendall(b"x")
                closed = peer.socket.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
        assert closed


def test_one_that_does_not_read_its_answers_is_left() -> None:
    answer = b"MSH|^~\\&|X\rMSA|AA|1\rNTE|1||" + b"x" * 40_000 + b"\r"
    with listening(lambda _: answer, write_seconds=0.3) as listener, PlainPeer(listener.port) as peer:
        with pytest.raises(ConnectionError):
            peer.send(*[message()] * 10_000)
        wait_for(lambda: listener.connections == 0, PATIENT, what="the end of the session")


def test_too_large_a_message_is_rejected_before_it_is_whole() -> None:
    keeping = Keeping()
    with listening(keeping, max_bytes=10_000) as listener, PlainPeer(listener.port) as peer:
        peer.socket.sendall(b"\x0b" + message() + b"NTE|1||" + b"x" * 80_000)
        assert peer.code() == "AR"
        assert peer.is_closed()
    assert keeping.bodies == []


def test_too_many_segments_are_rejected_and_the_connection_goes_on() -> None:
    with listening(max_segments=50) as listener, PlainPeer(listener.port) as peer:
        peer.send(message() + b"NTE|1\r" * 60, message())
        assert [peer.code(), peer.code()] == ["AR", "AA"]


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\x1c\r", bytes(range(256))]
)
def test_a_peer_of_another_protocol_is_closed(noise: bytes) -> None:
    keeping = Keeping()
    with listening(keeping) as listener:
        with PlainPeer(listener.port) as peer:
            peer.socket.sendall(noise)
            assert peer.is_closed()
        with client(listener) as sender:
            assert sender.send(message()).reason == "answered AA"
    assert keeping.bodies == [message()]


def test_a_block_that_is_no_message_is_rejected() -> None:
    with listening() as listener, PlainPeer(listener.port) as peer:
        peer.send(b"hello")
        assert peer.code() == "AR"
        assert peer.is_closed()


def test_only_allowed_addresses_may_speak() -> None:
    with listening(allowed=("10.0.0.0/8", "::1")) as listener, PlainPeer(listener.port) as peer:
        assert peer.is_closed()
    with listening(allowed=("127.0.0.0/8",)) as listener, client(listener) as sender:
        assert sender.send(message()).reason == "answered AA"
    with pytest.raises(ValueError, match="does not appear to be"):
        parse_networks(["lis.example"])


def test_one_connection_too_many_is_closed_and_the_others_go_on() -> None:
    with listening(max_connections=2) as listener, PlainPeer(listener.port) as first:
        first.send(message())
        assert first.code() == "AA"
        with PlainPeer(listener.port) as second:
            second.send(message())
            assert second.code() == "AA"
            with PlainPeer(listener.port) as third:
                assert third.is_closed()
        wait_for(lambda: listener.connections == 1, PATIENT, what="the end of the second")
        with PlainPeer(listener.port) as fourth:
            fourth.send(message())
            assert fourth.code() == "AA"


def test_a_handler_that_fails_is_answered_and_the_listener_goes_on() -> None:
    keeping = Keeping()

    def handler(body: bytes) -> bytes:
        if body == message(1):
            raise KeyError("Mueller")
        if body == message(2):
            raise MessageNotTaken("the database is away")
        return keeping(body)

    with listening(handler) as listener, PlainPeer(listener.port) as peer:
        peer.send(message(1))
        assert peer.code() == "AE"
        peer.send(message(2))
        assert peer.is_closed()
        with client(listener) as sender:
            assert sender.send(message(3)).reason == "answered AA"
    assert keeping.bodies == [message(3)]


def test_peers_that_reset_do_no_harm() -> None:
    with listening() as listener:
        for piece in (b"", b"\x0bMSH|", frame(message())):
            with PlainPeer(listener.port) as peer:
                peer.socket.sendall(piece)
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with client(listener) as sender:
            assert sender.send(message()).reason == "answered AA"


def test_stopping_answers_what_is_at_work_and_takes_no_more() -> None:
    begun, go_on = threading.Event(), threading.Event()
    keeping = Keeping()

    def slow(body: bytes) -> bytes:
        begun.set()
        go_on.wait(PATIENT)
        return keeping(body)

    with listening(slow) as listener, PlainPeer(listener.port) as idle, PlainPeer(listener.port) as peer:
        peer.send(message(1), message(2))
        assert begun.wait(PATIENT)
        stopping = threading.Thread(target=listener.stop)
        stopping.start()
        assert idle.is_closed()
        go_on.set()
        assert peer.code() == "AA"
        assert peer.is_closed()
        stopping.join(PATIENT)
        assert not stopping.is_alive()
        with pytest.raises(OSError):  # noqa: PT011  # refused
            socket.create_connection((listener.host, listener.port), timeout=1)
    assert keeping.bodies == [message(1)]


def test_stopping_does_not_wait_for_a_handler_that_hangs() -> None:
    begun, end = threading.Event(), threading.Event()

    def hanging(_: bytes) -> bytes:
        begun.set()
        end.wait(60)
        return b""

    with MllpListener(hanging) as listener, PlainPeer(listener.port) as peer:
        peer.send(message())
        assert begun.wait(PATIENT)
        started = time.monotonic()
        listener.stop(0.2)
        assert time.monotonic() - started < PATIENT
        assert peer.is_closed()
        end.set()


def test_an_address_that_is_taken_is_an_error_at_the_start() -> None:
    with listening() as listener, pytest.raises(OSError, match="in use"):
        MllpListener(Keeping(), port=listener.port).start()
