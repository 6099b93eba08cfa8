"""What decides on spherocytes: the network alone, the measures alone, or both; and a calibration where it helps.

Everything is nested. Each patient of the inner folds is judged by what the others taught, and calibrated by what was then learnt from the
others; thresholds and comparisons rest on these. What leaves is fitted once more on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.bundle import Thresholds
from sphero_core.calibration import FITS, Calibration, brier
from sphero_core.evaluation.matching import is_red, match_one_to_one
from sphero_core.judge import SpherocyteJudge, fit_judge, weigh
from sphero_core.training.operating_point import FoldPrediction, choose
from sphero_core.types import CellClass

#: The variants by name: features that their judge goes without; None where there is no judge.
VARIANTS: Mapping[str, tuple[str, ...] | None] = {
    "network_alone": None,
    "measures_alone": ("network_log_odds",),
    "with_judge": (),
}
#: A calibration that is better by less than this (Brier score) is not worth having.
LEAST_GAIN = 1e-4

Folds = Mapping[str, Sequence[FoldPrediction]]
Examples = tuple[NDArray[np.float64], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Decision:
    """One way to decide on spherocytes, ready to be served.

    Attributes
    ----------
    judge : SpherocyteJudge or None
    calibration : Calibration or None
    thresholds : Thresholds
    figures : dict
        On the inner folds: AP50 and F1 of red cells and spherocytes, Brier scores without and with each kind of calibration.
    """

    judge: SpherocyteJudge | None
    calibration: Calibration | None
    thresholds: Thresholds
    figures: dict[str, Any]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Decision:
        """The decision that a run's folder keeps."""
        judge, calibration = values["judge"], values["calibration"]
        return cls(
            None if judge is None else SpherocyteJudge.from_mapping(judge),
            None if calibration is None else Calibration.from_mapping(calibration),
            Thresholds(**values["thresholds"]),
            dict(values["figures"]),
        )

    def as_mapping(self) -> dict[str, Any]:
        """What a run's folder keeps."""
        return {
            "judge": None if self.judge is None else self.judge.as_mapping(),
            "calibration": None if self.calibration is None else self.calibration.as_mapping(),
            "thresholds": asdict(self.thresholds),
            "figures": self.figures,
        }


def decide(folds: Folds) -> tuple[str, dict[str, Decision]]:
    """Every variant, and the name of that which ranks spherocytes best on the inner folds.

    Parameters
    ----------
    folds : mapping
        Predictions by patient, each of a network that had not seen the patient.

    Returns
    -------
    str
        The simplest of the best by AP50 of spherocytes.
    dict of str to Decision
        Without those variants for which the folds hold too few labelled cells that were found.
    """
    made = {}
    for name, without in VARIANTS.items():
        if without is None or all(_can_teach(_others(folds, group)) for group in folds):
            made[name] = _decision(folds, without)
    best = max(made, key=lambda name: made[name].figures["Spherocyte"]["ap50"])
    return best, made


def _decision(folds: Folds, without: Sequence[str] | None) -> Decision:
    def judge_of(fields: Sequence[FoldPrediction]) -> SpherocyteJudge | None:
        if without is None:
            return None
        features, is_spherocyte = _pooled(fields, FoldPrediction.examples)
        return fit_judge(features, is_spherocyte, without=without)

    judged = {
        group: [_weighed(field, judge_of(_others(folds, group)), None) for field in fields]
        for group, fields in folds.items()
    }
    kind, scores = _calibration_kind(judged)
    fit = FITS[kind] if kind else None
    calibrated = []
    for group, fields in judged.items():
        calibration = fit(*_pooled(_others(judged, group), share_examples)) if fit else None
        calibrated += [_weighed(field, None, calibration) for field in fields]
    thresholds, figures = choose(calibrated)
    everything = [field for fields in judged.values() for field in fields]
    return Decision(
        judge=judge_of([field for fields in folds.values() for field in fields]),
        calibration=fit(*_pooled(everything, share_examples)) if fit else None,
        thresholds=thresholds,
        figures={**figures, "brier": scores},
    )


def _calibration_kind(judged: Folds) -> tuple[str | None, dict[str, float]]:
    """The kind whose mean Brier score over patients is smallest, each patient under what the others taught; None where none helps."""
    if not all(_can_teach(_others(judged, group)) for group in judged):
        return None, {}
    scores: dict[str, list[float]] = {"none": [], **{kind: [] for kind in FITS}}
    for group, fields in judged.items():
        share, is_one = _pooled(fields, share_examples)
        scores["none"].append(brier(share, is_one))
        for kind, fit in FITS.items():
            fitted = fit(*_pooled(_others(judged, group), share_examples))
            scores[kind].append(brier(fitted(share), is_one))
    means = {kind: float(np.nanmean(values)) for kind, values in scores.items()}
    best = min(FITS, key=lambda kind: means[kind])
    return (best if means[best] < means["none"] - LEAST_GAIN else None), means


def share_examples(field: FoldPrediction) -> Examples:
    """P(Spherocyte | red cell) of the candidates on labelled red cells, and whether the label is Spherocyte."""
    ranked, red = field.ranked(spherocytes=False), is_red(field.probabilities)
    matched = match_one_to_one(ranked.scores, ranked.overlap)
    p = field.probabilities[red][matched >= 0]
    wanted = [c is CellClass.SPHEROCYTE for c in field.true_classes if c.is_red_cell]
    return p[:, 1] / np.maximum(p[:, 0] + p[:, 1], 1e-6), np.array(wanted, np.bool_)[matched[matched >= 0]]


def _weighed(field: FoldPrediction, judge: SpherocyteJudge | None, calibration: Calibration | None) -> FoldPrediction:
    return replace(field, probabilities=weigh(field.probabilities, field.features, judge, calibration))


def _others(folds: Folds, group: str) -> list[FoldPrediction]:
    return [field for other, fields in folds.items() if other != group for field in fields]


def _pooled(fields: Sequence[FoldPrediction], examples: Callable[[FoldPrediction], Examples]) -> Examples:
    pairs = [examples(field) for field in fields]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def _can_teach(fields: Sequence[FoldPrediction]) -> bool:
    """Whether there are cells of both kinds to learn from."""
    labels = [share_examples(field)[1] for field in fields]
    found = np.concatenate(labels) if labels else np.empty(0, np.bool_)
    return bool(found.any() and not found.all())
