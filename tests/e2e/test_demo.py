"""`sphero demo`: the promise of the first page, with the shipped model."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sphero_core.bundle import shipped_bundle

INSTALLED = "SPHERO_DEMO_VENV"
"""A virtual environment with the service alone, as a hospital installs it: then the demonstration is the README's command there."""
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_demonstration_ends_with_an_aa_for_its_own_control_id_and_leaves_nothing(tmp_path: Path) -> None:
    if not (shipped_bundle() / "bundle.json").is_file():
        pytest.fail("the shipped bundle is missing: it belongs to the repository")
    command = [sys.executable, "-c", "from flows.cli import main; main()", "demo", "--workdir", str(tmp_path)]
    if environment := os.environ.get(INSTALLED):
        command = ["make", "--no-print-directory", "demo", f"VENV={environment}", f"ARGS=--workdir {tmp_path}"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("SPHERO_", "MAKE"))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    oru, _, ack = output.partition("its acknowledgement (AA)")
    control_id = next(line for line in oru.splitlines() if line.startswith("MSH|")).split("|")[9]
    assert f"\nMSA|AA|{control_id}\n" in ack
    assert len(list((tmp_path / "data" / "pictures").glob("*.jpg"))) == 4
    assert _alive_in_session(process.pid) == []


def _alive_in_session(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if os.getsid(int(entry.name)) == session:
                found.append(int(entry.name))
    return found
