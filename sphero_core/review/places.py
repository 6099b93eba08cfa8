"""The places of a field at which there is something to judge: where labels and model agree, where they do not, and where neither sees anything.

A detection and a label are one place where their boxes overlap by `SAME_PLACE_IOU`. That is less than what an evaluation asks for (0.5): there it says
whether a box is good, here it keeps one cell from being counted at two places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.masks import foreground
from sphero_core.evaluation.detection import detections_of, ellipse_in_box
from sphero_core.evaluation.matching import box_iou
from sphero_core.types import Cell, CellClass, FieldImage

SAME_PLACE_IOU = 0.3
#: A labelled box this close to the field's edge, in pixels, is of a cell that the edge cuts.
EDGE_PX = 2.0
#: Foreground that neither side covers is shown from this share of a cell's area on; less is rim and dirt.
LEAST_AREA = 0.12
#: Clear places that each field offers as controls.
CLEAR_OFFERED = 3
_CLEAR_TRIES = 200


class Stratum(StrEnum):
    """What labels and model say of a place; the judge is not told."""

    AGREED_RED = "both: red cell"
    AGREED_SPHEROCYTE = "both: spherocyte"
    CALLED = "label red cell, model spherocyte"
    NOT_CALLED = "label spherocyte, model red cell"
    FOUND_RED = "model only: red cell"
    FOUND_SPHEROCYTE = "model only: spherocyte"
    MISSED = "label only"
    FOREGROUND = "neither, but something is there"
    CLEAR = "neither, clear background"


#: At these the model calls a spherocyte.
CALLS = (Stratum.AGREED_SPHEROCYTE, Stratum.CALLED, Stratum.FOUND_SPHEROCYTE)
#: At these a person labelled one.
LABELLED_SPHEROCYTES = (Stratum.AGREED_SPHEROCYTE, Stratum.NOT_CALLED)


@dataclass(frozen=True, slots=True)
class Place:
    """Something to judge.

    Attributes
    ----------
    field : str
        Name of the image.
    stratum : Stratum
    box : tuple of int
        ``x, y, width, height`` in pixels of the field in true proportion.
    found_cut, labelled_cut : bool or None
        Whether the field's edge cuts the cell that was found, that was labelled; None where it was not.
    """

    field: str
    stratum: Stratum
    box: tuple[int, int, int, int]
    found_cut: bool | None = None
    labelled_cut: bool | None = None

    @property
    def found(self) -> bool:
        """Whether the model found a red cell here."""
        return self.found_cut is not None

    @property
    def labelled(self) -> bool:
        """Whether a red cell is labelled here."""
        return self.labelled_cut is not None

    def as_dict(self) -> dict[str, Any]:
        """For the key file."""
        return {
            "field": self.field,
            "stratum": str(self.stratum),
            "box": list(self.box),
            "found_cut": self.found_cut,
            "labelled_cut": self.labelled_cut,
        }


def places_of_field(
    label: LabelledImage,
    field: FieldImage,
    cells: Sequence[Cell],
    diameter: float,
    margin: float,
    rng: np.random.Generator,
) -> list[Place]:
    """Every place of a field.

    Parameters
    ----------
    label : LabelledImage
        In stored pixels.
    field : FieldImage
        The same image in true proportion.
    cells : sequence of Cell
        What the model found at its operating point.
    diameter : float
        Of the case's median cell, in pixels of the field.
    margin : float
        How far labelled boxes stand off the cell, in pixels; the boxes of what was found are drawn so, too.
    rng : numpy.random.Generator
        Chooses whose box is shown where there are two, and the clear places.
    """
    to_stored = np.tile([label.width / field.width, label.height / field.height], 2)
    boxes = label.boxes / to_stored
    red_labels = np.array([c.is_red_cell for c in label.classes], np.bool_)
    size = (field.width, field.height)
    found = [cell for cell in cells if cell.cell_class.is_red_cell]
    found_boxes = detections_of(found, margin, size).boxes
    labelled_boxes = boxes[red_labels]
    classes = [c for c in label.classes if c.is_red_cell]
    partner = _partners(box_iou(found_boxes, labelled_boxes))
    places = []
    for index, cell in enumerate(found):
        other = partner.get(index)
        shown = found_boxes[index] if other is None or rng.random() < 0.5 else labelled_boxes[other]
        labelled_cut = None if other is None else _is_cut(labelled_boxes[other], size)
        stratum = _stratum(cell.cell_class, None if other is None else classes[other])
        places.append(Place(label.name, stratum, _whole(shown), cell.touches_border, labelled_cut))
    for other in sorted(set(range(len(classes))) - set(partner.values())):
        box = labelled_boxes[other]
        places.append(Place(label.name, Stratum.MISSED, _whole(box), None, _is_cut(box, size)))
    dark = foreground(field.pixels)
    covered = _covered(boxes, cells, diameter, dark.shape)
    places += [Place(label.name, Stratum.FOREGROUND, box) for box in _uncovered(dark & ~covered, diameter)]
    places += [Place(label.name, Stratum.CLEAR, box) for box in _clear(dark | covered, diameter, rng)]
    return places


def _partners(overlap: NDArray[np.float64]) -> dict[int, int]:
    """Pairs of detection and label, the largest overlap first, each in one pair."""
    partner: dict[int, int] = {}
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        i, j = (int(v) for v in np.unravel_index(flat, overlap.shape))
        if overlap[i, j] < SAME_PLACE_IOU:
            break
        if i not in partner and j not in partner.values():
            partner[i] = j
    return partner


def _stratum(called: CellClass, labelled: CellClass | None) -> Stratum:
    called_one = called is CellClass.SPHEROCYTE
    if labelled is None:
        return Stratum.FOUND_SPHEROCYTE if called_one else Stratum.FOUND_RED
    if labelled is CellClass.SPHEROCYTE:
        return Stratum.AGREED_SPHEROCYTE if called_one else Stratum.NOT_CALLED
    return Stratum.CALLED if called_one else Stratum.AGREED_RED


def _is_cut(box: NDArray[np.float64], size: tuple[int, int]) -> bool:
    x, y, w, h = (float(v) for v in box)
    return min(x, y) <= EDGE_PX or x + w >= size[0] - EDGE_PX or y + h >= size[1] - EDGE_PX


def _covered(
    boxes: NDArray[np.float64], cells: Sequence[Cell], diameter: float, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """What labelled cells of any class and found ones of any class cover, with their blurred rims."""
    covered = np.zeros(shape, np.uint8)
    height, width = shape[:2]
    for part in (ellipse_in_box(box, width, height) for box in boxes):
        covered[part.y : part.y + part.mask.shape[0], part.x : part.x + part.mask.shape[1]][part.mask] = 1
    for cell in cells:
        covered[cell.y : cell.y + cell.mask.shape[0], cell.x : cell.x + cell.mask.shape[1]][cell.mask] = 1
    rim = 2 * max(1, round(0.05 * diameter)) + 1
    return np.asarray(cv2.dilate(covered, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim))), np.bool_)


def _uncovered(rest: NDArray[np.bool_], diameter: float) -> Iterator[tuple[int, int, int, int]]:
    width = 2 * max(1, round(0.06 * diameter)) + 1
    opened = cv2.morphologyEx(
        rest.astype(np.uint8), cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    )
    count, _, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    for part in range(1, count):
        if stats[part, cv2.CC_STAT_AREA] >= LEAST_AREA * np.pi / 4 * diameter**2:
            x, y, w, h = (int(v) for v in stats[part, :4])
            yield x, y, w, h


def _clear(taken: NDArray[np.bool_], diameter: float, rng: np.random.Generator) -> Iterator[tuple[int, int, int, int]]:
    side, given = round(diameter), 0
    height, width = taken.shape
    for _ in range(_CLEAR_TRIES):
        if given == CLEAR_OFFERED or side >= min(width, height):
            return
        x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        if not taken[y : y + side, x : x + side].any():
            taken[y : y + side, x : x + side] = True
            given += 1
            yield x, y, side, side


def _whole(box: NDArray[np.float64]) -> tuple[int, int, int, int]:
    x, y, w, h = (round(float(v)) for v in box)
    return x, y, w, h
