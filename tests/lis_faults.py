"""A LIS that misbehaves in each of the 17 ways, again and again, and what holds afterwards.

    python -m tests.lis_faults                       # each fault 50 times; figures into RESULTS
    python -m tests.lis_faults --rounds 5 --fault late-ack --json figures.json

A round: two versions of a case's report are queued, the sender of the service delivers them from a real database to a
LIS with the fault, every other round under TLS with client certificates; after some attempts the LIS behaves, and a
person has parked messages sent again. Then, whatever happened on the way:

    each message is delivered, and its answer is an AA or CA with its own control id (read by python-hl7)
    the control ids at the LIS are those that were sent, and repeats are the same bytes
    the first version arrived before the second; nothing was delivered while no valid answer could come
    each call ended by its deadline; the audit chain is whole
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import hl7

from db.session import Database
from db.states import MessageState
from db.views import MessageView
from flows.backoff import Backoff
from flows.deliver import DONE, Sender
from flows.transports import MllpTransport
from integrations.hl7.ack import AckPolicy, Outcome
from integrations.hl7.control_id import stamp_control_id
from integrations.hl7.faults import Fault
from integrations.hl7.mllp import Delivery, Endpoint, MllpClient
from integrations.hl7.simulator import LisSimulator, ReceivedMessage
from integrations.tls import ClientTls, TlsFiles
from tests.certificates import Authority
from tests.hl7_examples import message

RESULTS = Path(__file__).parent / "reliability" / "results" / "lis-faults.json"
ROUNDS = 50
JOBS = 6
VERSIONS = 2
PERSISTENT = 10
MOST_DRAINS = 60

# A valid answer can come although the LIS misbehaves.
ANSWERS = (Fault.SPLIT_ACK, Fault.DOUBLE_ACK, Fault.LF_LINES, Fault.ONE_SESSION, Fault.LATE_ACK)


class Failed(Exception):
    """Something that must hold does not."""


@dataclass(slots=True)
class Figures:
    """What was counted under one fault.

    Attributes
    ----------
    longest_call, deadline : float
        Seconds of the longest call, and after which a call must have ended.
    """

    rounds: int = 0
    messages: int = 0
    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    parked: int = 0
    longest_call: float = 0.0
    deadline: float = 0.0

    def told(self) -> dict[str, object]:
        """For the results file; whoever is here has held."""
        return {
            "rounds": self.rounds,
            "messages, all delivered": self.messages,
            "calls": self.calls,
            "how calls ended": dict(sorted(self.outcomes.items())),
            "repeats at the LIS, byte-identical": self.repeats,
            "parked, sent again by a person": self.parked,
            "longest call, s": round(self.longest_call, 2),
            "deadline of a call, s": self.deadline,
        }


@dataclass(frozen=True, slots=True)
class Queued:
    """The messages of one round."""

    case_id: str
    control_ids: tuple[str, ...]


class TimedTransport(MllpTransport):
    """Times each call, and fails when one is over its deadline."""

    def __init__(self, client: MllpClient, figures: Figures, slack: float) -> None:
        super().__init__(client, AckPolicy())
        self._endpoint = client.endpoint
        self._figures = figures
        self._slack = slack

    def probe(self) -> str | None:
        begin = time.monotonic()
        problem = super().probe()
        self._took("connecting", time.monotonic() - begin)
        return problem

    def send(self, messages: Sequence[MessageView]) -> Delivery:
        begin = time.monotonic()
        delivery = super().send(messages)
        self._took("delivering", time.monotonic() - begin)
        self._figures.calls += 1
        self._figures.outcomes[str(delivery.code or delivery.outcome)] += 1
        if (
            delivery.outcome is Outcome.ACKNOWLEDGED
            and delivery.ack
            and delivery.ack.control_id != messages[0].control_id
        ):
            raise Failed("another message's acknowledgement was taken")
        return delivery

    def _took(self, what: str, seconds: float) -> None:
        self._figures.longest_call = max(self._figures.longest_call, seconds)
        if seconds > self._endpoint.longest + self._slack:
            raise Failed(f"{what} took {seconds:.2f} s, its deadline is {self._endpoint.longest:g} s")


class Trial:
    """A database, certificates and one port; rounds of any fault.

    Parameters
    ----------
    folder : Path
    slack : float
        Seconds that a busy machine may add to a deadline.
    """

    def __init__(self, folder: Path, slack: float = 2.0) -> None:
        authority = Authority(folder)
        self._server, self._ours = authority.sign("server"), authority.sign("ours")
        self._slack = slack
        self._template = message()
        self._now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
        self._count = 0
        self.database = Database(f"sqlite:///{folder / 'sphero.db'}", lambda: self._now)
        self.database.upgrade()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    def rounds(self, fault: Fault, rounds: int, persistent: int = PERSISTENT) -> Figures:
        """Let the LIS misbehave in so many rounds, and check each.

        Parameters
        ----------
        fault : Fault
        rounds : int
        persistent : int
            In the first and every so manyth round the fault stays as long as anything happens by itself; 0 for none.

        Raises
        ------
        Failed
        """
        figures = Figures()
        for number in range(rounds):
            stays = persistent > 0 and number % persistent == 0
            self._round(fault, figures, tls=self._server if number % 2 else None, stays=stays)
        return figures

    def check_audit(self) -> int:
        """Verify the chain; gives how many events it has."""
        with self.database.reading() as work:
            verdict = work.audit.verify()
            events = work.audit.head().sequence
        if not verdict.intact:
            raise Failed("the audit chain is broken")
        return events

    # ---------------------------------------------------------------------------------------------------------- inside
    def _round(self, fault: Fault, figures: Figures, *, tls: TlsFiles | None, stays: bool) -> None:
        queued = self._queue()
        figures.rounds += 1
        figures.messages += len(queued.control_ids)
        with ExitStack() as stack:
            lis = stack.enter_context(
                LisSimulator(fault=fault, tls=tls, pause_seconds=0.01 if fault in ANSWERS else 0.1)
            )
            # Where an answer is to come, it is waited for however busy the machine is.
            ack_timeout = 0.3 if fault not in ANSWERS or fault is Fault.LATE_ACK else 5.0
            endpoint = Endpoint("lis", lis.host, lis.port, 2, 2, ack_timeout, tls_timeout=2)
            figures.deadline = endpoint.longest
            client = MllpClient(endpoint, tls=ClientTls(self._ours, "localhost") if tls else None)
            sender = self._sender(TimedTransport(client, figures, self._slack))
            stack.callback(sender.close)
            if fault is Fault.ONE_SESSION:
                stack.enter_context(MllpClient(endpoint, tls=client.tls)).probe()
            for _ in range(MOST_DRAINS if stays else 1):
                sender.drain()
                self._now += timedelta(seconds=1000)
                if all(each.state in DONE for each in self._messages(queued)):
                    break
            before = self._messages(queued)
            if fault not in ANSWERS and any(each.state is MessageState.DELIVERED for each in before):
                raise Failed(f"{fault}: a message counts as delivered although no valid answer could come")
            lis.heal()
            self._finish(sender, queued, figures)
            self._check(queued, lis.messages, figures)

    def _queue(self) -> Queued:
        """Queue the versions of one case."""
        self._count += 1
        control_ids = tuple(f"F{self._count:08d}V{version}" for version in range(1, VERSIONS + 1))
        with self.database.transaction("trial") as work:
            case_id = work.identities.find_or_create(f"A{self._count}")
            for version, control_id in enumerate(control_ids, start=1):
                body = stamp_control_id(self._template, control_id)
                work.outbox.enqueue(case_id, version, "lis", order_key=case_id, control_id=control_id, body=body)
        return Queued(case_id, control_ids)

    def _sender(self, transport: TimedTransport) -> Sender:
        return Sender(
            name="lis",
            database=self.database,
            transport=transport,
            owner="trial/sender",
            lease_seconds=3600,
            clock=lambda: self._now,
            monotonic=self._seconds,
            random=lambda: 1.0,
            pause=lambda _: None,
            backoff=Backoff(first=10, longest=100),
            resend=Backoff(first=10, longest=100),
        )

    def _seconds(self) -> float:
        return self._now.timestamp()

    def _messages(self, queued: Queued) -> tuple[MessageView, ...]:
        with self.database.reading() as work:
            messages = work.outbox.list(case_id=queued.case_id)
        if tuple(each.control_id for each in messages) != queued.control_ids:
            raise Failed("the outbox does not hold what was queued")
        return messages

    def _finish(self, sender: Sender, queued: Queued, figures: Figures) -> None:
        for _ in range(MOST_DRAINS):
            for parked in (each for each in self._messages(queued) if each.state is MessageState.PARKED):
                figures.parked += 1
                with self.database.transaction("person") as work:
                    work.outbox.resend(parked.message_id)
            sender.drain()
            self._now += timedelta(seconds=1000)
            if all(each.state is MessageState.DELIVERED for each in self._messages(queued)):
                return
        raise Failed(f"not delivered to a LIS that behaves: {[each.state for each in self._messages(queued)]}")

    def _check(self, queued: Queued, received: Sequence[ReceivedMessage], figures: Figures) -> None:
        for sent in self._messages(queued):
            answer = hl7.parse((sent.ack or b"").decode().replace("\n", "\r"))
            code, answers = (str(answer.segment("MSA")[number]) for number in (1, 2))
            if code not in ("AA", "CA") or answers != sent.control_id:
                raise Failed(f"delivered on the word of {code} for another message")
            arrived = {each.body for each in received if each.control_id == sent.control_id}
            if arrived != {sent.body}:
                raise Failed(f"{len(arrived)} different messages arrived under one control id")
        first_seen = list(dict.fromkeys(each.control_id for each in received))
        if first_seen != list(queued.control_ids):
            raise Failed("what arrived is not what was sent, in its order")
        figures.repeats += len(received) - len(first_seen)


def try_fault(fault: Fault, rounds: int) -> Figures:
    """Try one fault in a folder and a database of its own; raises `Failed`."""
    with tempfile.TemporaryDirectory() as folder, Trial(Path(folder)) as trial:
        figures = trial.rounds(fault, rounds)
        trial.check_audit()
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Run everything and write the figures down; 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.lis_faults", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="with each fault")
    parser.add_argument("--fault", choices=list(Fault), action="append", help="this one only; may be given again")
    parser.add_argument("--jobs", type=int, default=JOBS, help="faults tried side by side; they wait most of the time")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    found, failures = {}, []
    with ProcessPoolExecutor(options.jobs) as pool:
        trials = {pool.submit(try_fault, Fault(name), options.rounds): name for name in options.fault or list(Fault)}
        for trial in as_completed(trials):
            name = str(trials[trial])
            try:
                found[name] = trial.result().told()
            except Failed as failure:
                failures.append(f"{name}: {failure}")
            print(f"{name:20} {found.get(name, failures[-1:])}", flush=True)
    result = {
        "faults": {str(fault): found[fault] for fault in Fault if fault in found},
        "failures": failures,
        "seconds": round(time.monotonic() - started, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}",
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
