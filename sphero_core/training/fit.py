"""The whole way from labelled smears to a bundle, one command, resumable.

0. Where the run has a second data set of points, a first network is trained on it and on synthetic smears; all others start from it.
1. The final network is trained on all patients of the run, with points and synthetic smears beside them.
2. For each of these patients a network is trained on the others (an inner fold) and predicts the one left out. The final network
   predicts those blocks of the pointed images that are kept out of training for this.
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

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.analysis import call_cells, find
from sphero_core.bundle import Thresholds
from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.masks import masks_from_boxes
from sphero_core.detector import Detector
from sphero_core.errors import DatasetError
from sphero_core.evaluation.detection import detections_of
from sphero_core.evaluation.run import LOWEST, field_diameters
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
from sphero_core.training.train import TrainingData, checkpoints, group_diameters, samples_of, step_of, train

#: Name of the pointed images among the folds.
POINTS = "points"
#: Beginning of the name of a block of pointed images; see `sphero_core.datasets.points`.
BLOCK = "block_"
PREDICTIONS = "predictions.pickle"
#: A labelled box this close to the edge may be that of a cut cell, in pixels.
EDGE_PX = 4.0


def fit(
    run: RunConfig, images: Sequence[LabelledImage], pointed: Sequence[LabelledImage], out: Path, bundle: Path
) -> str:
    """Train, choose, export; every finished part in `out` is taken as it is.

    Parameters
    ----------
    run : RunConfig
    images : sequence of LabelledImage
        Patients; those that the run does not name are never read.
    pointed : sequence of LabelledImage
        The second data set, see `PointsConfig`; empty where the run has none.
    out : Path
        Working folder: checkpoints, predictions of the inner folds, choices.
    bundle : Path
        The folder of the bundle to write.

    Returns
    -------
    str
        SHA-256 of the bundle.

    Raises
    ------
    DatasetError
        The run and the data sets at hand do not fit together.
    """
    if (run.points is None) != (not pointed):
        raise DatasetError(
            "a run with 'points' needs labelled points, and only such a run; see --point-images, --points"
        )
    out.mkdir(parents=True, exist_ok=True)
    data, chosen_on = _split(run, images, pointed, out)
    start = _pretrained(run, data, out)
    train(run, data, out / "final", start=start)
    margin = label_margin(data, run)
    folds = {group: _inner_fold(run, group, data, out, start, margin) for group in run.groups}
    if chosen_on:
        folds[POINTS] = _pointed_fold(run, data, chosen_on, out, margin)
    share, thresholds, judge, figures = _choose(folds)
    choice = {"share_of_schedule": share, "thresholds": asdict(thresholds), **figures}
    (out / "choice.json").write_text(json.dumps(choice, indent=2))
    checkpoint = min(checkpoints(out / "final"), key=lambda kept: abs(step_of(kept) / run.steps - share))
    used = {"groups": list(run.groups), "images": len(data.patients), "sha256": data_hash(data.patients)}
    provenance: dict[str, Any] = {
        "spherocyte_judge": judge.as_mapping() if judge else None,
        "label_margin": margin,
        "training_data": {**run.data, **used},
        "cell_diameters_px": {group: data.diameters[group] for group in run.groups},
        "inner_folds": {
            "steps": run.inner_steps,
            "stop": f"checkpoint {step_of(checkpoint)} of {run.steps}",
            **figures,
        },
    }
    if run.points:
        kept = {"images": len(data.pointed), "sha256": data_hash(data.pointed), "chosen_on_images": len(chosen_on)}
        provenance["training_points"] = {**run.points.data, **kept}
    return export_bundle(run, checkpoint, thresholds, samples_of(run, data), bundle, provenance)


def _split(
    run: RunConfig, images: Sequence[LabelledImage], pointed: Sequence[LabelledImage], out: Path
) -> tuple[TrainingData, tuple[LabelledImage, ...]]:
    """What is trained on, and the pointed images that thresholds and judge are chosen on; the rest is not read."""
    patients = tuple(image for image in images if image.group in run.groups)
    trained, chosen_on = [], []
    for image in pointed if run.points else ():
        part = block_number(image.group) % run.points.blocks if run.points else 0
        if run.points and part == run.points.chosen_on:
            chosen_on.append(image)
        elif run.points and part != run.points.reported:
            trained.append(image)
    kept = out / "diameters.json"
    if not kept.exists():
        measured = group_diameters(patients, run.pixel_aspect) | group_diameters(trained)
        kept.write_text(json.dumps(measured, indent=2))
    diameters = {str(k): float(v) for k, v in json.loads(kept.read_text()).items()}
    return TrainingData(patients, tuple(trained), diameters), tuple(chosen_on)


def block_number(group: str) -> int:
    """Number at the end of a block's name, such as 12 of ``block_012``.

    Raises
    ------
    DatasetError
        The name does not end in a number.
    """
    digits = group.rpartition("_")[2]
    if not digits.isdigit():
        raise DatasetError(f"group '{group}' of the pointed images does not end in a number, so it is no block")
    return int(digits)


def _pretrained(run: RunConfig, data: TrainingData, out: Path) -> Path | None:
    """The checkpoint that every network of the run starts from; None for random weights."""
    if run.points is None or run.points.pretrain_steps == 0:
        return None
    first = replace(run, groups=(), steps=run.points.pretrain_steps, checkpoints=1)
    return train(first, replace(data, patients=()), out / "pretrained")[-1]


def label_margin(data: TrainingData, run: RunConfig) -> float:
    """How far labelled boxes stand off the masks made from them, as a share of the patient's median cell diameter.

    The median over all whole cells of the patients trained on, of the mean of the four sides.
    """
    margins = []
    for image in data.patients:
        field = read_image(image.path, pixel_aspect=run.pixel_aspect)
        fx, fy = field.to_stored
        boxes = image.boxes / np.array([fx, fy, fx, fy])
        for (x, y, w, h), mask in zip(boxes.tolist(), masks_from_boxes(field.pixels, boxes), strict=True):
            whole = x > EDGE_PX and y > EDGE_PX and x + w < field.width - EDGE_PX and y + h < field.height - EDGE_PX
            if whole and mask.mask.any():
                rows, columns = np.flatnonzero(mask.mask.any(axis=1)), np.flatnonzero(mask.mask.any(axis=0))
                narrower = (w - (np.ptp(columns) + 1) + h - (np.ptp(rows) + 1)) / 4
                margins.append(narrower / data.diameters[image.group])
    return float(np.median(margins)) if margins else 0.0


def data_hash(images: Sequence[LabelledImage]) -> str:
    """SHA-256 over the bytes of every image and its labels, hex."""
    total = hashlib.sha256()
    for image in sorted(images, key=lambda item: item.name):
        labels = json.dumps([[c.value, *box] for c, box in zip(image.classes, image.boxes.tolist(), strict=True)])
        total.update(f"{hashlib.sha256(image.path.read_bytes()).hexdigest()} {image.group} {labels}\n".encode())
    return total.hexdigest()


def _inner_fold(
    run: RunConfig, held: str, data: TrainingData, out: Path, start: Path | None, margin: float
) -> dict[float, list[FoldPrediction]]:
    """Predictions on the held-out patient by the share of the schedule at which each kept checkpoint was written."""
    inner = replace(run, groups=tuple(group for group in run.groups if group != held), steps=run.inner_steps)
    folder = out / f"inner-{held}"
    if (known := _kept(folder)) is not None:
        return known
    written = train(inner, data, folder, start=start)[-run.checkpoints :]
    images = [image for image in data.patients if image.group == held]
    sizes = [data.diameters[held]] * len(images)
    return _predict_all(inner, written, data, images, sizes, folder, margin, run.pixel_aspect)


def _pointed_fold(
    run: RunConfig, data: TrainingData, images: Sequence[LabelledImage], out: Path, margin: float
) -> dict[float, list[FoldPrediction]]:
    """Predictions of the final network on blocks that it did not see."""
    folder = out / "final"
    if (known := _kept(folder)) is not None:
        return known
    written = checkpoints(folder)[-run.checkpoints :]
    sizes = field_diameters([image.path for image in images], [""] * len(images), 1.0)
    return _predict_all(run, written, data, images, sizes, folder, margin, 1.0)


def _kept(folder: Path) -> dict[float, list[FoldPrediction]] | None:
    path = folder / PREDICTIONS
    if not path.exists():
        return None
    found: dict[float, list[FoldPrediction]] = pickle.loads(path.read_bytes())  # noqa: S301  # written below, by us
    return found


def _predict_all(
    run: RunConfig,
    written: Sequence[Path],
    data: TrainingData,
    images: Sequence[LabelledImage],
    sizes: Sequence[float],
    folder: Path,
    margin: float,
    pixel_aspect: float,
) -> dict[float, list[FoldPrediction]]:
    samples = samples_of(run, data)
    predictions = {}
    for checkpoint in written:
        detector = detector_of(run, checkpoint, LOWEST, samples, margin)
        share = round(step_of(checkpoint) / run.steps, 3)
        predictions[share] = [
            _predict(detector, image, diameter, pixel_aspect) for image, diameter in zip(images, sizes, strict=True)
        ]
    (folder / PREDICTIONS).write_bytes(pickle.dumps(predictions))
    return predictions


def _predict(detector: Detector, image: LabelledImage, diameter: float, pixel_aspect: float) -> FoldPrediction:
    field = read_image(image.path, pixel_aspect=pixel_aspect)
    plan = plan_tiles(field.width, field.height, diameter, detector.input)
    found, _ = find(detector, field.pixels, plan)
    cells = measure_cells(field.pixels, call_cells(found, LOWEST, field, plan.scale))
    red = np.array([cell.cell_class.is_red_cell for cell in cells], np.bool_)
    features = np.full((len(cells), len(FEATURES)), np.nan)
    features[red] = features_of([cell for cell in cells if cell.cell_class.is_red_cell], diameter)
    detections = detections_of(cells, detector.label_margin * diameter, (field.width, field.height))
    fx, fy = field.to_stored
    boxes = image.boxes / np.array([fx, fy, fx, fy])
    outlines = [outline / np.array([fx, fy]) for outline in image.ignored] if image.group.startswith(BLOCK) else []
    kept = ~_on_ignored(detections.boxes, outlines)
    return FoldPrediction(
        detections.boxes[kept], detections.probabilities[kept], features[kept], boxes, tuple(image.classes)
    )


def _on_ignored(boxes: NDArray[np.float64], outlines: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Which boxes have their centre within an ignored outline, shape (n,)."""
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    shapes = [np.asarray(outline, np.float32)[:, None] for outline in outlines]
    return np.array(
        [any(cv2.pointPolygonTest(shape, (float(x), float(y)), False) >= 0 for shape in shapes) for x, y in centres],
        np.bool_,
    ).reshape(len(boxes))


def _choose(
    folds: dict[str, dict[float, list[FoldPrediction]]],
) -> tuple[float, Thresholds, SpherocyteJudge | None, dict[str, Any]]:
    """The share of the schedule that is best over the folds, and thresholds and judge there.

    The judge is kept if spherocytes are ranked better with it than by the network alone, each patient under a judge fitted on the others.
    """
    patients = [predictions for name, predictions in folds.items() if name != POINTS]
    shares = sorted(set.intersection(*(set(predictions) for predictions in patients)))
    scores = {s: float(np.mean([mean_precision(predictions[s]) for predictions in patients])) for s in shares}
    best = max(shares, key=lambda share: scores[share])
    # The final network's schedule is longer: its checkpoints do not lie at quite the same shares.
    chosen = {name: predictions[min(predictions, key=lambda s: abs(s - best))] for name, predictions in folds.items()}
    pooled = [field for fields in chosen.values() for field in fields]
    alone, judged = choose(pooled), choose(judged_by_others(chosen))
    figures = {"mean_precision_by_share": scores, "network_alone": alone[1], "with_judge": judged[1]}
    if judged[1]["Spherocyte"]["ap50"] > alone[1]["Spherocyte"]["ap50"]:
        return best, judged[0], fit_judge_on(pooled), figures
    return best, alone[0], None, figures
