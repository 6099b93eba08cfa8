"""SIGKILL at some points between folder and acknowledgement, once each; all of them, often: ``python -m tests.reliability.pipeline_kills``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

POINTS = ("reporting", "sent")


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_told_twice(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "tests.reliability.pipeline_kills", "--kills", "1", "--json", str(results)]
    command += [argument for point in POINTS for argument in ("--point", point)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(results.read_text())
    assert [(each["point"], each["kills"], each["problems"]) for each in found] == [(point, 1, []) for point in POINTS]
    assert sum(each["repeats"] for each in found if each["point"] == "sent") >= 1
