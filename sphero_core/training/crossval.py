"""Leave-one-patient-out, nested: what is said of a patient comes from networks and choices that never saw it.

    OUT/run.yaml                       the recipe; another one is refused here
    OUT/pretrained/                    the first stage, without any patient; every network starts from it
    OUT/without-A/                     the network of fold A, trained on all patients but A
    OUT/without-A+B/                   trained on all but these two: it predicts B for fold A, and A for fold B
    OUT/A/choice.json  A/bundle/       what fold A's inner folds chose, and its network with these choices
    OUT/A/patient.fields  A/points.fields  A/drawn.fields      what that bundle finds in what nothing of it had seen
    OUT/final/  OUT/bundle/            trained on all patients; `without-A` are its inner folds

For n patients that is n + n (n - 1) / 2 networks and the first stage, and one more for the bundle that is shipped; see
`deploy/decisions/0006-nested-folds.md`. Whatever is there already is taken as it is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sphero_core.bundle import load_bundle
from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.points import PointedImage
from sphero_core.detector import load_detector
from sphero_core.errors import DatasetError
from sphero_core.evaluation.held_out import (
    HeldOutField,
    hold_out_drawn,
    hold_out_labelled,
    hold_out_pointed,
    keep,
    kept,
)
from sphero_core.evaluation.run import Run
from sphero_core.synthetic import draw_smear, random_style
from sphero_core.training.config import RunConfig, read_run, write_run
from sphero_core.training.deciding import Decision
from sphero_core.training.fit import (
    POINTS,
    choose_on,
    describe,
    export_chosen,
    keep_choice,
    label_margin,
    pointed_fold,
    pretrained,
    split,
)
from sphero_core.training.predict import ByShare, predictions_on
from sphero_core.training.train import TrainingData, train

#: Drawn smears on which the separation of touching cells is measured, and the seed that no training uses.
DRAWN_FIELDS = 24
DRAWN_SEED = 20_261


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One left-out patient.

    Attributes
    ----------
    patient : str
    kept : str
        Name of the decision that the inner folds chose.
    decisions : dict of str to Decision
    fields, points, drawn : list of HeldOutField
        The patient's fields, the pointed images that no network saw, and drawn smears.
    """

    patient: str
    kept: str
    decisions: dict[str, Decision]
    fields: list[HeldOutField]
    points: list[HeldOutField]
    drawn: list[HeldOutField]


@dataclass
class Work:
    """What the parts of a cross-validation share.

    Attributes
    ----------
    run : RunConfig
    data : TrainingData
        Of all patients of the run.
    chosen_on : tuple of LabelledImage
        Pointed blocks on which thresholds are chosen.
    reported : tuple of PointedImage
        Pointed blocks that no network sees.
    out : Path
    tell : callable
        Told of each step.
    clock : callable
        Seconds, monotonic.
    networks : int
        To train in all, to be told.
    begun : set of str
        Networks that were trained or found to be there.
    margins : dict
        Label margins by the patients they were measured on.
    """

    run: RunConfig
    data: TrainingData
    chosen_on: tuple[LabelledImage, ...]
    reported: tuple[PointedImage, ...]
    out: Path
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    networks: int = 0
    begun: set[str] = field(default_factory=set)
    margins: dict[tuple[str, ...], float] = field(default_factory=dict)

    def of(self, run: RunConfig) -> TrainingData:
        """The data of one network: nothing of a patient that it leaves out."""
        return replace(self.data, patients=tuple(i for i in self.data.patients if i.group in run.groups))

    def margin(self, run: RunConfig) -> float:
        """See `sphero_core.training.fit.label_margin`; of the patients that a network saw."""
        if run.groups not in self.margins:
            self.margins[run.groups] = label_margin(self.of(run), run)
        return self.margins[run.groups]


def networks_of(groups: Sequence[str], only: Sequence[str] = (), *, final: bool = False) -> list[tuple[str, ...]]:
    """The networks to train, each by the patients that it leaves out, in the order in which they are trained."""
    planned: list[tuple[str, ...]] = []
    for held in only or groups:
        pairs = [pair for pair in combinations(groups, 2) if held in pair]
        planned += [network for network in ((held,), *pairs) if network not in planned]
    return [*planned, ()] if final else planned


def prepare(
    run: RunConfig,
    images: Sequence[LabelledImage],
    pointed: Sequence[LabelledImage],
    reported: Sequence[PointedImage],
    out: Path,
    *,
    tell: Callable[[str], None],
) -> Work:
    """Open the folder of a cross-validation.

    Parameters
    ----------
    run : RunConfig
    images : sequence of LabelledImage
    pointed : sequence of LabelledImage
        The second data set; the blocks that are reported are not read from here.
    reported : sequence of PointedImage
        Those blocks, as points.
    out : Path
    tell : callable
        Told of each step in a line.

    Raises
    ------
    DatasetError
        There are too few patients, data and run do not fit together, or the folder is that of another run.
    """
    missing = set(run.groups) - {image.group for image in images}
    if missing or len(set(run.groups)) < 3:
        reason = f"no image belongs to {', '.join(sorted(missing))}" if missing else "it names fewer than three groups"
        raise DatasetError(f"the run cannot be cross-validated: {reason}; a fold needs two patients to choose on")
    out.mkdir(parents=True, exist_ok=True)
    recipe = out / "run.yaml"
    if recipe.exists() and read_run(recipe) != run:
        raise DatasetError(f"{out.name} was begun with another recipe; name another folder, or remove it")
    write_run(run, recipe)
    data, chosen_on = split(run, images, pointed, out)
    return Work(run, data, chosen_on, tuple(reported), out, tell)


def folds(work: Work, only: Sequence[str] = ()) -> Iterator[Fold]:
    """Train and predict every fold, or those named, one after the other.

    Raises
    ------
    DatasetError
        A fold is named that the run does not have.
    """
    unknown = set(only) - set(work.run.groups)
    if unknown:
        raise DatasetError(f"the run has no {', '.join(sorted(unknown))}; it has {', '.join(work.run.groups)}")
    if work.run.points and work.run.points.pretrain_steps:
        work.tell(f"first stage, without any patient: {work.run.points.pretrain_steps} steps")
    start = pretrained(work.run, work.data, work.out)
    for held in only or work.run.groups:
        yield _fold(work, held, start)


def final_bundle(work: Work, figures: Mapping[str, Any]) -> str:
    """Train on all patients, choose on the outer folds, and export; gives the bundle's SHA-256.

    Parameters
    ----------
    work : Work
        After all of its folds.
    figures : mapping
        What the folds gave; the bundle keeps it as ``left_out_patients``.
    """
    run, folder = work.run, work.out / "final"
    start = pretrained(run, work.data, work.out)
    _network(work, (), run.steps, start)
    inner = {}
    for held in run.groups:
        outer = _leaving_out(run, (held,), run.steps)
        inner[held] = _predicted(work, outer, held)
    if work.chosen_on:
        inner[POINTS] = pointed_fold(run, work.data, work.chosen_on, folder, work.margin(run))
    chosen = choose_on(inner)
    keep_choice(chosen, work.out / "choice.json")
    described = {
        **describe(run, work.data, work.chosen_on, work.margin(run)),
        "inner_folds": {"steps": run.steps},
        "left_out_patients": dict(figures),
    }
    return export_chosen(run, work.data, chosen, folder, work.out / "bundle", described)


def _fold(work: Work, held: str, start: Path | None) -> Fold:
    folder = work.out / held
    folder.mkdir(exist_ok=True)
    outer = _leaving_out(work.run, (held,), work.run.steps)
    _network(work, (held,), outer.steps, start)
    if not (folder / "bundle" / "SHA256").exists():
        inner: dict[str, ByShare] = {}
        for other in outer.groups:
            pair = tuple(group for group in work.run.groups if group in (held, other))
            _network(work, pair, work.run.inner_steps, start)
            inner[other] = _predicted(work, _leaving_out(work.run, pair, work.run.inner_steps), other)
        network = work.out / _name((held,))
        if work.chosen_on:
            inner[POINTS] = pointed_fold(outer, work.of(outer), work.chosen_on, network, work.margin(outer))
        chosen = choose_on(inner)
        keep_choice(chosen, folder / "choice.json")
        described = describe(outer, work.of(outer), work.chosen_on, work.margin(outer))
        described |= {"left_out": held, "inner_folds": {"steps": work.run.inner_steps}}
        export_chosen(outer, work.of(outer), chosen, network, folder / "bundle", described)
    return _held_out(work, held, folder)


def _network(work: Work, left_out: tuple[str, ...], steps: int, start: Path | None) -> None:
    """Train the network that leaves out these patients, unless it is there, and say how long it took."""
    run, name = _leaving_out(work.run, left_out, steps), _name(left_out)
    if name in work.begun:
        return
    work.begun.add(name)
    started = work.clock()
    work.tell(f"network {len(work.begun)} of {work.networks}, {name}: {steps} steps")
    train(run, work.of(run), work.out / name, start=start)
    work.tell(f"network {len(work.begun)} of {work.networks}, {name}: done after {work.clock() - started:.0f} s")


def _name(left_out: tuple[str, ...]) -> str:
    return "without-" + "+".join(left_out) if left_out else "final"


def _leaving_out(run: RunConfig, left_out: tuple[str, ...], steps: int) -> RunConfig:
    return replace(run, groups=tuple(group for group in run.groups if group not in left_out), steps=steps)


def _predicted(work: Work, run: RunConfig, patient: str) -> ByShare:
    """Predictions on a patient by a network that leaves it out."""
    left_out = tuple(group for group in work.run.groups if group not in run.groups)
    images = [image for image in work.data.patients if image.group == patient]
    sizes = [work.data.diameters[patient]] * len(images)
    folder, margin = work.out / _name(left_out), work.margin(run)
    return predictions_on(
        run, work.of(run), images, sizes, folder, margin, run.pixel_aspect, f"predictions-{patient}.pickle"
    )


def _held_out(work: Work, held: str, folder: Path) -> Fold:
    """What the fold's bundle finds in what nothing of it had seen."""
    missing = [name for name in ("patient", "points", "drawn") if not (folder / f"{name}.fields").exists()]
    if missing:
        work.tell(f"{held}: predicting {', '.join(missing)}")
        run = Run(load_detector(load_bundle(folder / "bundle")), work.run.pixel_aspect)
        images = [image for image in work.data.patients if image.group == held]
        made: dict[str, Callable[[], list[HeldOutField]]] = {
            "patient": lambda: hold_out_labelled(run, images),
            "points": lambda: hold_out_pointed(run, work.reported) if work.reported else [],
            "drawn": lambda: hold_out_drawn(run, drawn_smears()),
        }
        for name in missing:
            keep(made[name](), folder / f"{name}.fields")
    choice = json.loads((folder / "choice.json").read_text(encoding="utf-8"))
    return Fold(
        patient=held,
        kept=choice["kept"],
        decisions={name: Decision.from_mapping(each) for name, each in choice["decisions"].items()},
        fields=kept(folder / "patient.fields"),
        points=kept(folder / "points.fields"),
        drawn=kept(folder / "drawn.fields"),
    )


def drawn_smears() -> list[Any]:
    """The drawn smears of every fold: crowded ones, the same each time."""
    rng = np.random.default_rng(DRAWN_SEED)
    return [draw_smear(random_style(rng, overlap=0.35), rng) for _ in range(DRAWN_FIELDS)]
