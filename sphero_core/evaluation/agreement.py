"""How well counts agree with labelled counts, and how far a probability means what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sphero_core.calibration import brier

#: Limits of agreement lie this many standard deviations about the bias.
LIMITS = 1.96
BINS = 10


@dataclass(frozen=True, slots=True)
class Agreement:
    """Bland and Altman's figures of paired counts.

    Attributes
    ----------
    bias : float
        Mean of found less labelled.
    low, high : float
        The limits of agreement, bias less and plus 1.96 standard deviations of the differences.
    fields : int
    """

    bias: float
    low: float
    high: float
    fields: int


def bland_altman(found: NDArray[np.float64], labelled: NDArray[np.float64]) -> Agreement | None:
    """Limits of agreement of two counts of the same fields, each of shape (n,); None for fewer than two fields.

    Source: Bland and Altman 1986, Lancet 327:307-310.
    """
    difference = found - labelled
    if len(difference) < 2:
        return None
    bias, spread = float(difference.mean()), float(difference.std(ddof=1))
    return Agreement(bias, bias - LIMITS * spread, bias + LIMITS * spread, len(difference))


@dataclass(frozen=True, slots=True)
class Reliability:
    """What became of cells by the probability they were given, in ten equal bins of it.

    Attributes
    ----------
    given, happened : tuple of float or None
        Mean probability and share of spherocytes of each bin; None for an empty one.
    cells : tuple of int
    brier : float or None
        Mean squared distance of probability and label.
    error : float or None
        Expected calibration error: mean distance of `given` and `happened`, bins weighted by their cells.
    """

    given: tuple[float | None, ...]
    happened: tuple[float | None, ...]
    cells: tuple[int, ...]
    brier: float | None
    error: float | None


def reliability(probabilities: NDArray[np.float64], is_one: NDArray[np.bool_]) -> Reliability:
    """Reliability of probabilities against what happened, each of shape (n,)."""
    place = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    cells = np.bincount(place, minlength=BINS)
    given = np.bincount(place, weights=probabilities, minlength=BINS) / np.maximum(cells, 1)
    happened = np.bincount(place, weights=is_one.astype(np.float64), minlength=BINS) / np.maximum(cells, 1)
    n = len(probabilities)
    return Reliability(
        given=tuple(float(v) if c else None for v, c in zip(given, cells, strict=True)),
        happened=tuple(float(v) if c else None for v, c in zip(happened, cells, strict=True)),
        cells=tuple(int(c) for c in cells),
        brier=brier(probabilities, is_one) if n else None,
        error=float(np.sum(np.abs(given - happened) * cells) / n) if n else None,
    )
