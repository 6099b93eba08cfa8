"""The sender on a real database against the simulated LIS: what each answer does to the message."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hl7
import pytest

from db.errors import DatabaseUnavailable
from db.outbox import MAX_ATTEMPTS
from db.session import Database
from db.states import MessageState
from db.views import MessageView
from flows.backoff import Backoff
from flows.deliver import MOST_SILENT, Sender
from flows.fates import MAX_REJECTED
from flows.transports import BatchTransport, MllpTransport, Transport
from integrations.hl7.ack import AckCode, AckPolicy, Decision, control_id_of
from integrations.hl7.batch_file import BatchFolder
from integrations.hl7.faults import Fault
from integrations.hl7.mllp import Delivery, Endpoint, MllpClient
from integrations.hl7.simulator import LisSimulator
from tests.database_template import give_tables
from tests.hl7_examples import message
from tests.support import free_port

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


class Outgoing:
    """A database with messages for one destination, and its sender; both clocks are the test's own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.now = START
        give_tables(folder / "sphero.db")
        self.database = Database(f"sqlite:///{folder / 'sphero.db'}", lambda: self.now)
        self.sender = self._sender(port)
        self._cases = 0

    def _sender(self, port: int) -> Sender:
        self.transport = MllpTransport(MllpClient(Endpoint("lis", "127.0.0.1", port, 2, 2, 0.5)), AckPolicy())
        return Sender(
            name="lis",
            database=self.database,
            transport=self.transport,
            owner="test/sender",
            lease_seconds=30,
            clock=lambda: self.now,
            monotonic=self._seconds,
            random=lambda: 1.0,
            pause=self.wait,
            backoff=Backoff(first=10, longest=100),
            resend=Backoff(first=10, longest=100),
        )

    def _seconds(self) -> float:
        return self.now.timestamp()

    def queue(self, revision: int, case_id: str | None = None) -> str:
        """Queue a message; gives the case's id."""
        body = message(revision)
        with self.database.transaction("test") as work:
            self._cases += 1
            case_id = case_id or work.identities.find_or_create(f"A{self._cases}")
            work.outbox.enqueue(case_id, revision, "lis", order_key=case_id, control_id=control_id_of(body), body=body)
        return case_id

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def messages(self) -> tuple[MessageView, ...]:
        with self.database.reading() as work:
            return work.outbox.list()


@contextmanager
def outgoing(folder: Path, port: int) -> Iterator[Outgoing]:
    out = Outgoing(folder, port)
    try:
        yield out
    finally:
        out.sender.close()
        out.database.close()


def test_accepted_messages_are_delivered_in_order(tmp_path: Path) -> None:
    with LisSimulator() as lis, outgoing(tmp_path, lis.port) as out:
        case_id = out.queue(1)
        out.queue(2, case_id)
        tried = out.sender.drain()
        assert [each.state for each in tried] == [MessageState.DELIVERED] * 2
        assert [each.ack_code for each in out.messages()] == ["AA", "AA"]
        assert [received.body for received in lis.messages] == [message(1), message(2)]
        assert out.sender.drain() == ()


def test_a_destination_that_is_away_costs_a_message_nothing(tmp_path: Path) -> None:
    port = free_port()
    with outgoing(tmp_path, port) as out:
        out.queue(1)
        assert out.sender.drain() == ()
        assert out.sender.problem is not None
        (waiting,) = out.messages()
        assert (waiting.state, waiting.attempts) == (MessageState.WAITING, 0)
        assert not out.sender.is_due(), "it is tried again only after a while"
        out.wait(10)
        assert out.sender.is_due()
        with LisSimulator(port):
            assert out.sender.reachable()
            out.sender.drain()
        assert out.messages()[0].state is MessageState.DELIVERED
        assert out.sender.problem is None


def test_trying_out_of_turn_does_not_prolong_the_wait(tmp_path: Path) -> None:
    with outgoing(tmp_path, free_port()) as out:
        out.queue(1)
        for _ in range(8):
            out.sender.drain()
        out.wait(10)
        assert out.sender.is_due()


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.WRONG_ID, Fault.GARBAGE, Fault.CLOSE_AFTER_RECEIPT])
def test_without_a_valid_answer_the_same_bytes_go_out_again(tmp_path: Path, fault: Fault) -> None:
    with LisSimulator(fault=fault) as lis, outgoing(tmp_path, lis.port) as out:
        out.queue(1)
        (tried,) = out.sender.drain()
        assert (tried.state, tried.attempts) == (MessageState.UNKNOWN, 1)
        assert out.sender.drain() == (), "not before its time"
        lis.heal()
        out.wait(10)
        (tried,) = out.sender.drain()
        assert tried.state is MessageState.DELIVERED
        assert {received.body for received in lis.messages} == {message(1)}
        assert len(lis.messages) == 2


def test_an_error_parks_the_message_and_blocks_only_its_own_case(tmp_path: Path) -> None:
    with LisSimulator(fault=Fault.AE) as lis, outgoing(tmp_path, lis.port) as out:
        case_id = out.queue(1)
        out.queue(2, case_id)
        (tried,) = out.sender.drain()
        assert (tried.state, tried.ack_code) == (MessageState.PARKED, "AE")
        assert tried.ack is not None
        lis.heal()
        out.queue(3)
        out.sender.drain()
        assert [each.state for each in out.messages()] == [
            MessageState.PARKED,
            MessageState.WAITING,
            MessageState.DELIVERED,
        ]


def test_a_rejection_is_tried_a_few_times_and_then_parked(tmp_path: Path) -> None:
    with LisSimulator(fault=Fault.AR) as lis, outgoing(tmp_path, lis.port) as out:
        out.queue(1)
        states = []
        for _ in range(MAX_REJECTED):
            (tried,) = out.sender.drain()
            states.append(tried.state)
            out.wait(1000)
        assert states == [MessageState.RETRY] * (MAX_REJECTED - 1) + [MessageState.PARKED]
        assert len({received.body for received in lis.messages}) == 1


def test_a_message_whose_sender_died_goes_out_again(tmp_path: Path) -> None:
    with LisSimulator() as lis, outgoing(tmp_path, lis.port) as out:
        out.queue(1)
        with out.database.transaction("test") as work:
            work.outbox.claim_due("lis", "test/dead", 30)
        assert out.sender.drain() == ()
        out.wait(31)
        (tried,) = out.sender.drain()
        assert (tried.state, tried.attempts) == (MessageState.DELIVERED, 2)


def test_the_gap_between_messages_is_kept(tmp_path: Path) -> None:
    with LisSimulator() as lis, outgoing(tmp_path, lis.port) as out:
        out.sender._gap_seconds = 5.0
        out.queue(1)
        out.queue(2)
        out.sender.drain()
        assert out.now == START + timedelta(seconds=5)


def test_stopped_it_ends_after_the_message_it_is_at(tmp_path: Path) -> None:
    with LisSimulator(on_message=lambda _: out.sender.stop()) as lis, outgoing(tmp_path, lis.port) as out:
        out.queue(1)
        out.queue(2)
        assert len(out.sender.drain()) == 1


def test_a_destination_that_never_answers_is_left_alone_for_a_while(tmp_path: Path) -> None:
    with LisSimulator(fault=Fault.CLOSE_AFTER_RECEIPT) as lis, outgoing(tmp_path, lis.port) as out:
        for number in range(1, 7):
            out.queue(number)
        assert len(out.sender.drain()) == MOST_SILENT
        assert out.sender.problem is not None
        assert out.sender.drain() == ()
        states = [(each.state, each.attempts) for each in out.messages()]
        assert states == [(MessageState.UNKNOWN, 1)] * MOST_SILENT + [(MessageState.WAITING, 0)] * 3
        lis.heal()
        out.wait(10)
        out.sender.drain()
        assert {each.state for each in out.messages()} == {MessageState.DELIVERED}
        assert out.sender.problem is None


def test_a_destination_that_goes_away_costs_those_taken_with_others_nothing(tmp_path: Path) -> None:
    with LisSimulator() as lis, outgoing(tmp_path, lis.port) as out:
        out.sender._transport = SlowTransport(out.sender._transport, lambda: lis.close() if lis.messages else None)
        for number in range(1, 5):
            out.queue(number)
        out.sender.drain()
        first, second, *others = out.messages()
        assert first.state is MessageState.DELIVERED
        assert second.state is not MessageState.DELIVERED
        assert [(each.state, each.attempts) for each in others] == [(MessageState.WAITING, 0)] * 2


def test_an_answer_that_could_not_be_recorded_is_recorded_by_the_next_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LisSimulator() as lis, outgoing(tmp_path, lis.port) as out:
        out.queue(1)
        with monkeypatch.context() as patch:
            patch.setattr("db.outbox.Outbox.delivered", _full_disk)
            with pytest.raises(DatabaseUnavailable):
                out.sender.drain()
        assert out.messages()[0].state is MessageState.SENDING
        (tried,) = out.sender.drain()
        assert tried.state is MessageState.DELIVERED
        assert len(lis.messages) == 1


def _full_disk(*_: object, **__: object) -> bool:
    raise DatabaseUnavailable("the disk is full")


def test_leases_are_prolonged_while_a_slow_destination_answers(tmp_path: Path) -> None:
    with LisSimulator() as lis, outgoing(tmp_path, lis.port) as out:
        lis_takes = iter([15.0, 15.0, 15.0])
        out.sender._transport = SlowTransport(out.sender._transport, lambda: out.wait(next(lis_takes)))
        for number in range(1, 4):
            out.queue(number)
        assert [each.state for each in out.sender.drain()] == [MessageState.DELIVERED] * 3
        assert len(lis.messages) == 3


def test_parked_messages_are_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LisSimulator(fault=Fault.AE) as lis, outgoing(tmp_path, lis.port) as out:
        out.queue(1)
        out.sender.drain()
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in told] == [
        "message to lis is parked (answered AE): a person must look, see `sphero message list --state parked`"
    ]


def test_a_site_may_read_an_answer_differently(tmp_path: Path) -> None:
    with LisSimulator(fault=Fault.AE) as lis, outgoing(tmp_path, lis.port) as out:
        out.transport._policy = AckPolicy(overrides={AckCode.AE: Decision.DELIVERED})
        out.queue(1)
        (tried,) = out.sender.drain()
        assert (tried.state, tried.ack_code) == (MessageState.DELIVERED, "AE")


def test_attempts_without_a_valid_answer_end_in_parking(tmp_path: Path) -> None:
    with LisSimulator(fault=Fault.GARBAGE) as lis, outgoing(tmp_path, lis.port) as out:
        out.queue(1)
        for _ in range(MAX_ATTEMPTS):
            out.sender.drain()
            out.wait(1000)
        assert len(lis.messages) == MAX_ATTEMPTS
        (parked,) = out.messages()
        assert parked.state is MessageState.PARKED
        assert parked.reason is not None
        assert parked.reason.startswith(f"no valid answer to {MAX_ATTEMPTS} attempts; last: a garbled answer")


class SlowTransport:
    """Another transport, during whose attempts time passes."""

    in_one_file = False

    def __init__(self, inner: Transport, passes: Callable[[], object]) -> None:
        self._inner = inner
        self._passes = passes
        self.probe, self.close, self.decide = inner.probe, inner.close, inner.decide

    def send(self, messages: Sequence[MessageView]) -> Delivery:
        self._passes()
        return self._inner.send(messages)


class OutgoingFiles(Outgoing):
    """Messages that leave in files of two, or after a minute."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        super().__init__(folder, 0)

    def _sender(self, port: int) -> Sender:  # noqa: ARG002  # files need none
        return Sender(
            name="lis",
            database=self.database,
            transport=BatchTransport(BatchFolder(self.files)),
            owner="test/sender",
            lease_seconds=30,
            clock=lambda: self.now,
            at_once=2,
            patience_seconds=60,
            monotonic=self._seconds,
            random=lambda: 1.0,
            pause=self.wait,
            backoff=Backoff(first=10, longest=100),
        )

    def written(self) -> list[list[bytes]]:
        """The messages of each file, by its name."""
        return [
            [str(each).encode() for batch in hl7.parse_file(path.read_bytes().decode()) for each in batch]
            for path in sorted(self.files.iterdir())
        ]


def test_files_are_written_when_full_or_after_a_while_in_the_order_of_each_case(tmp_path: Path) -> None:
    out = OutgoingFiles(tmp_path)
    case_id = out.queue(1)
    assert out.sender.drain() == ()
    out.queue(2, case_id)
    assert out.sender.drain() == (), "the second one of a case waits for the first"
    out.queue(3)
    assert [each.state for each in out.sender.drain()] == [MessageState.DELIVERED] * 2
    out.wait(60)
    (tried,) = out.sender.drain()
    assert (tried.state, tried.ack_code, tried.batch) == (MessageState.DELIVERED, None, 2)
    assert tried.reason is not None
    assert tried.reason.startswith("in the file 0000000002-")
    assert out.written() == [[message(1), message(3)], [message(2)]]


def test_a_folder_that_is_away_costs_messages_nothing(tmp_path: Path) -> None:
    out = OutgoingFiles(tmp_path)
    out.queue(1)
    out.queue(2)
    out.files.rmdir()
    assert out.sender.drain() == ()
    assert out.sender.problem == "the folder is not there"
    out.files.mkdir()
    out.wait(10)
    assert len(out.sender.drain()) == 2
    assert [each.attempts for each in out.messages()] == [1, 1]


def test_a_file_whose_record_was_lost_is_written_again_the_same(tmp_path: Path) -> None:
    out = OutgoingFiles(tmp_path)
    out.queue(1)
    out.queue(2)
    with out.database.transaction("test") as work:
        taken = work.outbox.claim_due("lis", "test/dead", 30, most=2, in_one_file=True)
    BatchTransport(BatchFolder(out.files)).send(taken)
    (before,) = [(path.name, path.read_bytes()) for path in out.files.iterdir()]
    out.queue(3)
    out.queue(4)
    with out.database.transaction("test") as work:
        work.outbox.release_leases("test/dead")
    out.sender.drain()
    after = sorted((path.name, path.read_bytes()) for path in out.files.iterdir())
    assert after[0] == before
    assert out.written() == [[message(1), message(2)], [message(3), message(4)]]
