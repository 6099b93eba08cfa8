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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.masks import masks_from_boxes
from sphero_core.errors import DatasetError
from sphero_core.evaluation.run import field_diameters
from sphero_core.image import read_image
from sphero_core.training.config import RunConfig
from sphero_core.training.deciding import Decision, decide
from sphero_core.training.export import export_bundle
from sphero_core.training.operating_point import mean_precision
from sphero_core.training.predict import ByShare, predictions_on, write_whole
from sphero_core.training.train import TrainingData, checkpoints, group_diameters, samples_of, step_of, train

#: Name of the pointed images among the folds.
POINTS = "points"
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
    out.mkdir(parents=True, exist_ok=True)
    data, chosen_on = split(run, images, pointed, out)
    start = pretrained(run, data, out)
    train(run, data, out / "final", start=start)
    margin = label_margin(data, run)
    folds = {group: _inner_fold(run, group, data, out, start, margin) for group in run.groups}
    if chosen_on:
        folds[POINTS] = pointed_fold(run, data, chosen_on, out / "final", margin)
    chosen = choose_on(folds)
    keep_choice(chosen, out / "choice.json")
    described = describe(run, data, chosen_on, margin) | {"inner_folds": {"steps": run.inner_steps}}
    return export_chosen(run, data, chosen, out / "final", bundle, described)


def split(
    run: RunConfig, images: Sequence[LabelledImage], pointed: Sequence[LabelledImage], out: Path
) -> tuple[TrainingData, tuple[LabelledImage, ...]]:
    """What is trained on, and the pointed images that thresholds and judge are chosen on; the rest is not read.

    Raises
    ------
    DatasetError
        The run and the data sets at hand do not fit together.
    """
    if (run.points is None) != (not pointed):
        raise DatasetError(
            "a run with 'points' needs labelled points, and only such a run; see --point-images, --points"
        )
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
        write_whole(kept, json.dumps(measured, indent=2).encode())
    diameters = {str(k): float(v) for k, v in json.loads(kept.read_text()).items()}
    return TrainingData(patients, tuple(trained), diameters), tuple(chosen_on)


def is_reported(run: RunConfig, group: str) -> bool:
    """Whether a block of pointed images is kept from every network of a run."""
    return run.points is not None and block_number(group) % run.points.blocks == run.points.reported


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


def pretrained(run: RunConfig, data: TrainingData, out: Path) -> Path | None:
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


def _inner_fold(run: RunConfig, held: str, data: TrainingData, out: Path, start: Path | None, margin: float) -> ByShare:
    """Predictions on the held-out patient of a network that saw the others."""
    inner = replace(run, groups=tuple(group for group in run.groups if group != held), steps=run.inner_steps)
    folder = out / f"inner-{held}"
    train(inner, data, folder, start=start)
    images = [image for image in data.patients if image.group == held]
    return predictions_on(inner, data, images, [data.diameters[held]] * len(images), folder, margin, run.pixel_aspect)


def pointed_fold(
    run: RunConfig, data: TrainingData, images: Sequence[LabelledImage], folder: Path, margin: float
) -> ByShare:
    """Predictions of a network on blocks that it did not see."""
    sizes = field_diameters([image.path for image in images], [""] * len(images), 1.0)
    return predictions_on(run, data, images, sizes, folder, margin, 1.0)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the inner folds chose.

    Attributes
    ----------
    share : float
        Where in its schedule the network stops.
    kept : str
        Name of the decision that leaves in the bundle.
    decisions : dict of str to Decision
        All that were compared, see `sphero_core.training.deciding.VARIANTS`.
    mean_precision : dict of float to float
        By share of the schedule, what the share was chosen by.
    """

    share: float
    kept: str
    decisions: dict[str, Decision]
    mean_precision: dict[float, float]

    @property
    def figures(self) -> dict[str, Any]:
        """What a bundle tells of it."""
        compared = {name: decision.figures for name, decision in self.decisions.items()}
        return {"mean_precision_by_share": self.mean_precision, "kept": self.kept, **compared}


def choose_on(folds: Mapping[str, ByShare]) -> Chosen:
    """The share of the schedule that is best over the patients, and the decisions on spherocytes there."""
    patients = [predictions for name, predictions in folds.items() if name != POINTS]
    shares = sorted(set.intersection(*(set(predictions) for predictions in patients)))
    scores = {s: float(np.mean([mean_precision(predictions[s]) for predictions in patients])) for s in shares}
    best = max(shares, key=lambda share: scores[share])
    # The final network's schedule is longer: its checkpoints do not lie at quite the same shares.
    kept, decisions = decide(
        {name: predictions[min(predictions, key=lambda s: abs(s - best))] for name, predictions in folds.items()}
    )
    return Chosen(best, kept, decisions, scores)


def keep_choice(chosen: Chosen, path: Path) -> None:
    """Write what was chosen as JSON: a person reads it, and `sphero_core.training.crossval` compares the decisions."""
    document = {
        "share_of_schedule": chosen.share,
        "mean_precision_by_share": chosen.mean_precision,
        "kept": chosen.kept,
        "decisions": {name: decision.as_mapping() for name, decision in chosen.decisions.items()},
    }
    write_whole(path, (json.dumps(document, indent=2) + "\n").encode())


def describe(run: RunConfig, data: TrainingData, chosen_on: Sequence[LabelledImage], margin: float) -> dict[str, Any]:
    """What a bundle says of its training data."""
    patients = [image for image in data.patients if image.group in run.groups]
    used = {"groups": list(run.groups), "images": len(patients), "sha256": data_hash(patients)}
    described: dict[str, Any] = {
        "label_margin": margin,
        "training_data": {**run.data, **used},
        "cell_diameters_px": {group: data.diameters[group] for group in run.groups},
    }
    if run.points:
        kept = {"images": len(data.pointed), "sha256": data_hash(data.pointed), "chosen_on_images": len(chosen_on)}
        described["training_points"] = {**run.points.data, **kept}
    return described


def export_chosen(
    run: RunConfig, data: TrainingData, chosen: Chosen, folder: Path, bundle: Path, described: Mapping[str, Any]
) -> str:
    """Export the network in `folder`, stopped where the inner folds say, with what they chose; gives the bundle's SHA-256.

    `described` is what the bundle says beside that; its ``inner_folds`` gets the figures of the choice.
    """
    checkpoint = min(checkpoints(folder), key=lambda kept: abs(step_of(kept) / run.steps - chosen.share))
    decision = chosen.decisions[chosen.kept]
    stop = {"stop": f"checkpoint {step_of(checkpoint)} of {run.steps}"}
    provenance = {
        **described,
        "spherocyte_judge": decision.judge.as_mapping() if decision.judge else None,
        "calibration": decision.calibration.as_mapping() if decision.calibration else None,
        "inner_folds": {**described.get("inner_folds", {}), **stop, **chosen.figures},
    }
    return export_bundle(run, checkpoint, decision.thresholds, samples_of(run, data), bundle, provenance)
