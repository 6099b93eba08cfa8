"""Would the cells' measures decide on spherocytes better than the network alone? Prints the tables of deploy/docs/spherocyte-measures.md.

    python -m tests.judge_figures RUN.yaml --images DIR --coco FILE --point-images DIR --points DIR --keep DIR

Of the data only what the run trained and chose on is read: its patients and all blocks but the reported ones. What the bundle's network
finds in them is kept in a folder (a second's work a field); every figure comes from there.

Each patient, and the blocks that were kept for choosing, is judged by what the others teach: the judge is fitted to the other patients'
measures (and, in the second table, to those at the points of the blocks that were trained on), its threshold is chosen where the others,
again each left out, have their best F1. The network saw the patients, not the blocks kept for choosing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sphero_core.bundle import Bundle, load_bundle, resolve_bundle
from sphero_core.datasets.coco import read_coco
from sphero_core.datasets.points import read_pointed
from sphero_core.detector import load_detector
from sphero_core.evaluation.bootstrap import bootstrap_draws, interval_of
from sphero_core.evaluation.held_out import HeldOutField, hold_out_labelled, hold_out_pointed, keep, kept
from sphero_core.evaluation.matching import box_iou, called, match_one_to_one
from sphero_core.evaluation.point_figures import called_cells
from sphero_core.evaluation.points import match_points
from sphero_core.evaluation.run import Run
from sphero_core.judge import FEATURES, SpherocyteJudge, fit_judge
from sphero_core.training.config import RunConfig, read_run
from sphero_core.types import CellClass

Floats = NDArray[np.float64]
#: The blocks of pointed images that thresholds of the run were chosen on, and those that it trained on.
BLOCKS, TRAINED = "blocks", "trained blocks"
#: No measure may speak against its meaning: beside circularity, solidity would.
WITHOUT = ("network_log_odds", "solidity")
GRID = np.round(np.arange(0.10, 0.91, 0.01), 2)
#: Share of labelled spherocytes that a veto may cost.
COST = 0.02
REPETITIONS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The red cells that the network calls in one field: features, P(red cell), P(spherocyte); 1, 0 or -1 as labelled, not, or without a label."""

    features: Floats
    red: Floats
    spherocyte: Floats
    label: NDArray[np.int64]
    labelled: int
    counted: NDArray[np.bool_]  # a call here counts: at points, only where a point lies


Fields = Mapping[str, Sequence[Cells]]
Tallies = dict[str, list[tuple[int, int]]]
#: Gives P(spherocyte) of a field's cells under a judge of the measures.
Scores = Callable[[Cells, SpherocyteJudge], Floats]


def _log_odds(share: Floats) -> Floats:
    inside = np.clip(share, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(inside / (1 - inside)), np.float64)


def _mean_of_both(cells: Cells, judge: SpherocyteJudge) -> Floats:
    network, measures = _log_odds(cells.spherocyte / cells.red), _log_odds(judge.probabilities(cells.features))
    return np.asarray(cells.red / (1 + np.exp(-(network + measures) / 2)), np.float64)


SHIPPED = "network alone, as shipped"
VETO = "network, the measures may veto"
VARIANTS: Mapping[str, Scores] = {
    "network alone, threshold chosen anew": lambda cells, _: cells.spherocyte,
    "measures alone": lambda cells, judge: cells.red * judge.probabilities(cells.features),
    "mean of both, in log odds": _mean_of_both,
}


def cells_of(field: HeldOutField, bundle: Bundle) -> Cells:
    """Red cells above the bundle's threshold with what is labelled."""
    calls = called(field.found.probabilities, bundle.thresholds)
    at = np.flatnonzero(calls >= 0)
    label, p = np.full(len(calls), -1), field.found.probabilities
    if field.truth is not None:
        wanted = np.array([c.is_red_cell for c in field.truth.classes], np.bool_)
        classes = np.array([c is CellClass.SPHEROCYTE for c in field.truth.classes], np.bool_)
        red = np.flatnonzero((calls == 0) | (calls == 1))
        matched = match_one_to_one(p[red, :2].sum(axis=1), box_iou(field.found.boxes[red], field.truth.boxes[wanted]))
        label[red[matched >= 0]] = classes[wanted][matched[matched >= 0]]
    else:
        assert field.points is not None
        classes = np.array([c is CellClass.SPHEROCYTE for c in field.points.classes], np.bool_)
        matched = match_points(field.points.places, called_cells(field.found, bundle.thresholds))
        label[at[matched[matched >= 0]]] = classes[matched >= 0]
    red = np.flatnonzero((calls == 0) | (calls == 1))
    counted = np.ones(len(red), np.bool_) if field.truth is not None else label[red] >= 0
    shares = p[red, :2].sum(axis=1)
    return Cells(field.features[red], shares, p[red, 1], label[red], int(classes.sum()), counted)


def tally(cells: Cells, chosen: NDArray[np.bool_]) -> tuple[int, int]:
    """Twice the hits, and calls and labelled spherocytes: F1 is the ratio of their sums."""
    calls = chosen & cells.counted
    return 2 * int(np.count_nonzero(calls & (cells.label == 1))), int(np.count_nonzero(calls)) + cells.labelled


def f1(tallies: Sequence[tuple[int, int]]) -> float:
    """F1 of some fields."""
    above, below = np.sum(tallies, axis=0) if len(tallies) else (0, 0)
    return float(above / below) if below else float("nan")


def fitted(fields: Fields, names: Sequence[str]) -> SpherocyteJudge:
    """A judge of the measures at the labelled cells of some groups."""
    chosen = [cells for name in names for cells in fields[name]]
    features, label = np.concatenate([c.features for c in chosen]), np.concatenate([c.label for c in chosen])
    return fit_judge(features[label >= 0], label[label >= 0] == 1, without=WITHOUT)


def compare(fields: Fields, patients: Sequence[str], threshold: float, *, both: bool) -> dict[str, Tallies]:
    """By variant and by group, the tally of each field, under judge and threshold of the others.

    With `both`, the pointed blocks teach and choose beside the patients.
    """
    told: dict[str, Tallies] = {name: {} for name in (SHIPPED, *VARIANTS, VETO)}
    for left_out in (*patients, BLOCKS):

        def judge_without(*names: str) -> SpherocyteJudge:
            taught = [name for name in patients if name not in names] + ([TRAINED] if both else [])
            return fitted(fields, taught)

        choosing = [name for name in (*patients, *([BLOCKS] if both else ())) if name != left_out]
        others = {name: judge_without(left_out, name) for name in choosing}
        judge, here = judge_without(left_out), fields[left_out]
        told[SHIPPED][left_out] = [tally(cells, cells.spherocyte >= threshold) for cells in here]
        for name, scores in VARIANTS.items():
            least = _best_threshold(fields, others, scores)
            told[name][left_out] = [tally(cells, scores(cells, judge) >= least) for cells in here]
        least = min(_quantile(fields[name], one) for name, one in others.items())
        told[VETO][left_out] = [
            tally(cells, (cells.spherocyte >= threshold) & (judge.probabilities(cells.features) >= least))
            for cells in here
        ]
    return told


def _best_threshold(fields: Fields, others: Mapping[str, SpherocyteJudge], scores: Scores) -> float:
    """Middle of the thresholds at which the F1 of all others together is within 0.002 of the best."""
    judged = [(cells, scores(cells, judge)) for name, judge in others.items() for cells in fields[name]]
    reached = np.array([f1([tally(cells, score >= least) for cells, score in judged]) for least in GRID])
    plateau = np.flatnonzero(reached >= reached.max() - 0.002)
    return float(GRID[plateau[len(plateau) // 2]])


def _quantile(fields: Sequence[Cells], judge: SpherocyteJudge) -> float:
    """Probability that all but `COST` of a group's labelled spherocytes reach."""
    return float(np.quantile(np.concatenate([judge.probabilities(c.features)[c.label == 1] for c in fields]), COST))


def rows_of(told: Mapping[str, Tallies], patients: Sequence[str]) -> list[str]:
    """A table: F1 of each group, and how much the mean of the patients, and the blocks, differ from the network as shipped."""
    rows = [f"| decision | {' | '.join(patients)} | mean | less shipped | {BLOCKS} | less shipped |"]
    rows.append("|" + " --- |" * (len(patients) + 5))
    for name, tallies in told.items():
        values = [f1(tallies[group]) for group in patients]
        mean, blocks = (_difference(tallies, told[SHIPPED], groups) for groups in (patients, [BLOCKS]))
        shown = [*(f"{v:.3f}" for v in values), f"{np.mean(values):.3f}", mean, f"{f1(tallies[BLOCKS]):.3f}", blocks]
        rows.append(f"| {name} | {' | '.join(shown)} |")
    return rows


def _difference(tallies: Tallies, shipped: Tallies, groups: Sequence[str]) -> str:
    """Mean over groups of the difference in F1, with its 95 % interval over the fields of each group."""
    if tallies is shipped:
        return "-"
    value, draws = 0.0, np.zeros(REPETITIONS)
    for seed, group in enumerate(groups):
        pairs = list(zip(tallies[group], shipped[group], strict=True))

        def less(drawn: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> Floats:
            return np.array([f1([a for a, _ in drawn]) - f1([b for _, b in drawn])])

        value += float(less(pairs)[0]) / len(groups)
        draws += bootstrap_draws(less, pairs, seed=seed, repetitions=REPETITIONS)[:, 0] / len(groups)
    interval = interval_of(draws)
    return f"{value:+.3f}" + (f" ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval else "")


def separations(fields: Fields, groups: Sequence[str], threshold: float) -> list[str]:
    """How well each feature tells labelled spherocytes from other labelled cells among the network's calls: AUC by group."""
    rows = [f"| feature | {' | '.join(groups)} |", "|" + " --- |" * (len(groups) + 1)]
    for column, feature in enumerate(FEATURES):
        values = []
        for group in groups:
            features, is_one = [], []
            for cells in fields[group]:
                chosen = (cells.spherocyte >= threshold) & (cells.label >= 0) & np.isfinite(cells.features[:, column])
                features.append(cells.features[chosen, column])
                is_one.append(cells.label[chosen] == 1)
            values.append(_auc(np.concatenate(features), np.concatenate(is_one)))
        rows.append(f"| {feature} | {' | '.join(f'{value:.2f}' for value in values)} |")
    return rows


def _auc(values: Floats, is_one: NDArray[np.bool_]) -> float:
    """Share of pairs in which the spherocyte has the larger value; ties count half."""
    more = np.sign(values[is_one][:, None] - values[~is_one][None])
    return float((more.mean() + 1) / 2) if more.size else float("nan")


def find_fields(run: RunConfig, given: argparse.Namespace, bundle: Bundle) -> dict[str, list[HeldOutField]]:
    """What the bundle's network finds in the run's patients and in the blocks that are not reported; from the folder where it is there."""
    given.keep.mkdir(parents=True, exist_ok=True)
    files = {
        name: given.keep / f"{name.replace(' ', '-')}-{bundle.id.sha256[:12]}.fields" for name in ("patients", "points")
    }
    if not all(file.exists() for file in files.values()):
        detector = load_detector(bundle)
        labelled = [image for image in read_coco(given.images, given.coco) if image.group in run.groups]
        keep(hold_out_labelled(Run(detector, run.pixel_aspect), labelled), files["patients"])
        pointed = [i for i in read_pointed(given.point_images, given.points) if _part(run, i.group) is not None]
        keep(hold_out_pointed(Run(detector), pointed), files["points"])
    found: dict[str, list[HeldOutField]] = {name: [] for name in (*run.groups, BLOCKS, TRAINED)}
    for field in kept(files["patients"]):
        found[field.group].append(field)
    for field in kept(files["points"]):
        found[_part(run, field.group) or TRAINED].append(field)
    return found


def _part(run: RunConfig, group: str) -> str | None:
    """Whether the run chose on a block or trained on it; None for those that are reported."""
    if run.points is None:
        raise SystemExit("the run has no labelled points")
    part = int(group.rpartition("_")[2]) % run.points.blocks
    return {run.points.chosen_on: BLOCKS, run.points.reported: None}.get(part, TRAINED)


def main(arguments: list[str]) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.judge_figures", description=__doc__)
    parser.add_argument("run", type=Path)
    for name in ("images", "coco", "point-images", "points", "keep"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--bundle", default="")
    given = parser.parse_args(arguments)
    run, bundle = read_run(given.run), load_bundle(resolve_bundle(given.bundle))
    found = find_fields(run, given, bundle)
    fields = {name: [cells_of(field, bundle) for field in group] for name, group in found.items()}
    least = bundle.thresholds.spherocyte
    for title, both in (("The patients teach and choose", False), ("Patients and blocks teach and choose", True)):
        print(f"{title}\n", *rows_of(compare(fields, run.groups, least, both=both), run.groups), "", sep="\n")
    print("Among the network's calls\n", *separations(fields, (*run.groups, BLOCKS), least), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
