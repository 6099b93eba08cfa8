"""Choosing thresholds and the moment to stop from predictions on patients that were held out.

Matching is one to one at a box IoU of 0.5, best score first. A detection on a cell without a label cannot be told from a false
one here, so thresholds lean to the strict side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.bundle import Thresholds
from sphero_core.types import CellClass

_GRID = np.round(np.arange(0.10, 0.91, 0.01), 2)
_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class FoldPrediction:
    """Candidates and labels of one held-out field, in true-proportion pixels.

    Attributes
    ----------
    boxes : ndarray of float, shape (n, 4)
        ``x, y, width, height`` of the candidates.
    probabilities : ndarray of float, shape (n, 4)
        Of RBC, Spherocyte, Platelet, WBC.
    true_boxes : ndarray of float, shape (m, 4)
    true_classes : tuple of CellClass, length m
    """

    boxes: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    true_boxes: NDArray[np.float64]
    true_classes: tuple[CellClass, ...]


def mean_precision(fields: Sequence[FoldPrediction]) -> float:
    """Mean of two average precisions at IoU 0.5: all red cells as one class, and spherocytes."""
    return (average_precision(fields, red_cells=True) + average_precision(fields, red_cells=False)) / 2


def average_precision(fields: Sequence[FoldPrediction], *, red_cells: bool) -> float:
    """Area under the precision-recall curve, precision made monotonic (as in PASCAL VOC 2010)."""
    scores, hits, wanted = _matches(fields, red_cells=red_cells)
    if wanted == 0 or len(scores) == 0:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(hits[order])
    precision = true / np.arange(1, len(order) + 1)
    recall = true / wanted
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(np.concatenate([[0.0], recall])) * envelope))


def choose(fields: Sequence[FoldPrediction]) -> tuple[Thresholds, dict[str, Any]]:
    """Thresholds of the largest F1, each on the pooled held-out fields, and the figures they give there.

    Platelets and WBC, which few labels name, get the red cells' threshold where there is nothing to choose from.
    """
    red, red_f1 = _best(*_matches(fields, red_cells=True))
    spherocyte, spherocyte_f1 = _best(*_matches(fields, red_cells=False))
    figures = {
        "red_cells": {"f1": red_f1, "ap50": average_precision(fields, red_cells=True)},
        "spherocyte": {"f1": spherocyte_f1, "ap50": average_precision(fields, red_cells=False)},
    }
    return Thresholds(red_cell=red, spherocyte=spherocyte, platelet=red, wbc=red), figures


def _best(scores: NDArray[np.float64], hits: NDArray[np.bool_], wanted: int) -> tuple[float, float]:
    """Threshold and F1; the middle of the thresholds that are within 0.002 of the best, which is steadier."""
    f1 = np.zeros(len(_GRID))
    for i, threshold in enumerate(_GRID):
        kept = scores >= threshold
        true = int(np.count_nonzero(hits & kept))
        f1[i] = 2 * true / max(1, int(np.count_nonzero(kept)) + wanted)
    good = _GRID[f1 >= f1.max() - 0.002]
    middle = float(good[len(good) // 2])
    return middle, float(f1[np.searchsorted(_GRID, middle)])


def _matches(
    fields: Sequence[FoldPrediction], *, red_cells: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Scores of all candidates, whether each hit a label, and how many labels there are."""
    scores: list[float] = []
    hits: list[bool] = []
    wanted = 0
    for field in fields:
        rbc, spherocyte = field.probabilities[:, 0], field.probabilities[:, 1]
        red = rbc + spherocyte
        is_red = red >= field.probabilities[:, 2:].max(axis=1, initial=0.0)
        score = np.where(is_red, red if red_cells else spherocyte, 0.0)
        asked = [c.is_red_cell if red_cells else c is CellClass.SPHEROCYTE for c in field.true_classes]
        truth = field.true_boxes[np.array(asked, bool)]
        wanted += len(truth)
        taken = np.zeros(len(truth), bool)
        overlap = iou(field.boxes, truth)
        for i in np.argsort(-score, kind="stable"):
            if score[i] <= 0.05:
                break
            free = np.where(taken, 0.0, overlap[i])
            best = int(np.argmax(free)) if len(free) else -1
            hit = best >= 0 and free[best] >= _IOU
            if hit:
                taken[best] = True
            scores.append(float(score[i]))
            hits.append(bool(hit))
    return np.array(scores), np.array(hits, bool), wanted


def iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes ``x, y, width, height``: shape (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, :2] + first[:, None, 2:], second[None, :, :2] + second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.prod(first[:, 2:], axis=1)[:, None] + np.prod(second[:, 2:], axis=1)[None]
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))
