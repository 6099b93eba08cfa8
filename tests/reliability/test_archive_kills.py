"""SIGKILL of the sender to an archive that is at fault now and then; at every step: ``python -m tests.reliability.archive_kills``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.archive_kills import FAULTS, kill_at

STEP, KILLS = "sent", 2


@pytest.mark.timeout(600)
def test_an_archive_has_every_object_in_order_and_unchanged(tmp_path: Path) -> None:
    figures = kill_at(STEP, KILLS, tmp_path)
    assert figures.holds, figures
    assert figures.kills == KILLS
    assert figures.repeats > 0, f"what was killed while it was sent, or met {FAULTS}, was sent again"
