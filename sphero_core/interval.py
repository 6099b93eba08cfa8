"""Intervals of a share: Wilson's, and Wilson's on the effective sample size of cells that come in fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95

FEWEST_DEGREES = 4.0
"""Degrees of freedom that are granted to the spread between few fields: with two or three its own would widen the interval without limit."""

_TAIL = 1.5
"""Fourth standardised moment above which residuals count as heavy-tailed. That of the normal distribution is 3; a few fields understate it, and rare
cells are skewed. Chosen by simulation, see `tests.interval_coverage`."""


@dataclass(frozen=True, slots=True)
class FieldEffect:
    """What the spread between fields does to the sample.

    Attributes
    ----------
    design_effect : float
        Variance of the share over that of as many independent cells; at least 1, and 1 with a single field.
    effective_cells : float
        Cells that as many independent ones would have to be for the same interval: what the interval rests on.
    """

    design_effect: float
    effective_cells: float


def wilson_interval(k: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share, without continuity correction.

    Parameters
    ----------
    k, n : float
        Hits and trials, 0 <= k <= n; whole numbers, n at least 1, but for an effective sample size.
    confidence : float
        Two-sided, between 0 and 1.

    Returns
    -------
    tuple of float
        Lower and upper bound as shares, 0 to 1.

    Raises
    ------
    ValueError
        If the numbers are not a count of hits in trials or `confidence` is no probability.

    Notes
    -----
    Wilson, E. B. (1927), J. Am. Stat. Assoc. 22:209-212; Newcombe, R. G. (1998), Stat. Med. 17:857-872, method 3.
    """
    if not n > 0 or not 0 <= k <= n:
        raise ValueError(f"{k} hits in {n} trials are no share; give 0 <= k <= n and n >= 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is no probability; give a number between 0 and 1, such as 0.95")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = k + z * z / 2
    half = z * (k * (n - k) / n + z * z / 4) ** 0.5
    scale = n + z * z
    # Rounding must not push the bounds past what was seen: with no hit the lower bound is 0, not 1e-17.
    lower = 0.0 if k == 0 else (centre - half) / scale
    upper = 1.0 if k == n else (centre + half) / scale
    return lower, upper


def field_effect(hits: Sequence[int], cells: Sequence[int]) -> FieldEffect:
    """How much less cells tell that come in fields than as many independent ones.

    Parameters
    ----------
    hits, cells : sequence of int
        Spherocytes and red cells of each field; fields without a red cell have no say.

    Returns
    -------
    FieldEffect

    Raises
    ------
    ValueError
        If there is no cell at all.

    Notes
    -----
    The share is a ratio of totals over m fields of n_i cells. With the residuals r_i = k_i - p n_i its variance is m / (m - 1) sum r_i^2 / N^2
    (Cochran, Sampling Techniques, 3rd ed. 1977, chapter 6); over p (1 - p) / N that is the design effect (Kish 1965), here never below 1.

    The effective size is N over max(1, design effect * (t / z)^2), t Student's quantile (Korn and Graubard, Surv. Methodol. 1998, 24:193-201). Its
    degrees of freedom are those of a variance estimated from heavy-tailed residuals, 2 / (2 / (m - 1) + (kurtosis - `_TAIL`) / m): few fields
    with many spherocytes among many with none tell little of the spread.
    """
    from scipy import special  # here: every process and command that reads the settings would take a second longer

    k, n = np.asarray(hits, np.float64), np.asarray(cells, np.float64)
    k, n = k[n > 0], n[n > 0]
    fields, total = len(n), float(n.sum())
    if not fields:
        raise ValueError("no cell was counted: there is no share")
    share = float(k.sum()) / total
    if fields == 1 or share in (0.0, 1.0):
        return FieldEffect(1.0, total)
    squares = (k - share * n) ** 2
    spread = float(squares.sum())
    design = fields / (fields - 1) * spread / total / (share * (1 - share))
    kurtosis = fields * float((squares**2).sum()) / spread**2 if spread > 0 else 0.0
    degrees = 2 / (2 / (fields - 1) + max(0.0, kurtosis - _TAIL) / fields)
    upper = (1 + CONFIDENCE) / 2
    student = float(special.stdtrit(max(degrees, FEWEST_DEGREES), upper)) / NormalDist().inv_cdf(upper)
    return FieldEffect(max(1.0, design), total / max(1.0, design * student**2))


def field_interval(hits: Sequence[int], cells: Sequence[int]) -> tuple[float, float]:
    """95 % interval of the pooled share of a case: Wilson's on the effective sample size; see `field_effect`."""
    effective = field_effect(hits, cells).effective_cells
    return wilson_interval(effective * sum(hits) / sum(cells), effective)
