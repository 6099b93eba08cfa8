"""All figures of one left-out patient, each with its interval over fields.

Fields are tallied once; a figure of any selection of fields, and so its bootstrap interval, is a sum over tallies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sphero_core.bundle import Thresholds
from sphero_core.evaluation.average_precision import Matches, figures_of
from sphero_core.evaluation.bootstrap import bootstrap_draws, interval_of
from sphero_core.evaluation.coco_truth import ImageTruth
from sphero_core.evaluation.detection import RED_CELLS, ImageDetections, matches_of
from sphero_core.evaluation.matching import CLASSES, box_iou, called, match_one_to_one
from sphero_core.evaluation.overlaps import Separation, separation
from sphero_core.types import CellClass

#: Names of the figures, in the order in which a report shows them.
FIGURES = (
    "red_cells_box_ap50",
    "red_cells_mask_ap50",
    "red_cells_box_ap",
    "red_cells_mask_ap",
    "mask_pixel_accuracy",
    "spherocyte_f1",
    "spherocyte_precision",
    "spherocyte_recall",
    "spherocyte_ap50",
    "spherocyte_percent_error",
    "overlapping_pairs_separated",
    "red_cell_count_error",
)


@dataclass(frozen=True, slots=True)
class Calls:
    """Cells of one kind in one field at the operating point: called, of those labelled so, and labelled."""

    called: int
    hits: int
    labelled: int


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What one field adds to the figures of its patient."""

    red_boxes: Matches
    red_masks: Matches
    spherocyte_boxes: Matches
    red: Calls
    spherocytes: Calls
    separation: Separation


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Figures of a patient.

    Attributes
    ----------
    values : dict of str to float or None
        By name, see `FIGURES`; None where the fields do not tell.
    intervals : dict of str to (float, float) or None
        95 % over fields.
    draws : ndarray of float, shape (repetitions, len(FIGURES))
        Those behind the intervals.
    """

    values: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    draws: NDArray[np.float64]


def tallies_of(truths: Sequence[ImageTruth], found: Sequence[ImageDetections], thresholds: Thresholds) -> list[Tally]:
    """Tally fields.

    Parameters
    ----------
    truths : sequence of ImageTruth
        With masks.
    found : sequence of ImageDetections
        With the probabilities that decide, and masks.
    thresholds : Thresholds
    """
    red_boxes = matches_of(RED_CELLS, truths, found)
    red_masks = matches_of(RED_CELLS, truths, found, masks=True)
    spherocytes = matches_of(CellClass.SPHEROCYTE, truths, found)
    tallies = []
    for index, (truth, image) in enumerate(zip(truths, found, strict=True)):
        calls = called(image.probabilities, thresholds)
        red = image.only((calls == 0) | (calls == 1))
        tallies.append(
            Tally(
                red_boxes=red_boxes[index],
                red_masks=red_masks[index],
                spherocyte_boxes=spherocytes[index],
                red=_calls(truth, red, spherocytes=False),
                spherocytes=_calls(truth, image.only(calls == 1), spherocytes=True),
                separation=separation(truth, red),
            )
        )
    return tallies


def figures_with_intervals(tallies: Sequence[Tally], *, seed: int, repetitions: int = 1000) -> Figures:
    """All figures of some fields and their 95 % intervals."""
    draws = bootstrap_draws(values_of, tallies, seed=seed, repetitions=repetitions)
    return _named(values_of(tallies), draws)


def mean_of(patients: Sequence[Figures]) -> Figures:
    """Means over patients; fields are drawn anew within each patient, so the interval does not speak of further patients."""
    values = np.array([[np.nan if p.values[name] is None else p.values[name] for name in FIGURES] for p in patients])
    return _named(values.mean(axis=0), np.mean([patient.draws for patient in patients], axis=0))


def values_of(tallies: Sequence[Tally]) -> NDArray[np.float64]:
    """The figures of some fields in the order of `FIGURES`; NaN where they do not tell."""
    boxes, masks = (figures_of([getattr(t, kind) for t in tallies]) for kind in ("red_boxes", "red_masks"))
    spherocyte_ap50 = figures_of([t.spherocyte_boxes for t in tallies]).ap50
    calls, hits, labelled = np.sum(
        [(t.spherocytes.called, t.spherocytes.hits, t.spherocytes.labelled) for t in tallies] or [(0, 0, 0)], axis=0
    ).tolist()
    separated, pairs, alike, pixels = np.sum(
        [(t.separation.separated, t.separation.pairs, t.separation.alike, t.separation.pixels) for t in tallies]
        or [(0, 0, 0, 0)],
        axis=0,
    ).tolist()
    errors = [abs(t.red.called - t.red.labelled) / max(1, t.red.labelled) for t in tallies]
    red_called, red_labelled = sum(t.red.called for t in tallies), sum(t.red.labelled for t in tallies)
    percent_error = abs(_share(100 * calls, red_called) - _share(100 * labelled, red_labelled))
    return np.array(
        [
            _number(boxes.ap50),
            _number(masks.ap50),
            _number(boxes.ap),
            _number(masks.ap),
            _share(alike, pixels),
            _share(2 * hits, calls + labelled),
            _share(hits, calls),
            _share(hits, labelled),
            _number(spherocyte_ap50),
            percent_error,
            _share(separated, pairs),
            float(np.median(errors)) if errors else np.nan,
        ]
    )


def confusion(
    truths: Sequence[ImageTruth], found: Sequence[ImageDetections], thresholds: Thresholds
) -> list[list[int]]:
    """Labelled class by called class, whatever the class, matched one to one by boxes: shape (5, 5).

    Rows and columns are those of `sphero_core.evaluation.matching.CLASSES`; the last row is detections without a label, the last column
    labelled cells that were missed.
    """
    n = len(CLASSES)
    table = np.zeros((n + 1, n + 1), np.int64)
    for truth, candidates in zip(truths, found, strict=True):
        calls = called(candidates.probabilities, thresholds)
        image, calls = candidates.only(calls >= 0), calls[calls >= 0]
        matched = match_one_to_one(image.probabilities.max(axis=1, initial=0.0), box_iou(image.boxes, truth.boxes))
        for call, cell in zip(calls, matched, strict=True):
            table[n if cell < 0 else CLASSES.index(truth.classes[cell]), call] += 1
        for cell in set(range(len(truth.classes))) - set(matched.tolist()):
            table[CLASSES.index(truth.classes[cell]), n] += 1
    return [[int(v) for v in row] for row in table]


def _calls(truth: ImageTruth, image: ImageDetections, *, spherocytes: bool) -> Calls:
    asked = np.array([c is CellClass.SPHEROCYTE if spherocytes else c.is_red_cell for c in truth.classes], np.bool_)
    scores = image.probabilities[:, 1] if spherocytes else image.probabilities[:, 0] + image.probabilities[:, 1]
    matched = match_one_to_one(scores, box_iou(image.boxes, truth.boxes[asked]))
    return Calls(len(matched), int(np.count_nonzero(matched >= 0)), int(np.count_nonzero(asked)))


def _named(values: NDArray[np.float64], draws: NDArray[np.float64]) -> Figures:
    return Figures(
        {name: None if np.isnan(v) else float(v) for name, v in zip(FIGURES, values, strict=True)},
        {name: interval_of(draws[:, index]) for index, name in enumerate(FIGURES)},
        draws,
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _share(part: float, whole: float) -> float:
    return part / whole if whole else np.nan
