"""The model process: it answers, and whatever happens to it, every request ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from flows.errors import FieldFatal, FieldRefused, ModelUnavailable
from flows.model_child import ImageTask
from flows.model_process import ModelProcess
from tests.fakes import BUNDLE, CRASHES, FACTORY, HANGS
from tests.support import wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _child_finds_the_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@contextmanager
def running(*, silence_seconds: float = 30.0, factory: str = FACTORY, **fake: float) -> Iterator[ModelProcess]:
    process = ModelProcess(factory, json.dumps(fake), silence_seconds=silence_seconds)
    process.start()
    try:
        yield process
    finally:
        process.stop()


def picture(folder: Path, name: str, colour: tuple[int, int, int] = (200, 180, 190)) -> ImageTask:
    path = folder / f"{name}.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), colour[::-1], np.uint8))
    return ImageTask(path, 0, 1.0)


def test_fields_are_measured_and_analysed_with_their_picture(tmp_path: Path) -> None:
    with running() as process:
        assert process.wait_ready(60) == BUNDLE
        task = picture(tmp_path, "a")
        assert process.measure(task).result(30).tolist() == [40.0] * 20
        findings = process.analyse(task, 40.0).result(30)
        drawn = process.draw(task, findings).result(30)
    assert findings.width == 64
    assert drawn.startswith(b"\xff\xd8")


def test_an_image_that_cannot_be_read_is_refused_and_the_next_one_goes_on(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with running() as process:
        refused = process.analyse(ImageTask(broken, 0, 1.0), 40.0)
        fine = process.analyse(picture(tmp_path, "a"), 40.0)
        with pytest.raises(FieldRefused):
            refused.result(60)
        assert fine.result(30).cells


@pytest.mark.parametrize("colour", [CRASHES, HANGS], ids=["crashes", "hangs"])
def test_only_the_image_that_ends_the_process_is_given_up(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    with running(silence_seconds=3.0 if colour == HANGS else 60.0) as process:
        first = process.wait_ready(60)
        futures = [process.analyse(picture(tmp_path, str(number)), 40.0) for number in range(2)]
        fatal = process.analyse(picture(tmp_path, "fatal", colour), 40.0)
        futures += [process.analyse(picture(tmp_path, str(number)), 40.0) for number in range(2, 6)]
        done = wait([*futures, fatal], 90)
        assert not done.not_done
        with pytest.raises(FieldFatal):
            fatal.result()
        assert all(future.result().cells for future in futures)
        assert process.wait_ready(30) == first


def test_a_killed_process_is_begun_anew_and_loses_nothing(tmp_path: Path) -> None:
    with running(seconds=0.2) as process:
        process.wait_ready(60)
        futures = [process.analyse(picture(tmp_path, str(number)), 40.0) for number in range(6)]
        before = process.pid
        assert before is not None
        futures[0].result(30)
        os.kill(before, signal.SIGKILL)
        assert len([future.result(60) for future in futures]) == 6
        assert process.pid != before


def test_a_model_that_cannot_be_loaded_says_why_and_fails_what_is_asked(tmp_path: Path) -> None:
    with running(factory="tests.fakes:load_broken") as process:
        with pytest.raises(ModelUnavailable, match="the bundle is damaged"):
            process.wait_ready(60)
        with pytest.raises(ModelUnavailable):
            process.analyse(picture(tmp_path, "a"), 40.0).result(60)


def test_what_is_asked_while_it_stops_fails() -> None:
    process = ModelProcess(FACTORY, "")
    process.start()
    process.stop()
    assert process.pid is None


def test_the_child_ends_when_its_parent_is_killed() -> None:
    code = (
        "import sys, time; from flows.model_process import ModelProcess; from tests.fakes import FACTORY;"
        "p = ModelProcess(FACTORY, ''); p.start(); p.wait_ready(60); print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    guard = threading.Timer(90, parent.kill)
    guard.start()
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
    finally:
        guard.cancel()
        parent.kill()
        parent.communicate()
    wait_for(lambda: not Path(f"/proc/{child}").exists(), 10, what="the end of the child")
