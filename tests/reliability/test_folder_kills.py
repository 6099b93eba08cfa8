"""SIGKILL at each named step of staging: after a restart each file is taken in exactly once, with nothing stray."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.folder.staging import STEPS
from tests.reliability.folder_child import take_in
from tests.unit.image_files import picture, save

ONE, TWO, BAD = save(picture(), "JPEG"), save(picture(), "PNG"), b"this is no image\n"
CONTENT = {"A-17/1.jpg": ONE, "A-17/2.png": TWO, "B-18/3.jpg": BAD}


def kept(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("step", [*STEPS, "row"])
def test_killed_at_a_step_and_started_again(step: str, tmp_path: Path) -> None:
    for name, content in CONTENT.items():
        path = tmp_path / "incoming" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    number = "1" if step.startswith("quarantine") else "2"  # the second file: one is through, one is on its way
    command = [sys.executable, "-m", "tests.reliability.folder_child", str(tmp_path), step, number]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    take_in(tmp_path, lambda _step: None)

    rows = sqlite3.connect(tmp_path / "rows.db").execute("SELECT sha256, refused IS NULL FROM taken").fetchall()
    assert sorted(rows) == sorted([(digest(ONE), 1), (digest(TWO), 1), (digest(BAD), 0)])
    assert kept(tmp_path / "store") == {
        f"{digest(ONE)[:2]}/{digest(ONE)}.jpg": ONE,
        f"{digest(TWO)[:2]}/{digest(TWO)}.png": TWO,
    }
    assert kept(tmp_path / "incoming") == {f".done/{name}": content for name, content in CONTENT.items()}
    refused = kept(tmp_path / "quarantine")
    assert sorted(name.split("/")[1] for name in refused) == ["original", "reason.txt"]
    assert BAD in refused.values()
