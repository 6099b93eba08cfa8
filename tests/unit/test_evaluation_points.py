"""Figures at labelled points: cases whose answer is known by hand, and the label files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sphero_core.errors import DatasetError
from sphero_core.evaluation.points import (
    LabelledPoints,
    evaluate_points,
    match_points,
    read_point_classes,
    read_points,
)
from sphero_core.types import Cell, CellClass
from tests.unit.shapes import disc

RBC, SPHEROCYTE = CellClass.RBC, CellClass.SPHEROCYTE


def cell(x: float, y: float, cell_class: CellClass = RBC, diameter: int = 40) -> Cell:
    """A round cell whose centre is (x, y)."""
    mask = disc(diameter)
    return Cell(cell_class, 0.9, 0.9, int(x - mask.shape[1] / 2), int(y - mask.shape[0] / 2), mask)


def points(*placed: tuple[float, float, CellClass]) -> LabelledPoints:
    return LabelledPoints(np.array([p[:2] for p in placed], np.float64).reshape(-1, 2), tuple(p[2] for p in placed))


def test_every_point_found_and_called_right() -> None:
    labels = points((50, 50, RBC), (150, 50, SPHEROCYTE))
    figures = evaluate_points([labels], [[cell(50, 50), cell(150, 50, SPHEROCYTE)]])
    assert figures["recall"] == {"all": 1.0, "RBC": 1.0, "Spherocyte": 1.0}
    assert figures["spherocyte"] == {"recall": 1.0, "precision_at_points": 1.0, "f1": 1.0}
    assert figures["false_spherocyte_share"] == 0.0
    assert (figures["points"], figures["images"]) == (2, 1)


def test_figures_by_hand() -> None:
    labels = points(
        (50, 50, RBC), (150, 50, RBC), (250, 50, RBC), (350, 50, RBC), (450, 50, SPHEROCYTE), (550, 50, SPHEROCYTE)
    )
    cells = [
        cell(50, 50),
        cell(150, 50, SPHEROCYTE),  # a red cell called spherocyte
        cell(250, 50, CellClass.PLATELET),  # found, called wrongly; the point at 350 is missed
        cell(450, 50, SPHEROCYTE),
        cell(550, 50),  # a spherocyte called red cell
        cell(300, 300, SPHEROCYTE),  # no point: nothing is said about it
    ]
    figures = evaluate_points([labels], [cells])
    assert figures["recall"] == {"all": pytest.approx(5 / 6), "RBC": 0.75, "Spherocyte": 1.0}
    assert figures["confusion"] == {
        "RBC": {"RBC": 1, "Spherocyte": 1, "Platelet": 1, "WBC": 0, "missed": 1},
        "Spherocyte": {"RBC": 1, "Spherocyte": 1, "Platelet": 0, "WBC": 0, "missed": 0},
    }
    assert figures["spherocyte"] == {"recall": 0.5, "precision_at_points": 0.5, "f1": 0.5}
    assert figures["false_spherocyte_share"] == 0.25
    json.dumps(figures, allow_nan=False)


def test_a_missed_spherocyte_costs_recall_and_no_precision() -> None:
    figures = evaluate_points([points((50, 50, SPHEROCYTE), (150, 50, SPHEROCYTE))], [[cell(50, 50, SPHEROCYTE)]])
    assert figures["spherocyte"] == {"recall": 0.5, "precision_at_points": 1.0, "f1": pytest.approx(2 / 3)}
    assert figures["false_spherocyte_share"] is None


def test_a_point_counts_only_inside_the_mask() -> None:
    # (33, 33) lies in the box of the cell but not in the disc.
    assert match_points(np.array([[33.0, 33.0], [50.0, 31.0], [50.0, 29.0]]), [cell(50, 50)]).tolist() == [-1, 0, -1]


def test_the_nearest_centre_wins_and_one_cell_satisfies_one_point() -> None:
    two = [cell(50, 50), cell(80, 50)]
    # Both points lie in both masks' reach; each takes the centre nearest to it.
    assert match_points(np.array([[64.0, 50.0], [66.0, 50.0]]), two).tolist() == [0, 1]
    # Both are nearest to the same cell: the nearer one has it, the other takes the next that covers it.
    assert match_points(np.array([[62.0, 50.0], [52.0, 50.0]]), two).tolist() == [1, 0]
    assert match_points(np.array([[50.0, 50.0], [52.0, 50.0]]), [cell(50, 50)]).tolist() == [0, -1]


def test_points_outside_the_field_and_without_cells_are_missed() -> None:
    assert match_points(np.array([[-3.0, 5.0], [9999.0, 5.0]]), [cell(25, 25)]).tolist() == [-1, -1]
    assert evaluate_points([points((5, 5, RBC))], [[]])["recall"] == {"all": 0.0, "RBC": 0.0}
    assert evaluate_points([], [])["recall"] == {"all": None}


def test_label_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "1.txt"
    path.write_text("594 95 0\n\n10.5 20 3\r\n7, 8, 12\n", encoding="utf-8")
    labels = read_points(path)
    assert labels.places.tolist() == [[594, 95], [10.5, 20], [7, 8]]
    assert labels.classes == (RBC, SPHEROCYTE, RBC)
    assert labels.scaled(0.5, 2).places[0].tolist() == [297, 190]
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    assert read_points(tmp_path / "empty.txt").places.shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "message"), [("1 2\n", "line 1"), ("1 2 0\nx y 3\n", "line 2"), ("1 2 77\n", "'77' is not known")]
)
def test_a_line_that_is_no_point_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "1.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_points(path)


def test_other_sets_name_their_classes(tmp_path: Path) -> None:
    classes, path = tmp_path / "classes.json", tmp_path / "1.txt"
    classes.write_text('{"s": "spherocytes", "n": "Erythrocyte", "w": "WBC", "?": null}', encoding="utf-8")
    path.write_text("1 2 s\n3 4 ?\n5 6 w\n7 8 n\n", encoding="utf-8")
    labels = read_points(path, read_point_classes(classes))
    assert labels.classes == (SPHEROCYTE, CellClass.WBC, RBC)
    assert len(labels.places) == 3


@pytest.mark.parametrize("content", ["[1]", "{", '{"1": "basophilic stippling"}'])
def test_a_wrong_file_of_classes_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "classes.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"classes\.json"):
        read_point_classes(path)


def test_all_chula_labels_are_read(shared_data: Path) -> None:
    files = sorted((shared_data / "chula-rbc12" / "labels").glob("*.txt"))
    labels = [read_points(path) for path in files]
    assert len(labels) == 495
    assert sum(bool(image.classes) and SPHEROCYTE not in image.classes for image in labels) == 330
    assert max(float(image.places.max(initial=0)) for image in labels) <= 640
