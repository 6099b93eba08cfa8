"""What a cross-validation found, as one document of numbers; text, plots and model card are made of it and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.evaluation.agreement import bland_altman, reliability
from sphero_core.evaluation.average_precision import precision_at_recalls
from sphero_core.evaluation.bootstrap import bootstrap_draws, interval_of
from sphero_core.evaluation.coco_truth import ImageTruth
from sphero_core.evaluation.detection import ImageDetections
from sphero_core.evaluation.held_out import HeldOutField
from sphero_core.evaluation.matching import box_iou, called, is_red, match_one_to_one
from sphero_core.evaluation.overlaps import Separation, separation
from sphero_core.evaluation.patient_figures import (
    FIGURES,
    Figures,
    Tally,
    confusion,
    figures_with_intervals,
    mean_of,
    tallies_of,
)
from sphero_core.evaluation.point_figures import POINT_FIGURES, point_figures, tally_points
from sphero_core.judge import weigh
from sphero_core.training.bars import bars_of
from sphero_core.training.config import RunConfig
from sphero_core.training.crossval import Fold
from sphero_core.training.deciding import Decision
from sphero_core.types import CellClass

SCHEMA = "urn:spheroflow:crossval:1"
DRAWN = "drawn_pairs_separated"


def report_of(run: RunConfig, folds: Sequence[Fold], *, repetitions: int = 1000) -> dict[str, Any]:
    """Every number of a cross-validation, ready for JSON.

    Parameters
    ----------
    run : RunConfig
    folds : sequence of Fold
        Those that are done.
    repetitions : int
        Of the bootstrap.
    """
    patients, labelled_only, strict, points, drawn = {}, [], [], [], []
    for number, fold in enumerate(folds):
        seed = run.seed + number
        told, of_kept = _patient(fold, seed, repetitions)
        labelled_only.append(of_kept["labelled_only"])
        strict.append(of_kept["strict"])
        kept = fold.decisions[fold.kept]
        tallies = [tally_points(f.points, decided(f, kept), kept.thresholds) for f in fold.points if f.points]
        values, intervals, draws = point_figures(tallies, seed=seed, repetitions=repetitions)
        points.append((values, draws))
        of_drawn, drawn_draws = _drawn(fold, seed, repetitions)
        drawn.append((of_drawn["value"], drawn_draws))
        told["points"] = _told(values, intervals) | {"images": len(tallies)}
        told["drawn"] = {DRAWN: of_drawn}
        patients[fold.patient] = told
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": {"name": run.name, "version": run.version, "groups": list(run.groups), "seed": run.seed},
        "left_out": list(patients),
        "repetitions": repetitions,
        "patients": patients,
        "mean": {
            "labelled_only": _told_figures(mean_of(labelled_only)),
            "strict": _told_figures(mean_of(strict)),
            "points": _mean(POINT_FIGURES, points),
            "drawn": _mean((DRAWN,), [({DRAWN: value}, draws) for value, draws in drawn]),
        },
        "decisions": _mean_decisions(patients.values()),
    }
    return {**document, "bars": bars_of(document)}


def decided(field: HeldOutField, decision: Decision) -> ImageDetections:
    """The findings of a field with the probabilities that a decision gives."""
    return replace(
        field.found,
        probabilities=weigh(field.found.probabilities, field.features, decision.judge, decision.calibration),
    )


def _patient(fold: Fold, seed: int, repetitions: int) -> tuple[dict[str, Any], dict[str, Figures]]:
    kept = fold.decisions[fold.kept]
    fields = [field for field in fold.fields if field.truth is not None]
    truths = [field.truth for field in fields if field.truth is not None]
    found = [decided(field, kept) for field in fields]
    told_only = [image.only(~field.unlabelled) for image, field in zip(found, fields, strict=True)]
    tallies = {
        "labelled_only": tallies_of(truths, told_only, kept.thresholds),
        "strict": tallies_of(truths, found, kept.thresholds),
    }
    figures = {part: figures_with_intervals(each, seed=seed, repetitions=repetitions) for part, each in tallies.items()}
    told: dict[str, Any] = {part: _told_figures(each) for part, each in figures.items()}
    told |= {
        "fields": len(fields),
        "kept": fold.kept,
        "calibration": kept.calibration.kind if kept.calibration else None,
        "thresholds": asdict(kept.thresholds),
        "percent": _percent(tallies["labelled_only"]),
        "counts": _counts(fields, tallies["labelled_only"]),
        "agreement": _agreement(tallies["labelled_only"]),
        "confusion": confusion(truths, told_only, kept.thresholds),
        "precision_at_recalls": {
            "red_cells": _rounded(precision_at_recalls([t.red_boxes for t in tallies["labelled_only"]])),
            "spherocytes": _rounded(precision_at_recalls([t.spherocyte_boxes for t in tallies["labelled_only"]])),
        },
        "reliability": _reliability(fields, truths, kept),
        "decisions": {
            name: _of_decision(fields, truths, decision, seed, repetitions) for name, decision in fold.decisions.items()
        },
        "pairs": sum(t.separation.pairs for t in tallies["labelled_only"]),
        "separate_cell_pixels": sum(t.separation.pixels for t in tallies["labelled_only"]),
    }
    return told, figures


def _of_decision(
    fields: Sequence[HeldOutField], truths: Sequence[ImageTruth], decision: Decision, seed: int, repetitions: int
) -> dict[str, Any]:
    """What spherocytes are found with one way to decide; for the comparison."""
    found = [decided(field, decision).only(~field.unlabelled) for field in fields]
    figures = figures_with_intervals(tallies_of(truths, found, decision.thresholds), seed=seed, repetitions=repetitions)
    share, is_one = shares_of(fields, truths, decision)
    told = _told_figures(figures)
    compared = (
        "spherocyte_ap50",
        "spherocyte_f1",
        "spherocyte_precision",
        "spherocyte_recall",
        "spherocyte_percent_error",
    )
    return {
        **{name: told[name] for name in compared},
        "brier": reliability(share, is_one).brier,
        "calibration": decision.calibration.kind if decision.calibration else None,
        "threshold": decision.thresholds.spherocyte,
    }


def shares_of(
    fields: Sequence[HeldOutField], truths: Sequence[ImageTruth], decision: Decision
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """P(Spherocyte | red cell) of every labelled red cell that was found, and whether it is labelled Spherocyte."""
    shares, labels = [], []
    for field, truth in zip(fields, truths, strict=True):
        image = decided(field, decision)
        image = image.only(is_red(image.probabilities))
        wanted = np.array([c.is_red_cell for c in truth.classes], np.bool_)
        red = image.probabilities[:, 0] + image.probabilities[:, 1]
        matched = match_one_to_one(red, box_iou(image.boxes, truth.boxes[wanted]))
        is_one = np.array([c is CellClass.SPHEROCYTE for c in truth.classes], np.bool_)[wanted]
        shares.append((image.probabilities[:, 1] / np.maximum(red, 1e-6))[matched >= 0])
        labels.append(is_one[matched[matched >= 0]])
    return np.concatenate(shares), np.concatenate(labels)


def _reliability(
    fields: Sequence[HeldOutField], truths: Sequence[ImageTruth], kept: Decision
) -> dict[str, dict[str, Any]]:
    stages = {
        "network": replace(kept, judge=None, calibration=None),
        "before_calibration": replace(kept, calibration=None),
        "served": kept,
    }
    return {name: asdict(reliability(*shares_of(fields, truths, stage))) for name, stage in stages.items()}


def _percent(tallies: Sequence[Tally]) -> dict[str, float | None]:
    """Spherocytes in a hundred red cells, pooled over the fields: found and labelled."""
    found, labelled = sum(t.red.called for t in tallies), sum(t.red.labelled for t in tallies)
    return {
        "found": 100 * sum(t.spherocytes.called for t in tallies) / found if found else None,
        "labelled": 100 * sum(t.spherocytes.labelled for t in tallies) / labelled if labelled else None,
    }


def _counts(fields: Sequence[HeldOutField], tallies: Sequence[Tally]) -> list[dict[str, Any]]:
    return [
        {
            "field": field.name,
            "red_cells": [t.red.called, t.red.labelled],
            "spherocytes": [t.spherocytes.called, t.spherocytes.labelled],
        }
        for field, t in zip(fields, tallies, strict=True)
    ]


def _agreement(tallies: Sequence[Tally]) -> dict[str, Any]:
    pairs = {
        "red_cells": [(t.red.called, t.red.labelled) for t in tallies],
        "spherocytes": [(t.spherocytes.called, t.spherocytes.labelled) for t in tallies],
    }
    agreements = {name: bland_altman(*np.array(each, np.float64).reshape(-1, 2).T) for name, each in pairs.items()}
    return {name: None if each is None else asdict(each) for name, each in agreements.items()}


def _drawn(fold: Fold, seed: int, repetitions: int) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Touching pairs of drawn smears that were separated."""
    kept, separations = fold.decisions[fold.kept], []
    for field in fold.drawn:
        if field.truth is not None:
            image = decided(field, kept)
            calls = called(image.probabilities, kept.thresholds)
            separations.append(separation(field.truth, image.only((calls == 0) | (calls == 1))))

    def share(drawn: Sequence[Separation]) -> NDArray[np.float64]:
        pairs = sum(s.pairs for s in drawn)
        return np.array([sum(s.separated for s in drawn) / pairs if pairs else np.nan])

    draws = bootstrap_draws(share, separations, seed=seed, repetitions=repetitions)
    value, pairs = float(share(separations)[0]), sum(s.pairs for s in separations)
    return {"value": _clean(value), "ci95": interval_of(draws[:, 0]), "pairs": pairs}, draws


def _mean(
    names: Sequence[str], folds: Sequence[tuple[Mapping[str, float | None], NDArray[np.float64]]]
) -> dict[str, dict[str, Any]]:
    values = np.array([[np.nan if v[name] is None else v[name] for name in names] for v, _ in folds], np.float64)
    draws = np.mean([each for _, each in folds], axis=0)
    return {
        name: {"value": _clean(float(values[:, i].mean())), "ci95": interval_of(draws[:, i])}
        for i, name in enumerate(names)
    }


def _mean_decisions(patients: Any) -> dict[str, dict[str, float | None]]:
    """Means over the patients by way to decide, of those that every fold could make."""
    told = [patient["decisions"] for patient in patients]
    common = [name for name in told[0] if all(name in each for each in told)] if told else []
    means = {}
    for name in common:
        rows = {
            figure: [each[name][figure]["value"] for each in told]
            for figure in ("spherocyte_ap50", "spherocyte_f1", "spherocyte_percent_error")
        }
        rows["brier"] = [each[name]["brier"] for each in told]
        means[name] = {figure: None if None in row else float(np.mean(row)) for figure, row in rows.items()}
    return means


def _told_figures(figures: Figures) -> dict[str, dict[str, Any]]:
    return _told({name: figures.values[name] for name in FIGURES}, figures.intervals)


def _told(values: Mapping[str, float | None], intervals: Mapping[str, tuple[float, float] | None]) -> dict[str, Any]:
    return {name: {"value": value, "ci95": intervals[name]} for name, value in values.items()}


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    return [_clean(round(float(v), 4)) for v in values]


def _clean(value: float) -> float | None:
    return None if np.isnan(value) else value
