"""The MLLP client against a peer that misbehaves in each of the 17 ways, over real sockets with short deadlines."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from integrations.errors import FramingError
from integrations.hl7.ack import AckPolicy, Decision, Outcome, control_id_of
from integrations.hl7.connect import open_connection
from integrations.hl7.faults import Fault
from integrations.hl7.mllp import Endpoint, MllpClient
from integrations.hl7.simulator import LisSimulator, run_simulator
from tests.hl7_examples import message
from tests.support import wait_for

CONNECT, SEND = 1.0, 1.0
ACK = 1.0  # where no acknowledgement is to come
PATIENT = 10.0  # where one is to come, be the machine as busy as it may
SLACK = 2.0  # what a busy machine may add to a deadline

EXPECTED = {
    Fault.REFUSE: (Outcome.REFUSED, "no connection: Connection refused", Decision.BACKOFF),
    Fault.RESET: (Outcome.UNKNOWN, "broke before the acknowledgement", Decision.RESEND),
    Fault.SILENT: (Outcome.UNKNOWN, "no acknowledgement within 1 s", Decision.RESEND),
    Fault.HALF_OPEN: (Outcome.UNKNOWN, "no acknowledgement within 1 s", Decision.RESEND),
    Fault.SLOW: (Outcome.UNKNOWN, "no acknowledgement within 1 s", Decision.RESEND),
    Fault.SPLIT_ACK: (Outcome.ACKNOWLEDGED, "answered AA", Decision.DELIVERED),
    Fault.DOUBLE_ACK: (Outcome.ACKNOWLEDGED, "answered AA", Decision.DELIVERED),
    Fault.WRONG_ID: (Outcome.UNKNOWN, "1 for other messages were discarded", Decision.RESEND),
    Fault.AE: (Outcome.REJECTED, "answered AE", Decision.PARK),
    Fault.AR: (Outcome.REJECTED, "answered AR", Decision.RETRY),
    Fault.CR: (Outcome.REJECTED, "answered CR", Decision.RETRY),
    Fault.GARBAGE: (Outcome.UNKNOWN, "a garbled answer", Decision.RESEND),
    Fault.HUGE_ACK: (Outcome.UNKNOWN, "a garbled answer: an MLLP block of more than 65536 bytes", Decision.RESEND),
    Fault.LATE_ACK: (Outcome.UNKNOWN, "no acknowledgement within 1 s", Decision.RESEND),
    Fault.LF_LINES: (Outcome.ACKNOWLEDGED, "answered AA", Decision.DELIVERED),
    Fault.CLOSE_AFTER_RECEIPT: (Outcome.UNKNOWN, "closed before the acknowledgement", Decision.RESEND),
    Fault.ONE_SESSION: (Outcome.ACKNOWLEDGED, "answered AA", Decision.DELIVERED),
}

WAITS = {fault for fault, (_, reason, _) in EXPECTED.items() if "no acknowledgement" in reason or "discarded" in reason}


def endpoint(simulator: LisSimulator, ack_timeout: float = PATIENT) -> Endpoint:
    return Endpoint("lis", simulator.host, simulator.port, CONNECT, SEND, ack_timeout)


class CountingConnect:
    """Opens real connections and counts them."""

    def __init__(self) -> None:
        self.opened = 0

    def __call__(self, host: str, port: int, timeout: float) -> socket.socket:
        self.opened += 1
        return open_connection(host, port, timeout)


@contextmanager
def bounded(limit: float = CONNECT + SEND + ACK + SLACK) -> Iterator[None]:
    """Fail if the block takes longer than the deadlines of one call allow."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < limit


def test_every_fault_has_its_expectation() -> None:
    assert set(EXPECTED) == set(Fault)
    assert len(Fault) == 17


@pytest.mark.parametrize("fault", list(Fault))
def test_each_fault_ends_by_the_deadline_and_heals(fault: Fault) -> None:
    outcome, reason, decision = EXPECTED[fault]
    ack_timeout = ACK if fault in WAITS else PATIENT
    body = message()
    with (
        LisSimulator(fault=fault) as simulator,
        MllpClient(endpoint(simulator, ack_timeout)) as client,
    ):
        with bounded(CONNECT + SEND + ack_timeout + SLACK):
            delivery = client.send(body)
        assert (delivery.outcome, delivery.decision(AckPolicy())) == (outcome, decision)
        assert reason in delivery.reason
        if delivery.ack:
            assert delivery.ack.control_id == control_id_of(body)
        simulator.heal()
        wait_for(lambda: client.send(body).reason == "answered AA", PATIENT, what="AA for the same bytes")
        # Whatever happened, the receiver saw one message, perhaps twice.
        assert {received.body for received in simulator.messages} == {body}


def test_late_acknowledgements_are_never_credited_to_another_message() -> None:
    first, second = message(1), message(2)
    with LisSimulator(fault=Fault.LATE_ACK) as simulator, MllpClient(endpoint(simulator, ACK)) as client:
        assert client.send(first).outcome is Outcome.UNKNOWN
        crossed = client.send(second)  # is answered with the acknowledgement of the first
        assert crossed.outcome is Outcome.UNKNOWN
        assert "1 for other messages" in crossed.reason
        wait_for(lambda: client.send(second).outcome is Outcome.ACKNOWLEDGED, PATIENT, what="its own, late")


def test_a_second_acknowledgement_left_in_the_pipe_is_not_taken_for_the_next_message() -> None:
    connect = CountingConnect()
    with LisSimulator(fault=Fault.DOUBLE_ACK) as simulator, MllpClient(endpoint(simulator), connect=connect) as client:
        for number in range(1, 6):
            delivery = client.send(message(number))
            assert delivery.ack is not None
            assert delivery.ack.control_id == control_id_of(message(number))
    assert connect.opened == 1


def test_an_old_answer_to_the_same_message_is_not_the_answer_to_its_repeat() -> None:
    body = message()
    rejection = f"\x0bMSH|^~\\&|\rMSA|AE|{control_id_of(body)}\r\x1c\r".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        answered = pool.submit(_answer_once, listener, rejection * 2)
        with MllpClient(Endpoint("lis", "127.0.0.1", listener.getsockname()[1], CONNECT, SEND, 3.0)) as client:
            assert client.send(body).outcome is Outcome.REJECTED
            with answered.result(5):
                # Nobody answers any more, and the second AE was an answer to what was sent before.
                assert client.send(body).outcome is Outcome.UNKNOWN


def _answer_once(listener: socket.socket, answer: bytes) -> socket.socket:
    peer, _ = listener.accept()
    peer.recv(65536)
    peer.sendall(answer)
    return peer


def test_one_connection_is_kept_and_renewed_when_the_peer_closed_it() -> None:
    connect = CountingConnect()
    with LisSimulator() as simulator, MllpClient(endpoint(simulator), connect=connect) as client:
        assert [client.send(message(number)).outcome for number in (1, 2, 3)] == [Outcome.ACKNOWLEDGED] * 3
        assert connect.opened == 1
        simulator.heal()  # closes every connection
        assert client.send(message(4)).outcome is Outcome.ACKNOWLEDGED
        assert connect.opened == 2


def test_a_receiver_of_one_session_serves_the_first_and_turns_the_second_away() -> None:
    with (
        LisSimulator(fault=Fault.ONE_SESSION) as simulator,
        MllpClient(endpoint(simulator)) as first,
        MllpClient(endpoint(simulator)) as second,
    ):
        assert first.send(message(1)).outcome is Outcome.ACKNOWLEDGED
        assert second.send(message(2)).outcome is Outcome.UNKNOWN
        assert first.send(message(3)).outcome is Outcome.ACKNOWLEDGED
        first.close()
        wait_for(lambda: simulator.connections == 0, 5, what="the end of the first session")
        assert second.send(message(2)).outcome is Outcome.ACKNOWLEDGED


def test_the_deadline_for_sending_ends_a_call_that_nobody_reads() -> None:
    huge = message() + b"NTE|1|L|" + b"x" * 30_000_000 + b"\r"
    with LisSimulator(fault=Fault.HALF_OPEN) as simulator, MllpClient(endpoint(simulator)) as client:
        with bounded():
            delivery = client.send(huge)
        assert delivery.outcome is Outcome.UNKNOWN
        assert "not all bytes were taken within 1 s" in delivery.reason


def test_bytes_that_trickle_in_do_not_move_the_deadline() -> None:
    with LisSimulator(fault=Fault.SLOW, pause_seconds=1.9) as simulator:
        target = Endpoint("lis", simulator.host, simulator.port, ack_timeout=2)
        with bounded(3.4), MllpClient(target) as client:  # a deadline that starts anew with each byte ends at 3.8 s
            assert client.send(message()).outcome is Outcome.UNKNOWN


def test_the_deadline_for_connecting_ends_a_call_that_nobody_accepts() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # fill the queue of a listener that never accepts
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        with bounded(), MllpClient(Endpoint("lis", "127.0.0.1", listener.getsockname()[1], 0.4, SEND, ACK)) as client:
            delivery = client.send(message())
        for one in waiting:
            one.close()
    assert (delivery.outcome, delivery.reason) == (Outcome.REFUSED, "no connection: timed out")


def test_the_deadline_is_measured_on_the_clock_that_is_passed_in() -> None:
    times = iter(range(0, 10_000, 100))
    with LisSimulator(fault=Fault.SILENT) as simulator:
        target = Endpoint("lis", simulator.host, simulator.port, ack_timeout=30)
        with bounded(), MllpClient(target, clock=lambda: float(next(times))) as client:
            assert client.send(message()).outcome is Outcome.UNKNOWN


def test_an_interrupt_while_waiting_drops_the_connection() -> None:
    connect = CountingConnect()
    calls: list[int] = []

    def clock() -> float:
        calls.append(1)
        if len(calls) == 3:  # the start, the deadline, and then the first look at what remains
            raise KeyboardInterrupt
        return time.monotonic()

    with LisSimulator() as simulator, MllpClient(endpoint(simulator), clock=clock, connect=connect) as client:
        with pytest.raises(KeyboardInterrupt):
            client.send(message(1))
        delivery = client.send(message(2))
    assert (delivery.outcome, connect.opened) == (Outcome.ACKNOWLEDGED, 2)


@pytest.mark.parametrize(
    ("host", "known"), [("localhost", True), ("no-such-host.invalid", False), ("a" * 300, False), ("..", False)]
)
def test_names_are_looked_up_within_the_deadline(host: str, known: bool) -> None:
    with LisSimulator() as simulator, bounded():
        client = MllpClient(Endpoint("lis", host, simulator.port, CONNECT, SEND, ACK))
        trouble = client.probe()
        client.close()
    assert (trouble is None) is known


@pytest.mark.parametrize("body", [b"PID|1\r", b"MSH|^~\\&|a\r", message() + b"\x1c\r\x0bMSH"])
def test_what_cannot_be_acknowledged_or_framed_is_not_sent(body: bytes) -> None:
    with LisSimulator() as simulator, MllpClient(endpoint(simulator)) as client:
        with pytest.raises(FramingError):
            client.send(body)
        assert simulator.connections == 0


def test_the_simulator_of_the_command_line_keeps_what_it_gets(tmp_path: Path) -> None:
    said: list[str] = []
    stop = threading.Event()

    def told(line: str) -> None:
        said.append(line)

    serve: Callable[[], None] = lambda: run_simulator(0, out=tmp_path / "out", echo=told, stop=stop)  # noqa: E731
    server = threading.Thread(target=serve)
    server.start()
    port = int(wait_for(lambda: said, 5, what="the simulator's first line")[0].rsplit(":", 1)[1])
    with MllpClient(Endpoint("lis", "127.0.0.1", port)) as client:
        assert client.send(message()).outcome is Outcome.ACKNOWLEDGED
    stop.set()
    server.join(5)
    assert not server.is_alive()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000001.hl7"]
    assert (tmp_path / "out" / "000001.hl7").read_bytes() == message()
    assert said[1] == f"1: control id {control_id_of(message())}, {len(message())} bytes"
    assert said[2] == "LIS simulator stopped after 1 messages"
