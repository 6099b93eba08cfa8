"""The test tools themselves: a deadline that never fires or a peer that is silently skipped would hide failures."""

from __future__ import annotations

import pytest

from tests.support import REQUIRE_PEERS, missing_peer, wait_for


def test_wait_for_returns_the_first_true_answer() -> None:
    answers = iter([None, "", "ready"])
    assert wait_for(lambda: next(answers), 5, every_s=0) == "ready"


def test_wait_for_gives_up_at_the_deadline_and_names_the_last_answer() -> None:
    time = iter(range(100))
    paused: list[float] = []
    with pytest.raises(TimeoutError, match=r"the ACK did not come within 3 s; the last answer was 0"):
        wait_for(lambda: 0, 3, what="the ACK", clock=lambda: float(next(time)), pause=paused.append)
    assert paused == [0.02, 0.02]


def test_missing_peer_is_a_skip_unless_peers_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE_PEERS, raising=False)
    with pytest.raises(pytest.skip.Exception, match="missing peer lis: install it"):
        missing_peer("lis", "install it")
    monkeypatch.setenv(REQUIRE_PEERS, "1")
    with pytest.raises(pytest.fail.Exception, match="missing peer lis: install it"):
        missing_peer("lis", "install it")
