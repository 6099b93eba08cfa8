"""What a network found in fields it had not seen, kept with their labels: every figure of a report is computed from these.

Probabilities are the network's own and the judge's features stand beside them, so that each way to decide on spherocytes can be compared
on the same findings. Candidates reach down to the lowest probability; an operating point is applied later. That gives the cells that
the service would call: whatever suppresses a candidate is more certain than it.
"""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sphero_core.analysis import cells_of
from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.masks import BoxMask
from sphero_core.datasets.points import PointedImage, merge_labels
from sphero_core.evaluation.coco_truth import ImageTruth, truth_of
from sphero_core.evaluation.detection import ImageDetections, detections_of, on_unlabelled_cell
from sphero_core.evaluation.points import LabelledPoints
from sphero_core.evaluation.run import LOWEST, Run, field_diameters
from sphero_core.image import read_image
from sphero_core.judge import FEATURES, features_of
from sphero_core.synthetic import SyntheticField
from sphero_core.types import FieldImage


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutField:
    """One field that the network had not seen. Lengths are in pixels of the field in true proportion.

    Attributes
    ----------
    path : Path or None
        None for a field that was drawn.
    pixel_aspect : float
    group : str
    found : ImageDetections
        The network's own probabilities, with masks.
    features : ndarray of float, shape (n, 7)
        See `sphero_core.judge.FEATURES`; NaN for what is no red cell.
    cut : ndarray of bool, shape (n,)
        Whether the field's edge cuts the cell.
    unlabelled : ndarray of bool, shape (n,)
        Whether it lies on a cell without a label; the labelled-only figures leave it out.
    truth : ImageTruth or None
        Labelled boxes and masks.
    points : LabelledPoints or None
        Labelled centres, where there are no boxes.
    """

    path: Path | None
    pixel_aspect: float
    group: str
    found: ImageDetections
    features: NDArray[np.float64]
    cut: NDArray[np.bool_]
    unlabelled: NDArray[np.bool_]
    truth: ImageTruth | None = None
    points: LabelledPoints | None = None

    @property
    def name(self) -> str:
        """File name, for people."""
        return self.path.name if self.path else "drawn"


def hold_out_labelled(run: Run, labels: Sequence[LabelledImage]) -> list[HeldOutField]:
    """What the network of a run finds in images with labelled boxes. Raises as `evaluate_labelled` does."""
    diameters = field_diameters([label.path for label in labels], [label.group for label in labels], run.pixel_aspect)
    held = []
    for label, diameter in zip(labels, diameters, strict=True):
        field = read_image(label.path, pixel_aspect=run.pixel_aspect)
        one = replace(_found(run, field, diameter), path=label.path, group=label.group)
        truth = truth_of(label, field)
        held.append(replace(one, truth=truth, unlabelled=on_unlabelled_cell(truth, one.found)))
    return held


def hold_out_pointed(run: Run, images: Sequence[PointedImage]) -> list[HeldOutField]:
    """What the network of a run finds in images with labelled centres; labels of twins are merged, contradictions left out."""
    diameters = field_diameters([image.path for image in images], [""] * len(images), 1.0)
    held = []
    for image, diameter in zip(images, diameters, strict=True):
        field = read_image(image.path)
        places, classes = merge_labels(image.labels, diameter)
        clear = np.array([c is not None for c in classes], np.bool_)
        points = LabelledPoints(places[clear], tuple(c for c in classes if c is not None))
        one = replace(_found(replace(run, pixel_aspect=1.0), field, diameter), path=image.path, group=image.group)
        held.append(replace(one, points=points))
    return held


def hold_out_drawn(run: Run, drawn: Sequence[SyntheticField]) -> list[HeldOutField]:
    """What the network of a run finds in drawn smears, whose truth is exact and whose masks may share pixels."""
    return [
        replace(_found(run, one.image, one.style.cell_diameter_px), group="drawn", truth=truth_of_drawn(one))
        for one in drawn
    ]


def truth_of_drawn(drawn: SyntheticField) -> ImageTruth:
    """The truth of a drawn smear as labels."""
    covered = np.zeros(drawn.pixels.shape[:2], np.bool_)
    for cell in drawn.cells:
        covered[cell.y : cell.y + cell.mask.shape[0], cell.x : cell.x + cell.mask.shape[1]] |= cell.mask
    return ImageTruth(
        boxes=np.array([cell.box for cell in drawn.cells], np.float64).reshape(-1, 4),
        classes=tuple(cell.cell_class for cell in drawn.cells),
        foreground=covered,
        masks=tuple(BoxMask(cell.x, cell.y, cell.mask) for cell in drawn.cells),
        masks_are_labelled=True,
    )


def keep(fields: Sequence[HeldOutField], path: Path) -> None:
    """Write fields to a file that is there in full or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(gzip.compress(pickle.dumps(list(fields)), compresslevel=3))
    part.replace(path)


def kept(path: Path) -> list[HeldOutField]:
    """Read what `keep` wrote; never give it a file of another origin."""
    fields: list[HeldOutField] = pickle.loads(gzip.decompress(path.read_bytes()))  # noqa: S301  # our own
    return fields


def _found(run: Run, field: FieldImage, diameter: float) -> HeldOutField:
    cells = cells_of(run.detector, field, diameter, LOWEST).cells
    red = np.array([cell.cell_class.is_red_cell for cell in cells], np.bool_)
    features = np.full((len(cells), len(FEATURES)), np.nan)
    features[red] = features_of([cell for cell in cells if cell.cell_class.is_red_cell], diameter)
    return HeldOutField(
        path=None,
        pixel_aspect=run.pixel_aspect,
        group="",
        found=detections_of(cells, run.detector.label_margin * diameter, (field.width, field.height)),
        features=features,
        cut=np.array([cell.touches_border for cell in cells], np.bool_),
        unlabelled=np.zeros(len(cells), np.bool_),
    )
