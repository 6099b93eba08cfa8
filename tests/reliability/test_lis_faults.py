"""A part of what `python -m tests.lis_faults` does in full; and that its own checks can fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from integrations.hl7 import mllp
from integrations.hl7.ack import Ack, AckCode, read_ack
from integrations.hl7.faults import Fault
from tests import lis_faults
from tests.lis_faults import Failed, Trial


@pytest.fixture(scope="module")
def shared_trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with Trial(tmp_path_factory.mktemp("faults")) as trial:
        yield trial
        assert trial.check_audit() > 10


@pytest.mark.parametrize("fault", list(Fault))
def test_nothing_is_lost_or_credited_wrongly_whatever_the_lis_does(shared_trial: Trial, fault: Fault) -> None:
    figures = shared_trial.rounds(fault, 2, persistent=0)
    assert (figures.rounds, figures.messages) == (2, 4)
    assert figures.outcomes["AA"] == 4


def test_a_message_that_gets_no_answer_is_parked_in_the_end_and_sent_again_by_a_person(tmp_path: Path) -> None:
    with Trial(tmp_path) as trial:
        figures = trial.rounds(Fault.CLOSE_AFTER_RECEIPT, 1, persistent=1)
    assert (figures.parked, figures.repeats) == (1, 10)


def test_a_client_that_takes_any_acknowledgement_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def credulous(body: bytes, max_bytes: int = 0) -> Ack:
        return replace(read_ack(body), control_id="F00000001V1")

    monkeypatch.setattr(mllp, "read_ack", credulous)
    with Trial(tmp_path) as trial, pytest.raises(Failed, match=r"no valid answer could come|for another message"):
        trial.rounds(Fault.WRONG_ID, 1)


def test_a_client_that_waits_too_long_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mllp.Endpoint, "longest", -10.0)
    with Trial(tmp_path) as trial, pytest.raises(Failed, match="its deadline is"):
        trial.rounds(Fault.SILENT, 1)


def test_an_answer_that_says_nothing_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hopeful(body: bytes, max_bytes: int = 0) -> Ack:
        return replace(read_ack(body), code=AckCode.AA)

    monkeypatch.setattr(mllp, "read_ack", hopeful)
    with Trial(tmp_path) as trial, pytest.raises(Failed, match="no valid answer could come"):
        trial.rounds(Fault.AE, 1)


def test_the_figures_are_written_down(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--rounds", "1", "--fault", "refuse", "--fault", "double-ack", "--jobs", "2", "--json", str(file)]
    assert lis_faults.main(arguments) == 0
    figures = json.loads(file.read_text())
    assert list(figures["faults"]) == ["refuse", "double-ack"]
    assert figures["failures"] == []
