"""Pictures of failures: the most certain false spherocytes of a fold, and the spherocytes that were missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from sphero_core.datasets.masks import outline_of
from sphero_core.evaluation.held_out import HeldOutField
from sphero_core.evaluation.matching import CLASSES, box_iou, called, match_one_to_one
from sphero_core.image import read_image
from sphero_core.judge import explain
from sphero_core.training.deciding import Decision
from sphero_core.training.report import decided
from sphero_core.types import CellClass

SHOWN = 16
_ACROSS = 8
_SHORT = {
    "network_log_odds": "network",
    "circularity": "round",
    "axis_ratio": "axes",
    "solidity": "solid",
    "pallor_index": "pallor",
    "log_density_over_field_median": "dense",
    "log_diameter_over_case_median": "size",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One cell that was called wrongly.

    Attributes
    ----------
    field : int
        Index of the field.
    probability : float or None
        P(Spherocyte) it was given; None where nothing was found there.
    detection, label : int or None
        Indices in the field's findings and labels.
    called, labelled : str
        Names of classes, or ``nothing``.
    """

    field: int
    probability: float | None
    detection: int | None
    label: int | None
    called: str
    labelled: str


def failures(fields: Sequence[HeldOutField], decision: Decision) -> tuple[list[Failure], list[Failure]]:
    """False spherocytes, the most certain first, and missed ones, those given least first; unlabelled cells are left out."""
    false: list[Failure] = []
    missed: list[Failure] = []
    for index, field in enumerate(fields):
        if field.truth is None:
            continue
        image, truth = decided(field, decision), field.truth
        calls = called(image.probabilities, decision.thresholds)
        matched = match_one_to_one(image.probabilities.max(axis=1, initial=0.0), box_iou(image.boxes, truth.boxes))
        taken = {int(cell): detection for detection, cell in enumerate(matched) if cell >= 0}
        for detection in np.flatnonzero((calls == 1) & ~field.unlabelled).tolist():
            cell = int(matched[detection])
            label = str(truth.classes[cell]) if cell >= 0 else "nothing"
            if label != CellClass.SPHEROCYTE:
                p = float(image.probabilities[detection, 1])
                false.append(Failure(index, p, detection, cell if cell >= 0 else None, "Spherocyte", label))
        for cell, cell_class in enumerate(truth.classes):
            found = taken.get(cell)
            if cell_class is CellClass.SPHEROCYTE and (found is None or calls[found] != 1):
                given = None if found is None else float(image.probabilities[found, 1])
                name = "nothing" if found is None or calls[found] < 0 else str(CLASSES[calls[found]])
                missed.append(Failure(index, given, found, cell, name, "Spherocyte"))
    false.sort(key=lambda one: -(one.probability or 0.0))
    missed.sort(key=lambda one: -1.0 if one.probability is None else one.probability)
    return false, missed


def draw_failures(fields: Sequence[HeldOutField], decision: Decision, title: str, path: Path) -> None:
    """Write the gallery of a fold: detections drawn as solid outlines, labels as dashed boxes."""
    false, missed = failures(fields, decision)
    parts = (
        (f"Called spherocytes, not labelled so: {len(false)}; the most certain", false[:SHOWN]),
        (f"Labelled spherocytes, not called so: {len(missed)}; those given least", missed[:SHOWN]),
    )
    rows = sum(1 + -(-len(each) // _ACROSS) for _, each in parts)
    figure = Figure(figsize=(1.75 * _ACROSS, 2.15 * rows - 1.2 * len(parts)), dpi=100)
    heights = [height for _, each in parts for height in (0.35, *[1.0] * -(-len(each) // _ACROSS))]
    grid = figure.add_gridspec(rows, _ACROSS, height_ratios=heights, hspace=0.45, wspace=0.08)
    images: dict[int, NDArray[np.uint8]] = {}
    row = 0
    for heading, each in parts:
        ax = figure.add_subplot(grid[row, :])
        ax.set_axis_off()
        ax.text(0, 0.3, f"{title}. {heading}", fontsize=11, weight="bold")
        for place, failure in enumerate(each):
            ax = figure.add_subplot(grid[row + 1 + place // _ACROSS, place % _ACROSS])
            field = fields[failure.field]
            if failure.field not in images and field.path is not None:
                images[failure.field] = read_image(field.path, pixel_aspect=field.pixel_aspect).pixels
            _draw(ax, images[failure.field], field, failure, decision)
        row += 1 + -(-len(each) // _ACROSS)
    figure.savefig(path, bbox_inches="tight")


def _draw(ax: Axes, pixels: NDArray[np.uint8], field: HeldOutField, failure: Failure, decision: Decision) -> None:
    boxes = [] if field.truth is None or failure.label is None else [field.truth.boxes[failure.label]]
    boxes += [] if failure.detection is None else [field.found.boxes[failure.detection]]
    x, y, w, h = boxes[0]
    half = 0.85 * max(w, h)
    ax.imshow(pixels, interpolation="bicubic", extent=(0, pixels.shape[1], pixels.shape[0], 0))
    ax.set(xlim=(x + w / 2 - half, x + w / 2 + half), ylim=(y + h / 2 + half, y + h / 2 - half), xticks=[], yticks=[])
    if failure.label is not None:
        ax.add_patch(Rectangle((x, y), w, h, fill=False, ec="#E69F00", lw=1.0, ls="--"))
    told = [f"{failure.labelled} called {failure.called}"]
    if failure.detection is not None:
        mask = (field.found.masks or ())[failure.detection]
        ax.plot(*outline_of(mask.mask, mask.x, mask.y).T, color="#0072B2", lw=1.0)
        told.append(f"P {failure.probability:.2f}")
        features = field.features[failure.detection]
        if decision.judge is not None and np.isfinite(features[0]):
            told.append(" ".join(f"{_SHORT[name]} {say:+.1f}" for name, say in explain(decision.judge, features)[:3]))
    ax.set_title("\n".join(told), fontsize=6.2, pad=3)
