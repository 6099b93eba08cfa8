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
from sphero_core.evaluation.average_precision import Ranked, average_precision
from sphero_core.evaluation.matching import box_iou, is_red, match_one_to_one
from sphero_core.types import CellClass

_GRID = np.round(np.arange(0.10, 0.91, 0.01), 2)
#: F1 this close to the best counts as equally good; the middle of that plateau is taken, which is steadier.
_PLATEAU = 0.002


@dataclass(frozen=True, slots=True, eq=False)
class FoldPrediction:
    """Candidates and labels of one held-out field, in true-proportion pixels.

    Attributes
    ----------
    boxes : ndarray of float, shape (n, 4)
        ``x, y, width, height`` of the candidates.
    probabilities : ndarray of float, shape (n, 4)
        Of RBC, Spherocyte, Platelet, WBC.
    features : ndarray of float, shape (n, 7)
        See `sphero_core.judge.FEATURES`; NaN for what is no red cell.
    true_boxes : ndarray of float, shape (m, 4)
    true_classes : tuple of CellClass, length m
    """

    boxes: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    features: NDArray[np.float64]
    true_boxes: NDArray[np.float64]
    true_classes: tuple[CellClass, ...]

    def ranked(self, *, spherocytes: bool) -> Ranked:
        """Scores and overlaps of the red-cell candidates with the labelled red cells, or spherocytes."""
        red = is_red(self.probabilities)
        p = self.probabilities[red]
        wanted = [c is CellClass.SPHEROCYTE if spherocytes else c.is_red_cell for c in self.true_classes]
        scores = p[:, 1] if spherocytes else p[:, 0] + p[:, 1]
        return Ranked(scores, box_iou(self.boxes[red], self.true_boxes[np.array(wanted, np.bool_)]))

    def examples(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Features of the candidates on labelled red cells, and whether the label is Spherocyte."""
        wanted = np.array([c.is_red_cell for c in self.true_classes], np.bool_)
        is_spherocyte = np.array([c is CellClass.SPHEROCYTE for c in self.true_classes], np.bool_)[wanted]
        ranked, red = self.ranked(spherocytes=False), is_red(self.probabilities)
        matched = match_one_to_one(ranked.scores, ranked.overlap)
        return self.features[red][matched >= 0], is_spherocyte[matched[matched >= 0]]


def mean_precision(fields: Sequence[FoldPrediction]) -> float:
    """Mean of two average precisions at IoU 0.5: of all red cells as one class, and of spherocytes."""
    return (_ap50(fields, spherocytes=False) + _ap50(fields, spherocytes=True)) / 2


def choose(fields: Sequence[FoldPrediction]) -> tuple[Thresholds, dict[str, Any]]:
    """Thresholds of the largest F1, each on the pooled held-out fields, and the figures they give there.

    Platelets and WBC, which few labels name, get the red cells' threshold: there is too little to choose from.
    """
    red, red_f1 = _best(fields, spherocytes=False)
    spherocyte, spherocyte_f1 = _best(fields, spherocytes=True)
    figures = {
        "red_cells": {"f1": red_f1, "ap50": _ap50(fields, spherocytes=False)},
        "Spherocyte": {"f1": spherocyte_f1, "ap50": _ap50(fields, spherocytes=True)},
    }
    return Thresholds(red_cell=red, spherocyte=spherocyte, platelet=red, wbc=red), figures


def _ap50(fields: Sequence[FoldPrediction], *, spherocytes: bool) -> float:
    return average_precision([field.ranked(spherocytes=spherocytes) for field in fields])[0].ap50 or 0.0


def _best(fields: Sequence[FoldPrediction], *, spherocytes: bool) -> tuple[float, float]:
    """Threshold and F1 at the middle of the plateau of the best."""
    scores, hits, labelled = [], [], 0
    for field in fields:
        ranked = field.ranked(spherocytes=spherocytes)
        scores.append(ranked.scores)
        hits.append(match_one_to_one(ranked.scores, ranked.overlap) >= 0)
        labelled += ranked.overlap.shape[1]
    score, hit = np.concatenate(scores), np.concatenate(hits)
    kept = score[None, :] >= _GRID[:, None]
    f1 = 2 * np.count_nonzero(kept & hit, axis=1) / np.maximum(1, np.count_nonzero(kept, axis=1) + labelled)
    plateau = np.flatnonzero(f1 >= f1.max() - _PLATEAU)
    middle = int(plateau[len(plateau) // 2])
    return float(_GRID[middle]), float(f1[middle])
