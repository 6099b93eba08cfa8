"""Spherocyte or not: the network's opinion weighed with the measures of the cell.

The network takes dense cells without pallor for spherocytes also where they are not round (burr cells, teardrops, irregularly
contracted cells). A logistic regression over its log odds and the measures that haematologists go by (round, dense, no pallor, small)
gives the probability that is reported. It is fitted on patients that the network behind the log odds had not seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.calibration import Calibration
from sphero_core.types import Cell, CellClass

#: Order of the features; all are plain numbers.
FEATURES = (
    "network_log_odds",
    "circularity",
    "axis_ratio",
    "solidity",
    "pallor_index",
    "log_density_over_field_median",
    "log_diameter_over_case_median",
)
_SHAPE = slice(1, 5)
_SIZE = 6
_LEAST, _MOST = 1e-3, 1 - 1e-3


@dataclass(frozen=True, slots=True)
class SpherocyteJudge:
    """A fitted logistic regression.

    Attributes
    ----------
    mean, scale, weights : tuple of float, as many as `FEATURES`
        The probability is ``sigmoid(bias + sum(weights * (x - mean) / scale))``.
    bias : float
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SpherocyteJudge:
        """The judge that a bundle describes.

        Raises
        ------
        ValueError
            It was fitted on other features than those here.
        """
        if tuple(values["features"]) != FEATURES:
            raise ValueError("its spherocyte judge was fitted on other features than this program knows")
        numbers = {name: tuple(float(v) for v in values[name]) for name in ("mean", "scale", "weights")}
        return cls(**numbers, bias=float(values["bias"]))

    def as_mapping(self) -> dict[str, Any]:
        """What a bundle keeps."""
        return {
            "features": list(FEATURES),
            "mean": list(self.mean),
            "scale": list(self.scale),
            "weights": list(self.weights),
            "bias": self.bias,
        }

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(spherocyte | red cell) of each row of features, shape (n,); what is NaN speaks neither for nor against."""
        return np.asarray(1.0 / (1.0 + np.exp(-(self.says(features).sum(axis=1) + self.bias))), np.float64)

    def says(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each feature says of each cell, in log odds: its weight times its standardised value, shape (n, 7).

        Above 0 speaks for a spherocyte. The sum of a row and the bias is the log odds of the judge's probability.
        """
        x = (features - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(np.nan_to_num(x) * np.array(self.weights), np.float64)


def explain(judge: SpherocyteJudge, features: NDArray[np.float64]) -> list[tuple[str, float]]:
    """Why a cell was called: each feature's say in log odds, the weightiest first.

    Parameters
    ----------
    judge : SpherocyteJudge
    features : ndarray of float, shape (7,)
        Of the cell, see `features_of`.
    """
    says = judge.says(features[None])[0].tolist()
    return sorted(zip(FEATURES, says, strict=True), key=lambda pair: -abs(pair[1]))


def weigh(
    probabilities: NDArray[np.float64],
    features: NDArray[np.float64],
    judge: SpherocyteJudge | None,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """Probabilities of candidates once judge and calibration had their say on the red cells: shape (n, 4).

    Parameters
    ----------
    probabilities : ndarray of float, shape (n, 4)
        The network's, of RBC, Spherocyte, Platelet, WBC.
    features : ndarray of float, shape (n, 7)
        See `features_of`; NaN for what is no red cell.
    judge : SpherocyteJudge or None
        None leaves the decision to the network.
    calibration : Calibration or None
    """
    if judge is None and calibration is None:
        return probabilities
    red = probabilities[:, 0] + probabilities[:, 1]
    is_red = red >= probabilities[:, 2:].max(axis=1, initial=0.0)
    share = probabilities[:, 1] / np.maximum(red, 1e-6) if judge is None else judge.probabilities(features)
    spherocyte = red * (share if calibration is None else calibration(share))
    weighed = np.column_stack([red - spherocyte, spherocyte, probabilities[:, 2:]])
    return np.where(is_red[:, None], weighed, probabilities)


def judge_cells(
    cells: Sequence[Cell],
    judge: SpherocyteJudge | None,
    threshold: float,
    cell_diameter_px: float,
    calibration: Calibration | None = None,
) -> list[Cell]:
    """Decide anew which red cells of a field are spherocytes.

    Parameters
    ----------
    cells : sequence of Cell
        Measured; see `sphero_core.morphology.measure_cells`.
    judge : SpherocyteJudge or None
        None leaves the network's decision.
    threshold : float
        On P(Spherocyte).
    cell_diameter_px : float
        Median cell diameter of the case in pixels of the field.
    calibration : Calibration or None
        Of the judge's probability, or of the network's where there is no judge.

    Returns
    -------
    list of Cell
        In the same order, scores and classes of red cells renewed; the red-cell score stays.
    """
    red = [i for i, cell in enumerate(cells) if cell.cell_class.is_red_cell]
    if not red or (judge is None and calibration is None):
        return list(cells)
    judged = list(cells)
    if judge is None:
        given = np.array([network_share(cells[i]) for i in red])
    else:
        given = judge.probabilities(features_of([cells[i] for i in red], cell_diameter_px))
    if calibration is not None:
        given = calibration(given)
    for i, share in zip(red, given.tolist(), strict=True):
        spherocyte = share * cells[i].red_cell_score
        is_one = spherocyte >= threshold
        judged[i] = replace(
            cells[i],
            cell_class=CellClass.SPHEROCYTE if is_one else CellClass.RBC,
            score=spherocyte if is_one else cells[i].red_cell_score - spherocyte,
        )
    return judged


def features_of(cells: Sequence[Cell], cell_diameter_px: float) -> NDArray[np.float64]:
    """Features of the red cells of one field: shape (n, 7), in the order of `FEATURES`.

    Shape and size of a cell that the edge cuts are those of the part that is seen, so they are NaN here.
    """
    rows = np.full((len(cells), len(FEATURES)), np.nan)
    for row, cell in zip(rows, cells, strict=True):
        share = network_share(cell)
        row[0] = np.log(share / (1 - share))
        m = cell.measures
        if m is not None:
            row[1:] = (
                m.circularity,
                m.axis_ratio,
                m.solidity,
                m.pallor_index,
                np.log(max(m.relative_density, 1e-3)),
                np.log(m.equivalent_diameter_px / cell_diameter_px),
            )
        if cell.touches_border:
            row[_SHAPE] = np.nan
            row[_SIZE] = np.nan
    density = rows[:, 5]
    if np.any(np.isfinite(density)):
        rows[:, 5] -= np.nanmedian(density)
    return rows


def network_share(cell: Cell) -> float:
    """The network's P(Spherocyte | red cell), kept away from 0 and 1."""
    spherocyte = cell.score if cell.cell_class is CellClass.SPHEROCYTE else cell.red_cell_score - cell.score
    return float(np.clip(spherocyte / max(cell.red_cell_score, 1e-6), _LEAST, _MOST))


def fit_judge(
    features: NDArray[np.float64],
    is_spherocyte: NDArray[np.bool_],
    *,
    ridge: float = 1.0,
    without: Collection[str] = (),
) -> SpherocyteJudge:
    """Fit by penalised maximum likelihood (Newton's method).

    Parameters
    ----------
    features : ndarray of float, shape (n, 7)
    is_spherocyte : ndarray of bool, shape (n,)
    ridge : float
        Weight of the squared standardised coefficients, the bias left out.
    without : collection of str
        Features that get no weight.

    Returns
    -------
    SpherocyteJudge
    """
    features = np.where(np.isin(FEATURES, list(without)), 0.0, features)
    mean = np.nanmean(features, axis=0)
    scale = np.maximum(np.nanstd(features, axis=0), 1e-6)
    x = np.column_stack([np.nan_to_num((features - mean) / scale), np.ones(len(features))])
    y = is_spherocyte.astype(np.float64)
    penalty = np.diag([ridge] * (x.shape[1] - 1) + [1e-6])
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-(x @ w)))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + penalty, x.T @ (y - p) - penalty @ w)
        w += step
        if np.abs(step).max() < 1e-8:
            break
    return SpherocyteJudge(tuple(mean), tuple(scale), tuple(w[:-1]), float(w[-1]))
