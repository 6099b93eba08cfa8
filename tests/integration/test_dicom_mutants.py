from __future__ import annotations

import os

import pytest

from tests.dicom_mutants import run

COUNT = int(os.environ.get("SPHERO_MUTANTS", "20000"))


@pytest.mark.timeout(900)  # half a minute on a machine that has nothing else to do
def test_nothing_but_a_refusal_comes_out_of_changed_files() -> None:
    tally = run(COUNT, seed=20_261_125)
    assert tally.faults == []
    assert sum(tally.ended.values()) == COUNT
    assert tally.ended["read"] > COUNT / 20, "some changes must leave a readable file, else no decoder was reached"
    assert tally.ended["DamagedImage"] > COUNT / 20
    killed = sum(count for ended, count in tally.ended.items() if ended.startswith("killed"))
    assert killed <= COUNT / 1_000, "decoders that end their process are contained, but must be rare"
