"""SIGKILL of a sender at every step, a few times each; many times: ``python -m tests.reliability.outbox_kills``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.outbox_kills import FILE_STEPS, MLLP_STEPS

KILLS = 3


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_repeats_are_the_same_bytes(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "tests.reliability.outbox_kills", "--kills", str(KILLS), "--json", str(results)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(results.read_text())
    assert [(each["way"], each["step"]) for each in found] == [
        *(("mllp", step) for step in MLLP_STEPS),
        *(("files", step) for step in FILE_STEPS),
    ]
    assert all(each["holds"] and each["kills"] == KILLS for each in found)
    assert sum(each["repeats"] for each in found if each["step"] in ("sent", "answered", "recording")) > 0
