"""Which networks a cross-validation trains, and that no fold gets anything of the patient it reports."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("official", reason="the training extra is not installed")

from sphero_core.datasets.coco import LabelledImage
from sphero_core.errors import DatasetError
from sphero_core.judge import FEATURES
from sphero_core.training import crossval, fit
from sphero_core.training.config import RunConfig
from sphero_core.training.crossval import Work, final_bundle, folds, networks_of, prepare
from sphero_core.training.operating_point import FoldPrediction
from sphero_core.training.train import TrainingData
from sphero_core.types import CellClass

PATIENTS = ("a", "b", "c", "d")
RUN = RunConfig(name="trial", version="0", groups=PATIENTS, steps=40, inner_steps=20)


def image(group: str) -> LabelledImage:
    return LabelledImage(Path(f"{group}.png"), f"{group}.png", group, 640, 480, np.empty((0, 4)), (), ())


def prediction() -> FoldPrediction:
    box = np.array([[10.0, 10.0, 40.0, 40.0]])
    return FoldPrediction(box, np.array([[0.2, 0.7, 0, 0]]), np.zeros((1, len(FEATURES))), box, (CellClass.SPHEROCYTE,))


class Recorder:
    """Stands in for training and prediction and writes down who saw whom."""

    def __init__(self) -> None:
        self.trained: list[tuple[str, tuple[str, ...], int]] = []
        self.predicted: list[tuple[str, str]] = []
        self.chosen_on: list[set[str]] = []

    def train(self, run: RunConfig, data: TrainingData, out: Path, **_: Any) -> list[Path]:
        assert {i.group for i in data.patients} == set(run.groups)
        self.trained.append((out.name, run.groups, run.steps))
        return []

    def predictions_on(
        self, run: RunConfig, _data: TrainingData, images: list[LabelledImage], _sizes: Any, folder: Path, *_: Any
    ) -> dict[float, list[FoldPrediction]]:
        for one in images:
            assert one.group not in run.groups
            assert one.group in folder.name
            self.predicted.append((folder.name, one.group))
        return {0.5: [prediction() for _ in images], 1.0: [prediction() for _ in images]}

    def choose_on(self, inner: dict[str, Any]) -> Any:
        self.chosen_on.append(set(inner))
        return fit.choose_on(inner)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    seen = Recorder()
    for name in ("train", "predictions_on", "choose_on"):
        monkeypatch.setattr(crossval, name, getattr(seen, name))
    monkeypatch.setattr(crossval, "label_margin", lambda *_: 0.0)
    monkeypatch.setattr(crossval, "describe", lambda *_: {})
    monkeypatch.setattr(crossval, "_held_out", lambda _work, held, _folder: held)

    def export(run: RunConfig, data: TrainingData, chosen: Any, folder: Path, bundle: Path, told: Any) -> str:
        bundle.mkdir(parents=True)
        (bundle / "SHA256").write_text("0")
        return "0" * 64

    monkeypatch.setattr(crossval, "export_chosen", export)
    return seen


def work(out: Path, told: list[str]) -> Work:
    data = TrainingData(tuple(image(group) for group in PATIENTS), (), dict.fromkeys(PATIENTS, 60.0))
    return Work(RUN, data, (), (), out, told.append)


def test_a_pair_network_serves_two_folds() -> None:
    planned = networks_of(PATIENTS)
    assert len(planned) == len(set(planned)) == 4 + 6
    assert networks_of(PATIENTS, final=True) == [*planned, ()]
    assert networks_of(PATIENTS, ["b"]) == [("b",), ("a", "b"), ("b", "c"), ("b", "d")]


def test_no_fold_sees_the_patient_that_it_reports(tmp_path: Path, recorder: Recorder) -> None:
    told: list[str] = []
    one = work(tmp_path, told)
    one.networks = 10
    assert len(list(folds(one))) == len(PATIENTS)
    assert len(recorder.trained) == 10
    for name, groups, steps in recorder.trained:
        left_out = set(PATIENTS) - set(groups)
        assert name == "without-" + "+".join(sorted(left_out))
        assert steps == (RUN.steps if len(left_out) == 1 else RUN.inner_steps)
    assert recorder.chosen_on == [set(PATIENTS) - {held} for held in PATIENTS]
    # Each pair network predicts both of its patients, each for the fold of the other.
    assert sorted(recorder.predicted) == sorted(
        (f"without-{'+'.join(pair)}", one) for pair in networks_of(PATIENTS) if len(pair) == 2 for one in pair
    )
    assert told[0] == "network 1 of 10, without-a: 40 steps"


def test_the_final_network_chooses_on_the_outer_folds(tmp_path: Path, recorder: Recorder) -> None:
    told: list[str] = []
    one = work(tmp_path, told)
    one.networks = 11
    list(folds(one))
    recorder.predicted.clear()
    final_bundle(one, {"spherocyte_f1": 0.9})
    assert recorder.trained[-1] == ("final", PATIENTS, RUN.steps)
    assert recorder.predicted == [(f"without-{held}", held) for held in PATIENTS]
    assert told[-2].startswith("network 11 of 11, final")


def test_one_fold_alone_and_then_the_others(tmp_path: Path, recorder: Recorder) -> None:
    list(folds(work(tmp_path, []), ["c"]))
    assert [name for name, _, _ in recorder.trained] == ["without-c", "without-a+c", "without-b+c", "without-c+d"]
    recorder.trained.clear()
    list(folds(work(tmp_path, [])))
    # Training returns at once where the network is there; the bundle of fold c is not made anew.
    assert "without-c+d" in [name for name, _, _ in recorder.trained]
    assert len(recorder.chosen_on) == 4
    with pytest.raises(DatasetError, match="no e"):
        list(folds(work(tmp_path, []), ["e"]))


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossval, "split", lambda *_: (None, ()))
    images = [image(group) for group in PATIENTS]
    prepare(RUN, images, [], [], tmp_path, tell=print)
    prepare(RUN, images, [], [], tmp_path, tell=print)
    with pytest.raises(DatasetError, match="another recipe"):
        prepare(dataclasses.replace(RUN, steps=41), images, [], [], tmp_path, tell=print)


def test_a_run_that_cannot_be_nested_is_refused(tmp_path: Path) -> None:
    two = dataclasses.replace(RUN, groups=("a", "b"))
    with pytest.raises(DatasetError, match="fewer than three"):
        prepare(two, [image("a"), image("b")], [], [], tmp_path, tell=print)
    with pytest.raises(DatasetError, match="belongs to d"):
        prepare(RUN, [image(group) for group in "abc"], [], [], tmp_path, tell=print)


def test_the_drawn_smears_are_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossval, "DRAWN_FIELDS", 1)
    first, second = crossval.drawn_smears(), crossval.drawn_smears()
    assert all(np.array_equal(x.pixels, y.pixels) for x, y in zip(first, second, strict=True))
    assert any(x is not y for x, y in pairwise([*first, *second]))
