"""Files of messages: what stands in them, what they are called, and that they are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import hl7
import pytest

from integrations.errors import FramingError
from integrations.hl7.ack import Outcome
from integrations.hl7.batch_file import STEPS, BatchFolder, batch_file
from tests.hl7_examples import message


class Killed(BaseException):
    pass


def test_another_parser_finds_the_messages_byte_by_byte() -> None:
    bodies = [message(1), message(2), message(3)]
    _, content = batch_file(7, bodies)
    file = hl7.parse_file(content.decode())
    (batch,) = file
    assert [str(each).encode() for each in batch] == [body.removesuffix(b"\r") + b"\r" for body in bodies]
    lines = content.split(b"\r")
    assert lines[0].startswith(b"FHS|^~\\&|SPHERO|HEMLAB|LIS|HOSP|")
    assert (lines[-3], lines[-2], lines[-1]) == (b"BTS|3", b"FTS|1", b"")
    assert b"".join(bodies) in content


def test_name_and_bytes_come_from_the_messages_alone() -> None:
    bodies = [message(1), message(2)]
    assert batch_file(7, bodies) == batch_file(7, list(bodies))
    names = {
        batch_file(number, some)[0] for number, some in ((7, bodies), (8, bodies), (7, bodies[:1]), (7, bodies[::-1]))
    }
    assert len(names) == 4
    assert max(names).startswith("0000000008-")
    assert not any(told in name for name in names for told in ("123456", "26-00412", "Mueller"))


@pytest.mark.parametrize("body", [b"", b"PID|1\r", message(1) + message(2), message(1) + b"FTS|1\r"])
def test_what_is_not_one_message_is_refused(body: bytes) -> None:
    with pytest.raises(FramingError):
        batch_file(1, [body])


def test_a_file_is_durably_there_under_its_name_alone(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path)
    assert folder.probe() is None
    delivery = folder.put(1, [message(1)])
    name, content = batch_file(1, [message(1)])
    assert (delivery.outcome, delivery.reason) == (Outcome.ACKNOWLEDGED, f"in the file {name}")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: content}


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_same_file_is_written_again(tmp_path: Path, step: str) -> None:
    def kill(at: str) -> None:
        if at == step:
            raise Killed

    with pytest.raises(Killed):
        BatchFolder(tmp_path, checkpoint=kill).put(1, [message(1)])
    name, content = batch_file(1, [message(1)])
    visible = [path.name for path in tmp_path.glob("[!.]*")]
    assert visible == ([] if step == STEPS[0] else [name])
    folder = BatchFolder(tmp_path)
    assert folder.probe() is None
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert folder.put(1, [message(1)]).outcome is Outcome.ACKNOWLEDGED
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: content}


def test_a_folder_that_is_away_is_told_and_never_made(tmp_path: Path) -> None:
    away = BatchFolder(tmp_path / "share")
    assert away.probe() == "the folder is not there"
    assert away.put(1, [message(1)]).outcome is Outcome.REFUSED
    assert not (tmp_path / "share").exists()


def test_a_folder_that_cannot_be_made_durable_leaves_the_outcome_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr("integrations.hl7.batch_file.sync_folder", fail)
    assert BatchFolder(tmp_path).put(1, [message(1)]).outcome is Outcome.UNKNOWN
