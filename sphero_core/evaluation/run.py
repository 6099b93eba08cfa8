"""A detector judged on a folder of labelled images: what stands behind `sphero evaluate`.

A field is brought to the network's scale by the median cell diameter of its group (the patient, where the labels say so). Without groups
nothing tells which images are of one case: each field then sets its own scale, and one with too few cells takes that of all.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.analysis import cells_of
from sphero_core.bundle import Thresholds
from sphero_core.datasets.coco import LabelledImage
from sphero_core.detector import Detector
from sphero_core.errors import DatasetError
from sphero_core.evaluation.coco_truth import truth_of
from sphero_core.evaluation.detection import detections_of, evaluate_detection
from sphero_core.evaluation.points import CHULA_CLASSES, LabelledPoints, evaluate_points, pair_files, read_points
from sphero_core.image import read_image, read_reduced
from sphero_core.judge import judge_cells
from sphero_core.scale import FEWEST_CELLS, case_cell_diameter, measure_cell_diameters
from sphero_core.types import Cell, CellClass, FieldImage

#: Average precision looks at candidates down to this probability.
LOWEST = Thresholds(red_cell=0.05, spherocyte=0.5, platelet=0.05, wbc=0.05)


@dataclass(frozen=True, slots=True)
class Run:
    """How a run is made.

    Attributes
    ----------
    detector : Detector
    pixel_aspect : float
        Display width over height of one stored pixel.
    clock : callable
        Seconds, monotonic.
    """

    detector: Detector
    pixel_aspect: float = 1.0
    clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, slots=True, eq=False)
class PointImage:
    """An image and its labelled points, in stored pixels."""

    path: Path
    points: LabelledPoints


def evaluate_labelled(run: Run, labels: Sequence[LabelledImage]) -> dict[str, Any]:
    """The figures of `sphero evaluate --coco`; see `sphero_core.evaluation.detection`.

    Raises
    ------
    DatasetError
        There is no image, or no red cell in any of them to set the scale by.
    ImageError
        An image cannot be read.
    """
    diameters = field_diameters([label.path for label in labels], [label.group for label in labels], run.pixel_aspect)
    truths, found, seconds = [], [], []
    for label, diameter in zip(labels, diameters, strict=True):
        field = read_image(label.path, pixel_aspect=run.pixel_aspect)
        cells, took = find_cells(run, field, diameter, LOWEST)
        truths.append(truth_of(label, field))
        margin = run.detector.label_margin * diameter
        found.append(detections_of(cells, margin, (field.width, field.height)))
        seconds.append(took)
    return evaluate_detection(truths, found, run.detector.thresholds, seconds_per_image=float(np.mean(seconds)))


def evaluate_pointed(run: Run, images: Sequence[PointImage]) -> dict[str, Any]:
    """The figures of `sphero evaluate --points`; see `sphero_core.evaluation.points`. Raises as `evaluate_labelled` does."""
    diameters = field_diameters([image.path for image in images], [""] * len(images), run.pixel_aspect)
    labels, found, seconds = [], [], []
    for image, diameter in zip(images, diameters, strict=True):
        field = read_image(image.path, pixel_aspect=run.pixel_aspect)
        cells, took = find_cells(run, field, diameter, run.detector.thresholds)
        across, down = field.to_stored
        labels.append(image.points.scaled(1 / across, 1 / down))
        found.append(cells)
        seconds.append(took)
    return {**evaluate_points(labels, found), "seconds_per_image": float(np.mean(seconds))}


def read_point_folder(
    images: Path, labels: Path, classes: Mapping[str, CellClass | None] = CHULA_CLASSES
) -> list[PointImage]:
    """Pair the label files of a folder with the images of the same name.

    Raises
    ------
    DatasetError
        A folder holds no label file, or a label file has no image.
    """
    return [PointImage(image, read_points(label, classes)) for image, label in pair_files(images, labels)]


def field_diameters(paths: Sequence[Path], groups: Sequence[str], pixel_aspect: float) -> list[float]:
    """Cell diameter that sets the scale of each field, in its pixels in true proportion; see the module's text.

    Raises
    ------
    DatasetError
        No red cell could be measured in any image that would tell.
    """
    if not paths:
        raise DatasetError("there is no labelled image to evaluate; is this the right folder?")
    measured: list[NDArray[np.float64]] = []
    for path in paths:
        reduced = read_reduced(path, pixel_aspect=pixel_aspect)
        measured.append(measure_cell_diameters(reduced.pixels) * reduced.factor)
    of_all = case_cell_diameter(measured)
    of_group: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for sizes, group in zip(measured, groups, strict=True):
        of_group[group].append(sizes)
    medians = {group: case_cell_diameter(sizes) for group, sizes in of_group.items() if group}
    diameters = []
    for sizes, group in zip(measured, groups, strict=True):
        own = case_cell_diameter([sizes]) if len(sizes) >= 2 * FEWEST_CELLS else None
        diameter = (medians[group] if group else own) or of_all
        if diameter is None:
            raise DatasetError("no red cell could be measured in the images; is the pixel aspect right?")
        diameters.append(diameter)
    return diameters


def find_cells(run: Run, field: FieldImage, diameter: float, thresholds: Thresholds) -> tuple[list[Cell], float]:
    """The cells of a field whose case has cells of that diameter (pixels of the field), as the service finds them; and seconds."""
    started = run.clock()
    cells = cells_of(run.detector, field, diameter, thresholds).cells
    threshold = run.detector.thresholds.spherocyte
    cells = judge_cells(cells, run.detector.judge, threshold, diameter, run.detector.calibration)
    return cells, run.clock() - started
