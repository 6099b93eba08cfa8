"""Making P(Spherocyte | red cell) mean what it says: of the cells given 0.3, three in ten are labelled spherocytes.

A calibration is one increasing, piecewise linear function of the log odds; both usual kinds are that. Platt's is a single line, the
isotonic one has a knot for each block of the pooled-adjacent-violators solution and is flat beyond the outermost.

Sources: Platt 1999, "Probabilistic outputs for support vector machines"; Zadrozny and Elkan 2002, "Transforming classifier scores into
accurate multiclass probability estimates".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Probabilities are looked at no nearer to 0 and 1 than this.
NEAREST = 1e-4
#: An isotonic block of one label says no more than this.
SUREST = 2e-3


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted calibration.

    Attributes
    ----------
    kind : str
        ``platt`` or ``isotonic``.
    x, y : tuple of float, of equal length
        Knots in log odds, `x` increasing and `y` not decreasing: what was given, and what it is worth.
    """

    kind: str
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities, of the same shape."""
        return _sigmoid(np.interp(log_odds(probabilities), self.x, self.y))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration that a bundle describes.

        Raises
        ------
        ValueError
            Its knots are no increasing function.
        """
        x, y = (tuple(float(v) for v in values[name]) for name in ("x", "y"))
        if not x or len(x) != len(y) or np.any(np.diff(x) <= 0) or np.any(np.diff(y) < 0):
            raise ValueError("its calibration is no increasing function")
        return cls(str(values["kind"]), x, y)

    def as_mapping(self) -> dict[str, Any]:
        """What a bundle keeps."""
        return {"kind": self.kind, "x": list(self.x), "y": list(self.y)}


def log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(p / (1 - p)), with p kept away from 0 and 1."""
    p = np.clip(probabilities, NEAREST, 1 - NEAREST)
    return np.asarray(np.log(p / (1 - p)), np.float64)


def fit_platt(probabilities: NDArray[np.float64], is_one: NDArray[np.bool_]) -> Calibration:
    """A line through the log odds, by maximum likelihood with Platt's softened targets; never a falling one.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n,)
    is_one : ndarray of bool, shape (n,)
    """
    x = np.column_stack([log_odds(probabilities), np.ones(len(probabilities))])
    ones = int(np.count_nonzero(is_one))
    zeros = len(is_one) - ones
    y = np.where(is_one, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    w = np.array([1.0, 0.0])
    for _ in range(50):
        p = _sigmoid(x @ w)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, x.T @ (y - p))
        # A long step overshoots where all cells are far from the boundary.
        w += step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    slope, shift = max(float(w[0]), 0.0), float(w[1])
    edge = float(log_odds(np.array([1.0]))[0])
    return Calibration("platt", (-edge, edge), (shift - slope * edge, shift + slope * edge))


def fit_isotonic(probabilities: NDArray[np.float64], is_one: NDArray[np.bool_]) -> Calibration:
    """The increasing function nearest to the labels in least squares, straight between the centres of its blocks.

    Parameters as of `fit_platt`.
    """
    from scipy.optimize import isotonic_regression

    given = log_odds(probabilities)
    # Cells of equal score are one: their mean counts as often as there are cells.
    levels, place, weight = np.unique(given, return_inverse=True, return_counts=True)
    share = np.bincount(place, weights=is_one.astype(np.float64)) / weight
    solved = isotonic_regression(share, weights=weight)
    x, y = [], []
    for first, end in zip(solved.blocks[:-1], solved.blocks[1:], strict=True):
        x.append(float(np.average(levels[first:end], weights=weight[first:end])))
        y.append(float(solved.x[first]))
    limited = np.clip(y, SUREST, 1 - SUREST)
    return Calibration("isotonic", tuple(x), tuple(log_odds(limited).tolist()))


#: How each kind is fitted.
FITS: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.bool_]], Calibration]] = {
    "platt": fit_platt,
    "isotonic": fit_isotonic,
}


def brier(probabilities: NDArray[np.float64], is_one: NDArray[np.bool_]) -> float:
    """Mean squared distance of probabilities to what happened (Brier 1950); 0 is perfect, NaN without a cell."""
    if len(probabilities) == 0:
        return float("nan")
    return float(np.mean((probabilities - is_one.astype(np.float64)) ** 2))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), np.float64)
