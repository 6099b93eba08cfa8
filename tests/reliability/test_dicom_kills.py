"""The receiver killed between rename, row and answer; every step and random moments by `python -m tests.reliability.dicom_kills`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.dicom_kills import killed_at


@pytest.mark.parametrize("step", ["renamed", "recorded"])
def test_what_was_answered_with_success_is_there_and_nothing_is_there_twice(tmp_path: Path, step: str) -> None:
    assert killed_at(tmp_path, step) == []
