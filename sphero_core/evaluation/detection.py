"""Figures of detection against labelled boxes and masks: what `sphero evaluate --coco` writes.

Each candidate is one cell and stands in one family: red cells, platelets or white cells. Average precision ranks the candidates of
a family by the class's own probability, so that a red cell that was called RBC still stands, further down, in the
ranking of spherocytes. `red_cells` takes RBC and Spherocyte as one class, ranked by P(RBC) + P(Spherocyte).

Strict and labelled-only
------------------------
Strict figures count every detection without a label as false. Not every cell is labelled, so the labelled-only figures leave such
a detection out when all of this holds:

- it overlaps no labelled box, of whatever class, by `SAME_CELL_IOU` or more; and
- at least `UNLABELLED_SHARE` of its pixels are foreground (some cell's, by classical segmentation) that no labelled cell covers.

A labelled cell covers its mask, where a person drew it, and the ellipse inscribed in its box. What is left out could
match at no overlap, so leaving it out is what COCO calls ignoring. A detection on the clear smear, a second one on a labelled
cell, and a labelled cell called by a wrong class stay mistakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.bundle import Thresholds
from sphero_core.datasets.masks import BoxMask
from sphero_core.evaluation.average_precision import Figures, Matches, Ranked, average_precision
from sphero_core.evaluation.coco_truth import ImageTruth
from sphero_core.evaluation.matching import CLASSES, SAME_CELL_IOU, box_iou, called, is_red, mask_iou, match_one_to_one
from sphero_core.types import Cell, CellClass

#: Share of a detection that must lie on unlabelled foreground for the labelled-only figures to leave it out.
UNLABELLED_SHARE = 0.5
#: Name of RBC and Spherocyte taken as one class.
RED_CELLS = "red_cells"

_NAMES = (RED_CELLS, *CLASSES)


@dataclass(frozen=True, slots=True, eq=False)
class ImageDetections:
    """What was found in one image, in the coordinates of the field in true proportion.

    Attributes
    ----------
    boxes : ndarray of float, shape (n, 4)
        ``x, y, width, height`` in pixels.
    probabilities : ndarray of float, shape (n, 4)
        Of RBC, Spherocyte, Platelet, WBC. Give candidates down to a low score: average precision needs them.
    masks : tuple of BoxMask, length n, or None
        None gives figures of boxes only.
    """

    boxes: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    masks: tuple[BoxMask, ...] | None = None

    def only(self, kept: NDArray[np.bool_]) -> ImageDetections:
        """The detections at which `kept`, shape (n,), is true."""
        masks = None if self.masks is None else tuple(m for m, k in zip(self.masks, kept, strict=True) if k)
        return ImageDetections(self.boxes[kept], self.probabilities[kept], masks)


def detections_of(
    cells: Sequence[Cell], margin_px: float = 0.0, size: tuple[int, int] | None = None
) -> ImageDetections:
    """Cells as detections. P(Spherocyte) of a cell called RBC is its red-cell score less its score, and the reverse.

    Parameters
    ----------
    cells : sequence of Cell
    margin_px : float
        How far a box stands off the cell's mask on each side, as the labels' boxes do.
    size : tuple of int, optional
        Width and height of the field, which boxes do not leave.
    """
    probabilities = np.zeros((len(cells), len(CLASSES)))
    for row, cell in zip(probabilities, cells, strict=True):
        row[CLASSES.index(cell.cell_class)] = cell.score
        if cell.cell_class.is_red_cell:
            other = CellClass.SPHEROCYTE if cell.cell_class is CellClass.RBC else CellClass.RBC
            row[CLASSES.index(other)] = max(0.0, cell.red_cell_score - cell.score)
    tight = np.array([cell.box for cell in cells], np.float64).reshape(-1, 4)
    low, high = tight[:, :2] - margin_px, tight[:, :2] + tight[:, 2:] + margin_px
    if size is not None:
        low, high = np.maximum(low, 0), np.minimum(high, np.array(size, np.float64))
    boxes = np.column_stack([low, high - low])
    return ImageDetections(boxes, probabilities, tuple(BoxMask(cell.x, cell.y, cell.mask) for cell in cells))


def evaluate_detection(
    truths: Sequence[ImageTruth],
    found: Sequence[ImageDetections],
    thresholds: Thresholds,
    *,
    seconds_per_image: float | None = None,
) -> dict[str, Any]:
    """The figures of `sphero evaluate --coco`, ready for JSON.

    Parameters
    ----------
    truths, found : sequences of equal length
        One for each image.
    thresholds : Thresholds
        The bundle's operating point.
    seconds_per_image : float or None
        Passed through.

    Returns
    -------
    dict
        ``box``, ``mask`` or ``mask_from_boxes``, ``operating_point``, ``count_error`` and, with the same keys once more,
        ``labelled_only``; ``images`` and ``seconds_per_image``. ``mask`` stands for masks that a person drew,
        ``mask_from_boxes`` for masks made from boxes. A figure that cannot be had, such as that of a class without a label, is None.
    """
    if len(truths) != len(found):
        raise ValueError(
            f"{len(truths)} labelled images and {len(found)} analysed ones: give one of each for each image"
        )
    return {
        **_figures(truths, found, thresholds),
        "labelled_only": _figures(truths, labelled_only(truths, found), thresholds),
        "images": len(truths),
        "seconds_per_image": seconds_per_image,
    }


def labelled_only(truths: Sequence[ImageTruth], found: Sequence[ImageDetections]) -> list[ImageDetections]:
    """The detections without those on cells that nobody labelled; see the module's text."""
    return [image.only(~on_unlabelled_cell(truth, image)) for truth, image in zip(truths, found, strict=True)]


def on_unlabelled_cell(truth: ImageTruth, image: ImageDetections) -> NDArray[np.bool_]:
    """Whether each detection lies on a cell without a label: shape (n,)."""
    unmatched = box_iou(image.boxes, truth.boxes).max(axis=1, initial=0.0) < SAME_CELL_IOU
    unlabelled = truth.foreground.copy()
    height, width = unlabelled.shape
    covers = [ellipse_in_box(box, width, height) for box in truth.boxes]
    if truth.masks is not None and truth.masks_are_labelled:
        covers.extend(truth.masks)
    for cover in covers:
        unlabelled[cover.y : cover.y + cover.mask.shape[0], cover.x : cover.x + cover.mask.shape[1]][cover.mask] = False
    shapes = image.masks or [ellipse_in_box(box, width, height) for box in image.boxes]
    shares = [
        float(np.mean(unlabelled[s.y : s.y + s.mask.shape[0], s.x : s.x + s.mask.shape[1]][s.mask])) for s in shapes
    ]
    return np.asarray(unmatched & (np.array(shares, np.float64) >= UNLABELLED_SHARE), np.bool_)


def ellipse_in_box(box: NDArray[np.float64], width: int, height: int) -> BoxMask:
    """The ellipse inscribed in a box ``x, y, width, height``, as far as the field reaches; at least one pixel."""
    x, y, w, h = (float(v) for v in box)
    left, top = min(max(0, int(np.floor(x))), width - 1), min(max(0, int(np.floor(y))), height - 1)
    right = max(left + 1, min(width, int(np.ceil(x + w))))
    bottom = max(top + 1, min(height, int(np.ceil(y + h))))
    across = (np.arange(left, right) + 0.5 - (x + w / 2)) / max(w / 2, 0.5)
    down = (np.arange(top, bottom) + 0.5 - (y + h / 2)) / max(h / 2, 0.5)
    mask = down[:, None] ** 2 + across[None, :] ** 2 <= 1.0
    if not mask.any():
        mask[mask.shape[0] // 2, mask.shape[1] // 2] = True
    return BoxMask(left, top, mask)


def ranked_images(
    name: str, truths: Sequence[ImageTruth], found: Sequence[ImageDetections], *, masks: bool
) -> list[Ranked]:
    """What average precision needs of each image, for `red_cells` or one class, by boxes or by masks."""
    images = []
    for truth, image in zip(truths, found, strict=True):
        scores, in_family = _scores(name, image)
        asked = np.array([_is(name, c) for c in truth.classes], np.bool_)
        images.append(Ranked(scores[in_family], _overlap(truth, asked, image.only(in_family), masks=masks)))
    return images


def matches_of(
    name: str, truths: Sequence[ImageTruth], found: Sequence[ImageDetections], *, masks: bool = False
) -> tuple[Matches, ...]:
    """Matches of each image, for intervals: `bootstrap_interval(lambda m: figures_of(m).ap50, matches_of(...), seed=1)`."""
    return average_precision(ranked_images(name, truths, found, masks=masks))[1]


def _figures(truths: Sequence[ImageTruth], found: Sequence[ImageDetections], thresholds: Thresholds) -> dict[str, Any]:
    figures: dict[str, Any] = {"box": _precision(truths, found, masks=False)}
    if all(t.masks is not None for t in truths) and all(f.masks is not None for f in found):
        drawn = all(t.masks_are_labelled for t in truths if t.classes)
        figures["mask" if drawn else "mask_from_boxes"] = _precision(truths, found, masks=True)
    figures["operating_point"] = {name: _operating_point(name, truths, found, thresholds) for name in _NAMES}
    figures["count_error"] = count_error(truths, found, thresholds)
    return figures


def _precision(
    truths: Sequence[ImageTruth], found: Sequence[ImageDetections], *, masks: bool
) -> dict[str, dict[str, float | None]]:
    return {
        str(name): _as_json(average_precision(ranked_images(name, truths, found, masks=masks))[0]) for name in _NAMES
    }


def _as_json(figures: Figures) -> dict[str, float | None]:
    return {"AP": figures.ap, "AP50": figures.ap50, "AR": figures.ar}


def _is(name: str, cell_class: CellClass) -> bool:
    return cell_class.is_red_cell if name == RED_CELLS else cell_class == name


def _scores(name: str, image: ImageDetections) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The class's own score of each detection, and whether it is of the class's family."""
    red, p = is_red(image.probabilities), image.probabilities
    if name == RED_CELLS:
        return np.asarray(p[:, 0] + p[:, 1]), red
    cell_class = CellClass(name)
    if cell_class.is_red_cell:
        return p[:, CLASSES.index(cell_class)], red
    rather_platelet = p[:, 2] >= p[:, 3]
    family = ~red & (rather_platelet if cell_class is CellClass.PLATELET else ~rather_platelet)
    return p[:, CLASSES.index(cell_class)], np.asarray(family, np.bool_)


def _overlap(
    truth: ImageTruth, asked: NDArray[np.bool_], image: ImageDetections, *, masks: bool
) -> NDArray[np.float64]:
    if not masks:
        return box_iou(image.boxes, truth.boxes[asked])
    wanted = [m for m, a in zip(truth.masks or (), asked, strict=True) if a]
    return mask_iou(image.masks or (), wanted)


def _operating_point(
    name: str, truths: Sequence[ImageTruth], found: Sequence[ImageDetections], thresholds: Thresholds
) -> dict[str, float | None]:
    """Precision, recall and F1 of what is called by the class's name, matched one to one by boxes."""
    hits, calls, labelled = 0, 0, 0
    for truth, image in zip(truths, found, strict=True):
        scores, _ = _scores(name, image)
        chosen = np.array([c >= 0 and _is(name, CLASSES[c]) for c in called(image.probabilities, thresholds)], np.bool_)
        asked = np.array([_is(name, c) for c in truth.classes], np.bool_)
        matched = match_one_to_one(scores[chosen], box_iou(image.boxes[chosen], truth.boxes[asked]))
        hits += int(np.count_nonzero(matched >= 0))
        calls += len(matched)
        labelled += int(np.count_nonzero(asked))
    return {
        "precision": hits / calls if calls else None,
        "recall": hits / labelled if labelled else None,
        "f1": 2 * hits / (calls + labelled) if calls + labelled else None,
        "threshold": _threshold(name, thresholds),
    }


def _threshold(name: str, thresholds: Thresholds) -> float:
    return {
        CellClass.SPHEROCYTE: thresholds.spherocyte,
        CellClass.PLATELET: thresholds.platelet,
        CellClass.WBC: thresholds.wbc,
    }.get(CellClass(name) if name != RED_CELLS else CellClass.RBC, thresholds.red_cell)


def count_error(
    truths: Sequence[ImageTruth], found: Sequence[ImageDetections], thresholds: Thresholds
) -> dict[str, float | None]:
    """Errors of the numbers that are reported, cells cut by the edge included.

    Returns
    -------
    dict
        ``red_cells``: median over the fields of |found - labelled| / labelled (a field without a labelled red cell counts
        as if it had one); ``spherocyte_percent``: |found - labelled| of the shares pooled over all fields, in points; None
        where a share does not exist.
    """
    errors, totals = [], np.zeros(4, np.int64)
    for truth, image in zip(truths, found, strict=True):
        calls = called(image.probabilities, thresholds)
        red = int(np.count_nonzero((calls == 0) | (calls == 1)))
        labelled = sum(c.is_red_cell for c in truth.classes)
        errors.append(abs(red - labelled) / max(1, labelled))
        totals += (red, int(np.count_nonzero(calls == 1)), labelled, truth.classes.count(CellClass.SPHEROCYTE))
    red_found, spherocytes_found, red_labelled, spherocytes_labelled = (int(v) for v in totals)
    share = None
    if red_found and red_labelled:
        share = abs(100 * spherocytes_found / red_found - 100 * spherocytes_labelled / red_labelled)
    return {"red_cells": float(np.median(errors)) if errors else None, "spherocyte_percent": share}
