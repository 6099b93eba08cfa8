"""Predictions of kept checkpoints on images that their network had not seen, kept in the network's folder."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.analysis import cells_of
from sphero_core.datasets.coco import LabelledImage
from sphero_core.detector import Detector
from sphero_core.evaluation.detection import detections_of
from sphero_core.evaluation.run import LOWEST
from sphero_core.image import read_image
from sphero_core.judge import FEATURES, features_of
from sphero_core.training.config import RunConfig
from sphero_core.training.export import detector_of
from sphero_core.training.operating_point import FoldPrediction
from sphero_core.training.train import TrainingData, checkpoints, samples_of, step_of

PREDICTIONS = "predictions.pickle"
#: Beginning of the name of a block of pointed images; see `sphero_core.datasets.points`.
BLOCK = "block_"

#: Predictions by the share of the schedule at which the checkpoint was written.
ByShare = dict[float, list[FoldPrediction]]


def predictions_on(
    run: RunConfig,
    data: TrainingData,
    images: Sequence[LabelledImage],
    sizes: Sequence[float],
    folder: Path,
    margin: float,
    pixel_aspect: float,
    name: str = PREDICTIONS,
) -> ByShare:
    """Predictions of the kept checkpoints of a trained network; taken from its folder where they are there.

    Parameters
    ----------
    run : RunConfig
        Of the network.
    data : TrainingData
        That it was trained on.
    images : sequence of LabelledImage
        To predict.
    sizes : sequence of float
        Cell diameter that sets each image's scale, in its pixels in true proportion.
    folder : Path
        Of the network.
    margin : float
        See `sphero_core.training.fit.label_margin`.
    pixel_aspect : float
    name : str
        File that keeps them.
    """
    kept = folder / name
    if kept.exists():
        known: ByShare = pickle.loads(kept.read_bytes())  # noqa: S301  # written below, by us
        return known
    samples = samples_of(run, data)
    predictions = {}
    for checkpoint in checkpoints(folder)[-run.checkpoints :]:
        detector = detector_of(run, checkpoint, LOWEST, samples, margin)
        predictions[round(step_of(checkpoint) / run.steps, 3)] = [
            _predict(detector, image, diameter, pixel_aspect) for image, diameter in zip(images, sizes, strict=True)
        ]
    write_whole(kept, pickle.dumps(predictions))
    return predictions


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is either there in full or not at all, however the process ends."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def _predict(detector: Detector, image: LabelledImage, diameter: float, pixel_aspect: float) -> FoldPrediction:
    field = read_image(image.path, pixel_aspect=pixel_aspect)
    cells = cells_of(detector, field, diameter, LOWEST).cells
    red = np.array([cell.cell_class.is_red_cell for cell in cells], np.bool_)
    features = np.full((len(cells), len(FEATURES)), np.nan)
    features[red] = features_of([cell for cell in cells if cell.cell_class.is_red_cell], diameter)
    detections = detections_of(cells, detector.label_margin * diameter, (field.width, field.height))
    fx, fy = field.to_stored
    boxes = image.boxes / np.array([fx, fy, fx, fy])
    outlines = [outline / np.array([fx, fy]) for outline in image.ignored] if image.group.startswith(BLOCK) else []
    kept = ~on_ignored(detections.boxes, outlines)
    return FoldPrediction(
        detections.boxes[kept], detections.probabilities[kept], features[kept], boxes, tuple(image.classes)
    )


def on_ignored(boxes: NDArray[np.float64], outlines: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Which boxes have their centre within an ignored outline, shape (n,)."""
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    shapes = [np.asarray(outline, np.float32)[:, None] for outline in outlines]
    return np.array(
        [any(cv2.pointPolygonTest(shape, (float(x), float(y)), False) >= 0 for shape in shapes) for x, y in centres],
        np.bool_,
    ).reshape(len(boxes))
