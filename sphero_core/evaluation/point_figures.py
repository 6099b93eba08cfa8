"""Figures at labelled points with their intervals over images: what a report says of the pointed blocks that no network saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sphero_core.bundle import Thresholds
from sphero_core.evaluation.bootstrap import bootstrap_draws, interval_of
from sphero_core.evaluation.detection import ImageDetections
from sphero_core.evaluation.matching import CLASSES, called
from sphero_core.evaluation.points import LabelledPoints, match_points
from sphero_core.types import Cell, CellClass

#: Names of the figures, in the order in which a report shows them.
POINT_FIGURES = (
    "points_red_cell_recall",
    "points_spherocyte_f1",
    "points_spherocyte_recall",
    "points_spherocyte_precision",
    "points_false_spherocytes",
)


@dataclass(frozen=True, slots=True)
class PointTally:
    """Labelled points of one image.

    Attributes
    ----------
    red, found : int
        Of red cells, and of them found.
    spherocytes, calls, hits : int
        Labelled Spherocyte, called so, and both.
    false_calls, without : int
        In an image without a labelled spherocyte: called so, of how many points; 0 in others.
    """

    red: int
    found: int
    spherocytes: int
    calls: int
    hits: int
    false_calls: int
    without: int


def tally_points(points: LabelledPoints, image: ImageDetections, thresholds: Thresholds) -> PointTally:
    """Tally an image; a point is found as `sphero_core.evaluation.points` says."""
    cells = called_cells(image, thresholds)
    matched = match_points(points.places, cells)
    red = np.array([c.is_red_cell for c in points.classes], np.bool_)
    spherocyte = np.array([c is CellClass.SPHEROCYTE for c in points.classes], np.bool_)
    so_called = np.array([m >= 0 and cells[m].cell_class is CellClass.SPHEROCYTE for m in matched.tolist()], np.bool_)
    clean = not spherocyte.any()
    return PointTally(
        red=int(red.sum()),
        found=int(np.count_nonzero(red & (matched >= 0))),
        spherocytes=int(spherocyte.sum()),
        calls=int(so_called.sum()),
        hits=int(np.count_nonzero(so_called & spherocyte)),
        false_calls=int(so_called.sum()) if clean else 0,
        without=len(matched) if clean else 0,
    )


def called_cells(image: ImageDetections, thresholds: Thresholds) -> list[Cell]:
    """The cells that are called at an operating point, unmeasured."""
    calls = called(image.probabilities, thresholds)
    cells = []
    for call, p, mask in zip(calls.tolist(), image.probabilities, image.masks or (), strict=True):
        if call >= 0:
            cells.append(Cell(CLASSES[call], float(p[call]), float(p[0] + p[1]), mask.x, mask.y, mask.mask))
    return cells


def point_values(tallies: Sequence[PointTally]) -> NDArray[np.float64]:
    """The figures of some images in the order of `POINT_FIGURES`; NaN where they do not tell."""
    red, found, spherocytes, calls, hits, false_calls, without = np.sum(
        [(t.red, t.found, t.spherocytes, t.calls, t.hits, t.false_calls, t.without) for t in tallies] or [(0,) * 7],
        axis=0,
    ).tolist()
    pairs = (
        (found, red), (2 * hits, calls + spherocytes), (hits, spherocytes), (hits, calls), (false_calls, without)
    )  # fmt: skip
    return np.array([part / whole if whole else np.nan for part, whole in pairs])


def point_figures(
    tallies: Sequence[PointTally], *, seed: int, repetitions: int = 1000
) -> tuple[dict[str, float | None], dict[str, tuple[float, float] | None], NDArray[np.float64]]:
    """The figures, their 95 % intervals over images, and the draws behind these."""
    draws = bootstrap_draws(point_values, tallies, seed=seed, repetitions=repetitions)
    values = {
        name: None if np.isnan(v) else float(v) for name, v in zip(POINT_FIGURES, point_values(tallies), strict=True)
    }
    return values, {name: interval_of(draws[:, i]) for i, name in enumerate(POINT_FIGURES)}, draws
