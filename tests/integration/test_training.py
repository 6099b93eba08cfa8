"""The way from a training step to a bundle that serves, through the Model Garden's own task and trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("official", reason="the training extra is not installed")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_few_steps_become_a_bundle_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sphero_core.bundle import Thresholds, load_bundle
    from sphero_core.datasets.coco import LabelledImage
    from sphero_core.detector import load_detector
    from sphero_core.synthetic_case import write_synthetic_case
    from sphero_core.training import train as training
    from sphero_core.training.config import RunConfig
    from sphero_core.training.export import export_bundle

    monkeypatch.setattr(training, "STATISTICS_BATCHES", 1)
    case = write_synthetic_case(tmp_path / "smears", 1, 2)
    images = [
        LabelledImage(
            path=path,
            name=path.name,
            group="drawn",
            width=field.pixels.shape[1],
            height=field.pixels.shape[0],
            boxes=np.array([cell.box for cell in field.cells], float),
            classes=tuple(cell.cell_class for cell in field.cells),
            polygons=tuple(() for _ in field.cells),
        )
        for path, field in zip(case.files, case.fields, strict=True)
    ]
    run = RunConfig(
        name="trial", version="0", groups=("drawn",), input_height=128, input_width=192, steps=2, batch=1,
        checkpoints=1, synthetic_share=0.0, warmup_steps=1,
    )  # fmt: skip
    data = training.TrainingData(tuple(images), (), training.group_diameters(images, 1.0))
    kept = training.train(run, data, tmp_path / "run")
    assert training.step_of(kept[-1]) == 2

    samples = training.samples_of(run, data)
    thresholds = Thresholds(0.5, 0.5, 0.5, 0.5)
    digest = export_bundle(run, kept[-1], thresholds, samples, tmp_path / "bundle", {"training_data": {"images": 2}})
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.id.sha256 == digest
    detector = load_detector(bundle)
    candidates = detector.forward(np.full((128, 192, 3), 200, np.uint8))
    assert candidates.probabilities.shape == (len(candidates.boxes), 4)
    assert candidates.masks.shape == (len(candidates.boxes), 28, 28)
    total = candidates.probabilities.sum(axis=1)
    assert np.all((total >= 0) & (total <= 1 + 1e-5))
