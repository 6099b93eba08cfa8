"""Which images a run trains on, chooses on and never reads."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("official", reason="the training extra is not installed")

from sphero_core.datasets.coco import LabelledImage
from sphero_core.errors import DatasetError
from sphero_core.synthetic_case import write_synthetic_case
from sphero_core.training.config import PointsConfig, RunConfig, read_run, write_run
from sphero_core.training.fit import block_number, fit, label_margin, split
from sphero_core.training.hardware import multiplies_bfloat16
from sphero_core.training.predict import on_ignored
from sphero_core.training.train import TrainingData, _told, training_fields

RUN = RunConfig(
    name="trial",
    version="0",
    groups=("a", "b"),
    synthetic_share=0.25,
    synthetic_fields=2,
    points=PointsConfig(share=0.5),
)


def images(folder: Path, groups: list[str]) -> list[LabelledImage]:
    case = write_synthetic_case(folder, 1, len(groups))
    return [
        LabelledImage(
            path=path,
            name=path.name,
            group=group,
            width=field.pixels.shape[1],
            height=field.pixels.shape[0],
            boxes=np.array([(c.x - 3, c.y - 3, c.mask.shape[1] + 6, c.mask.shape[0] + 6) for c in field.cells], float),
            classes=tuple(cell.cell_class for cell in field.cells),
            polygons=tuple(() for _ in field.cells),
        )
        for path, field, group in zip(case.files, case.fields, groups, strict=True)
    ]


def test_the_reported_block_is_neither_trained_nor_chosen_on(tmp_path: Path) -> None:
    patients = images(tmp_path / "p", ["a", "b", "c"])
    pointed = images(tmp_path / "q", ["block_010", "block_011", "block_012", "block_013"])
    data, chosen_on = split(RUN, patients, pointed, tmp_path)
    assert [image.group for image in data.patients] == ["a", "b"]
    assert [image.group for image in data.pointed] == ["block_012", "block_013"]
    assert [image.group for image in chosen_on] == ["block_011"]
    assert set(data.diameters) == {"a", "b", "block_012", "block_013"}


def test_shares_of_the_sources_are_what_the_run_says(tmp_path: Path) -> None:
    patients, pointed = images(tmp_path / "p", ["a", "b"]), images(tmp_path / "q", ["block_002"])
    data = TrainingData(tuple(patients), tuple(pointed), dict.fromkeys(("a", "b", "block_002"), 60.0))
    _, weights = training_fields(data, RUN)
    np.testing.assert_allclose([weights[:2].sum(), weights[2:3].sum(), weights[3:].sum()], [0.25, 0.5, 0.25])
    first, weights = training_fields(dataclasses.replace(data, patients=()), dataclasses.replace(RUN, groups=()))
    assert len(first) == 3
    np.testing.assert_allclose([weights[:1].sum(), weights[1:].sum()], [0.75, 0.25])


def test_a_field_is_prepared_once_for_all_networks_that_see_it(tmp_path: Path) -> None:
    data = TrainingData(tuple(images(tmp_path, ["a", "b"])), (), {"a": 60.0, "b": 60.0})
    run = dataclasses.replace(RUN, synthetic_share=0.0)
    both, _ = training_fields(data, run)
    only = dataclasses.replace(data, patients=data.patients[1:])
    again, _ = training_fields(only, dataclasses.replace(run, groups=("b",)))
    assert again == [both[1]]
    assert training_fields(data, dataclasses.replace(run, cell_diameter=30.0))[0][0] is not both[0]


@pytest.mark.parametrize(
    ("described", "has"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f\nmodel name\t: bf16 in its name\n", False),
    ],
)
def test_mixed_precision_is_for_processors_that_multiply_bfloat16(tmp_path: Path, described: str, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text(described)
    assert multiplies_bfloat16(tmp_path / "cpuinfo") is has
    assert not multiplies_bfloat16(tmp_path / "absent")


def test_fields_with_few_labels_are_drawn_less_often(tmp_path: Path) -> None:
    fields, _ = training_fields(
        TrainingData(tuple(images(tmp_path, ["a", "b"])), (), {"a": 60.0, "b": 60.0}),
        dataclasses.replace(RUN, synthetic_share=0.0),
    )
    sparse = dataclasses.replace(fields[1], classes=np.array([1, 5, 5, 5, 5], np.int32))
    drawn = _told([fields[0], sparse])
    assert drawn.sum() == pytest.approx(1.0)
    assert drawn[0] == pytest.approx(20 * drawn[1])


def test_the_margin_of_the_labels_is_measured(tmp_path: Path) -> None:
    data = TrainingData(tuple(images(tmp_path, ["a", "b"])), (), {"a": 100.0, "b": 100.0})
    assert label_margin(data, RUN) == pytest.approx(0.03, abs=0.012)  # drawn 3 pixels outside; masks are made anew


def test_points_and_run_belong_together(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="points"):
        fit(RUN, images(tmp_path, ["a"]), [], tmp_path / "out", tmp_path / "bundle")


def test_a_run_with_points_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_run(RUN, tmp_path / "run.yaml")
    assert read_run(tmp_path / "run.yaml") == RUN


def test_the_number_of_a_block() -> None:
    assert block_number("block_012") == 12
    with pytest.raises(DatasetError, match="no block"):
        block_number("patient_x")


def test_boxes_on_ignored_outlines_are_told_by_their_centre() -> None:
    square = np.array([(10, 10), (30, 10), (30, 30), (10, 30)], float)
    boxes = np.array([(12, 12, 10, 10), (28, 28, 20, 20), (60, 60, 5, 5)], float)
    assert on_ignored(boxes, [square]).tolist() == [True, False, False]
    assert on_ignored(boxes[:0], [square]).shape == (0,)
