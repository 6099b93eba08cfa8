"""Who asks a store: a run in Prefect, or the store's own thread where none comes; never both at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import pytest

from flows.dicom_poll import Polled, StorePoller
from flows.dicom_stores import PATIENCE_SECONDS, StoreLoop
from integrations.dicom.fetching import Store
from tests.support import wait_for


class Poller:
    """Counts polls, and waits in each for leave to go on."""

    name = "pacs"

    def __init__(self) -> None:
        self.polls = self.at_a_time = self.most_at_a_time = 0
        self.leave = threading.Event()
        self.leave.set()

    def poll(self, store: Store, done: Polled) -> None:  # noqa: ARG002  # the signature of StorePoller
        self.polls += 1
        self.at_a_time += 1
        self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        assert self.leave.wait(30)
        self.at_a_time -= 1
        done.fetched = 2


class Opened:
    def close(self) -> None:
        pass


class Turns:
    """A loop with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.poller = Poller()
        self.stopping = threading.Event()
        self.loop = StoreLoop(
            cast("StorePoller", self.poller),
            lambda: cast("Store", Opened()),
            poll_seconds=0.01,
            fetched=lambda: None,
            stopping=self.stopping,
            clock=lambda: self.now,
        )

    def is_left_to_run(self) -> bool:
        return self.loop.is_left_to_run


@pytest.fixture
def turns() -> Iterator[Turns]:
    turns = Turns()
    yield turns
    turns.stopping.set()
    if turns.loop.thread.ident is not None:
        turns.loop.thread.join(30)


def test_a_run_says_what_its_poll_did(turns: Turns) -> None:
    with turns.loop.lent() as ours:
        assert ours
        done, pause = turns.loop.once()
    assert (done.fetched, 0.009 <= pause <= 0.011) == (2, True)
    assert turns.loop.problem is None


def test_only_one_run_has_the_turns(turns: Turns) -> None:
    with turns.loop.lent() as first, turns.loop.lent() as second:
        assert (first, second) == (True, False)
    with turns.loop.lent() as third:
        assert third


def test_the_thread_waits_for_a_run_and_asks_by_itself_where_none_comes(turns: Turns) -> None:
    assert turns.is_left_to_run()
    turns.now = PATIENCE_SECONDS
    assert not turns.is_left_to_run()
    turns.loop.leave_to_run()
    assert turns.is_left_to_run()
    turns.now += PATIENCE_SECONDS
    turns.loop.thread.start()
    wait_for(lambda: turns.poller.polls > 2, 30, what="the thread's polls", every_s=0.01)


def test_a_poll_that_takes_long_is_not_joined_by_the_thread(turns: Turns) -> None:
    turns.poller.leave.clear()
    run = threading.Thread(target=turns.loop.once)
    run.start()
    wait_for(lambda: turns.poller.polls == 1, 30, what="the run's poll", every_s=0.01)
    turns.now = 10 * PATIENCE_SECONDS
    assert turns.is_left_to_run()
    turns.poller.leave.set()
    run.join(30)
    assert not turns.is_left_to_run()
    turns.loop.thread.start()
    wait_for(lambda: turns.poller.polls > 2, 30, what="the thread's polls", every_s=0.01)
    assert turns.poller.most_at_a_time == 1
