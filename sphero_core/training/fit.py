"""The whole way from labelled smears to a bundle, one command, resumable.

1. The final network is trained on all patients of the run.
2. For each of these patients a network is trained on the others (an inner fold) and predicts the one left out.
3. Stopping (which share of the schedule), thresholds and the spherocyte judge are chosen on the pooled predictions of the inner
   folds. A patient that the run does not name is never read.
4. The final network, stopped there, leaves as a bundle with these thresholds and this judge.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.analysis import call_cells, find
from sphero_core.bundle import Thresholds
from sphero_core.datasets.coco import LabelledImage
from sphero_core.detector import Detector
from sphero_core.evaluation.detection import detections_of
from sphero_core.evaluation.run import LOWEST
from sphero_core.image import read_image
from sphero_core.judge import FEATURES, SpherocyteJudge, features_of
from sphero_core.morphology import measure_cells
from sphero_core.tiling import plan_tiles
from sphero_core.training.config import RunConfig
from sphero_core.training.export import detector_of, export_bundle
from sphero_core.training.operating_point import (
    FoldPrediction,
    choose,
    fit_judge_on,
    judged_by_others,
    mean_precision,
)
from sphero_core.training.train import checkpoints, group_diameters, samples_of, step_of, train
from sphero_core.types import Cell, CellClass


def fit(run: RunConfig, images: Sequence[LabelledImage], out: Path, bundle: Path) -> str:
    """Train, choose, export; every finished part in `out` is taken as it is.

    Parameters
    ----------
    run : RunConfig
    images : sequence of LabelledImage
    out : Path
        Working folder: checkpoints, predictions of the inner folds, choices.
    bundle : Path
        The folder of the bundle to write.

    Returns
    -------
    str
        SHA-256 of the bundle.
    """
    out.mkdir(parents=True, exist_ok=True)
    used = [image for image in images if image.group in run.groups]
    diameters = _diameters(used, run, out)
    train(run, used, diameters, out / "final")
    folds = {group: _inner_fold(run, group, used, diameters, out) for group in run.groups}
    share, thresholds, judge, figures = _choose(folds)
    choice = {"share_of_schedule": share, "thresholds": asdict(thresholds), **figures}
    (out / "choice.json").write_text(json.dumps(choice, indent=2))
    checkpoint = min(checkpoints(out / "final"), key=lambda kept: abs(step_of(kept) / run.steps - share))
    provenance = {
        "spherocyte_judge": judge.as_mapping() if judge else None,
        "training_data": {**run.data, "groups": list(run.groups), "images": len(used), "sha256": data_hash(used)},
        "cell_diameters_px": diameters,
        "inner_folds": {
            "steps": run.inner_steps,
            "stop": f"checkpoint {step_of(checkpoint)} of {run.steps}",
            **figures,
        },
    }
    return export_bundle(run, checkpoint, thresholds, samples_of(run, used, diameters), bundle, provenance)


def data_hash(images: Sequence[LabelledImage]) -> str:
    """SHA-256 over the bytes of every image and its labels, hex."""
    total = hashlib.sha256()
    for image in sorted(images, key=lambda item: item.name):
        labels = json.dumps([[c.value, *box] for c, box in zip(image.classes, image.boxes.tolist(), strict=True)])
        total.update(f"{hashlib.sha256(image.path.read_bytes()).hexdigest()} {image.group} {labels}\n".encode())
    return total.hexdigest()


def _diameters(images: Sequence[LabelledImage], run: RunConfig, out: Path) -> dict[str, float]:
    kept = out / "diameters.json"
    if not kept.exists():
        kept.write_text(json.dumps(group_diameters(images, run.pixel_aspect), indent=2))
    return {str(k): float(v) for k, v in json.loads(kept.read_text()).items()}


def _inner_fold(
    run: RunConfig,
    held: str,
    images: Sequence[LabelledImage],
    diameters: dict[str, float],
    out: Path,
) -> dict[float, list[FoldPrediction]]:
    """Predictions on the held-out patient by the share of the schedule at which each kept checkpoint was written."""
    others = tuple(group for group in run.groups if group != held)
    inner = replace(run, groups=others, steps=run.inner_steps)
    folder = out / f"inner-{held}"
    kept = folder / "predictions.pickle"
    if not kept.exists():
        held_images = [image for image in images if image.group == held]
        samples = samples_of(inner, images, diameters)
        predictions = {
            round(step_of(checkpoint) / inner.steps, 3): _predict(
                inner, detector_of(inner, checkpoint, LOWEST, samples), held_images, diameters[held]
            )
            for checkpoint in train(inner, images, diameters, folder)[-run.checkpoints :]
        }
        kept.write_bytes(pickle.dumps(predictions))
    found: dict[float, list[FoldPrediction]] = pickle.loads(kept.read_bytes())  # noqa: S301  # written above, by us
    return found


def _predict(
    run: RunConfig, detector: Detector, images: Sequence[LabelledImage], diameter: float
) -> list[FoldPrediction]:
    predictions = []
    for image in images:
        field = read_image(image.path, pixel_aspect=run.pixel_aspect)
        plan = plan_tiles(field.width, field.height, diameter, detector.input)
        found, _ = find(detector, field.pixels, plan)
        cells = measure_cells(field.pixels, call_cells(found, LOWEST, field, plan.scale))
        fx, fy = field.to_stored
        predictions.append(_prediction(cells, diameter, image.boxes / np.array([fx, fy, fx, fy]), image.classes))
    return predictions


def _prediction(
    cells: Sequence[Cell], diameter: float, true_boxes: NDArray[np.float64], true_classes: tuple[CellClass, ...]
) -> FoldPrediction:
    found = detections_of(cells)
    red = np.array([cell.cell_class.is_red_cell for cell in cells], np.bool_)
    features = np.full((len(cells), len(FEATURES)), np.nan)
    features[red] = features_of([cell for cell in cells if cell.cell_class.is_red_cell], diameter)
    return FoldPrediction(found.boxes, found.probabilities, features, true_boxes, true_classes)


def _choose(
    folds: dict[str, dict[float, list[FoldPrediction]]],
) -> tuple[float, Thresholds, SpherocyteJudge | None, dict[str, Any]]:
    """The share of the schedule that is best over the folds, and thresholds and judge there.

    The judge is kept if spherocytes are ranked better with it than by the network alone, each patient under a judge fitted on the others.
    """
    shares = sorted(set.intersection(*(set(predictions) for predictions in folds.values())))
    scores = {s: float(np.mean([mean_precision(predictions[s]) for predictions in folds.values()])) for s in shares}
    best = max(shares, key=lambda share: scores[share])
    chosen = {group: predictions[best] for group, predictions in folds.items()}
    pooled = [field for fields in chosen.values() for field in fields]
    alone, judged = choose(pooled), choose(judged_by_others(chosen))
    figures = {"mean_precision_by_share": scores, "network_alone": alone[1], "with_judge": judged[1]}
    if judged[1]["Spherocyte"]["ap50"] > alone[1]["Spherocyte"]["ap50"]:
        return best, judged[0], fit_judge_on(pooled), figures
    return best, alone[0], None, figures
