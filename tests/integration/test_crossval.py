"""A whole fold on drawn smears, network by network. Minutes long, so it runs only where it is asked for.

    SPHERO_LONG_TESTS=1 pytest tests/integration/test_crossval.py

Its parts are tested in every run: see tests/unit/test_crossval.py, test_crossval_report.py and test_deciding.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("official", reason="the training extra is not installed")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not os.environ.get("SPHERO_LONG_TESTS"), reason="takes minutes; set SPHERO_LONG_TESTS=1")
def test_a_fold_from_smears_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sphero_core.bundle import load_bundle
    from sphero_core.datasets.coco import LabelledImage
    from sphero_core.synthetic_case import write_synthetic_case
    from sphero_core.training import crossval
    from sphero_core.training import train as training
    from sphero_core.training.config import RunConfig
    from sphero_core.training.report_files import run_all

    monkeypatch.setattr(training, "STATISTICS_BATCHES", 1)
    monkeypatch.setattr(crossval, "DRAWN_FIELDS", 1)
    case = write_synthetic_case(tmp_path / "smears", 1, 3)
    images = [
        LabelledImage(
            path=path,
            name=path.name,
            group=group,
            width=field.pixels.shape[1],
            height=field.pixels.shape[0],
            boxes=np.array([cell.box for cell in field.cells], float),
            classes=tuple(cell.cell_class for cell in field.cells),
            polygons=tuple(() for _ in field.cells),
        )
        for path, field, group in zip(case.files, case.fields, ("a", "b", "c"), strict=True)
    ]
    run = RunConfig(
        name="trial", version="0", groups=("a", "b", "c"), input_height=128, input_width=192, steps=2, inner_steps=2,
        batch=1, checkpoints=1, synthetic_share=0.0, warmup_steps=1,
    )  # fmt: skip
    told: list[str] = []
    out = tmp_path / "run"
    written = run_all(crossval.prepare(run, images, [], [], out, tell=told.append), ["b"])

    assert [line for line in told if line.endswith("2 steps")] == [
        "network 1 of 3, without-b: 2 steps",
        "network 2 of 3, without-a+b: 2 steps",
        "network 3 of 3, without-b+c: 2 steps",
    ]
    description = load_bundle(out / "b" / "bundle").description
    assert description["left_out"] == "b"
    assert description["training_data"]["groups"] == ["a", "c"]
    document = json.loads(written[1].read_text())
    assert document["left_out"] == ["b"]
    assert document["patients"]["b"]["fields"] == 1

    # Begun again, it trains nothing and finds the same.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.pickle")}
    again = run_all(crossval.prepare(run, images, [], [], out, tell=told.append), ["b"])
    assert json.loads(again[1].read_text()) == document
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.pickle")} == before
