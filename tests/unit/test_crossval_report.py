"""The report of a cross-validation: numbers known by construction, and the files that people read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("official", reason="the training extra is not installed")

from sphero_core.bundle import Thresholds
from sphero_core.calibration import Calibration
from sphero_core.evaluation.held_out import HeldOutField, keep, kept
from sphero_core.evaluation.points import LabelledPoints
from sphero_core.judge import FEATURES, SpherocyteJudge
from sphero_core.training.bars import BARS, bars_of
from sphero_core.training.config import RunConfig
from sphero_core.training.crossval import Fold
from sphero_core.training.deciding import Decision
from sphero_core.training.gallery import failures
from sphero_core.training.plots import PLOTS
from sphero_core.training.report import DRAWN, report_of
from sphero_core.training.report_files import write_report
from sphero_core.training.report_text import report_text, shown
from tests.unit.test_patient_figures import ALONE, HALF, LABELS, RBC, SPHEROCYTE, boxes_of, found, square, truth

RUN = RunConfig(name="trial", version="7", groups=("a", "b", "c"))
ALONE_JUDGE = SpherocyteJudge((0.0,) * 7, (1.0,) * 7, (0.0, 4.0) + (0.0,) * 5, 0.0)


def picture(path: Path) -> Path:
    pixels = np.full((200, 300, 3), 210, np.uint8)
    for mask in ALONE:
        pixels[mask.y : mask.y + 20, mask.x : mask.x + 20] = 120
    cv2.imwrite(str(path), pixels)
    return path


def field(path: Path | None, *, shares: tuple[float, ...] = (0.1, 0.2, 0.7, 0.4)) -> HeldOutField:
    """The network is wrong about the last two cells; circularity is right about all four. One stray on a cell without a label."""
    masks = [*ALONE, square(200, 150)]
    p = np.array([*shares, 0.95])
    image = replace(found(masks, [RBC] * 5), probabilities=np.column_stack([1 - p, p, np.zeros((5, 2))]))
    features = np.zeros((5, len(FEATURES)))
    features[:, 1] = (-1, -1, -1, 1, 1)
    return HeldOutField(
        path, 1.0, "a", image, features, np.zeros(5, np.bool_), np.array([False] * 4 + [True]), truth(ALONE, LABELS)
    )


def fold(patient: str, path: Path | None, kept_name: str = "with_judge", *, calibrated: bool = False) -> Fold:
    calibration = Calibration("platt", (-9.0, 9.0), (-9.0, 9.0)) if calibrated else None
    decisions = {
        "network_alone": Decision(None, None, HALF, {}),
        "with_judge": Decision(ALONE_JUDGE, calibration, HALF, {}),
    }
    points = replace(field(None), truth=None, points=LabelledPoints(boxes_of(ALONE)[:, :2] + 10.5, tuple(LABELS)))
    pair = [square(50, 50), square(70, 50)]
    drawn = replace(
        field(None),
        found=found(pair[:1], [RBC]),
        features=np.zeros((1, len(FEATURES))),
        unlabelled=np.zeros(1, np.bool_),
        truth=truth(pair, [RBC, RBC], drawn=True),
    )
    return Fold(patient, kept_name, decisions, [field(path), field(path)], [points], [drawn])


def test_the_decisions_are_compared_on_the_same_findings() -> None:
    document = report_of(RUN, [fold("a", None), fold("b", None, "network_alone")], repetitions=10)
    assert document["decisions"]["network_alone"]["spherocyte_f1"] == 0.0
    assert document["decisions"]["with_judge"]["spherocyte_f1"] == 1.0
    assert document["patients"]["a"]["labelled_only"]["spherocyte_f1"]["value"] == 1.0
    assert document["patients"]["b"]["labelled_only"]["spherocyte_f1"]["value"] == 0.0
    assert document["mean"]["labelled_only"]["spherocyte_f1"] == {"value": 0.5, "ci95": (0.5, 0.5)}


def test_the_stray_counts_in_the_strict_figures_only() -> None:
    told = report_of(RUN, [fold("a", None)], repetitions=10)["patients"]["a"]
    assert told["labelled_only"]["spherocyte_precision"]["value"] == 1.0
    assert told["strict"]["spherocyte_precision"]["value"] == 0.5
    assert told["labelled_only"]["red_cell_count_error"]["value"] == 0.0
    assert told["strict"]["red_cell_count_error"]["value"] == 0.25
    assert told["percent"] == {"found": 25.0, "labelled": 25.0}
    assert told["counts"][0]["red_cells"] == [4, 4]
    assert told["agreement"]["red_cells"]["bias"] == 0.0


def test_points_and_drawn_smears() -> None:
    document = report_of(RUN, [fold("a", None)], repetitions=10)
    told = document["patients"]["a"]
    assert told["points"]["points_red_cell_recall"]["value"] == 1.0
    assert told["points"]["points_spherocyte_f1"]["value"] == 1.0
    assert told["points"]["points_false_spherocytes"]["value"] is None  # no image without a spherocyte
    assert told["drawn"][DRAWN]["value"] == 0.0
    assert told["drawn"][DRAWN]["pairs"] == 1
    assert document["mean"]["drawn"][DRAWN]["value"] == 0.0


def test_bars_are_held_against_the_mean_or_the_worst_patient() -> None:
    document = report_of(RUN, [fold("a", None), fold("b", None, "network_alone")], repetitions=10)
    bars = {bar["figure"]: bar for bar in bars_of(document)}
    assert list(bars) == [bar.figure for bar in BARS]
    assert (bars["spherocyte_f1"]["value"], bars["spherocyte_f1"]["reached"]) == (0.5, False)
    assert (bars["red_cells_box_ap50"]["value"], bars["red_cells_box_ap50"]["reached"]) == (1.0, True)
    assert (bars["red_cell_count_error"]["value"], bars["red_cell_count_error"]["reached"]) == (0.0, True)
    assert bars["overlapping_pairs_separated"]["reached"] is None
    worst = bars["spherocyte_percent_error"]
    errors = [p["labelled_only"]["spherocyte_percent_error"]["value"] for p in document["patients"].values()]
    assert worst["value"] == max(errors)


def test_the_most_certain_false_and_the_least_likely_missed() -> None:
    alone = Decision(None, None, HALF, {})
    nothing = replace(field(None), found=found([], []), features=np.zeros((0, 7)), unlabelled=np.zeros(0, np.bool_))
    fields = [field(None), field(None, shares=(0.9, 0.2, 0.7, 0.6)), nothing]
    false, missed = failures(fields, alone)
    assert [(one.field, one.label, one.labelled) for one in false] == [(1, 0, "RBC"), (0, 2, "RBC"), (1, 2, "RBC")]
    assert false[0].probability == pytest.approx(0.9)
    assert [(one.field, one.label, one.called) for one in missed] == [(2, 3, "nothing"), (0, 3, "RBC")]
    assert missed[0].probability is None


def test_the_files_that_people_read(tmp_path: Path) -> None:
    done = [fold("a", picture(tmp_path / "1.png"), "network_alone"), fold("b", tmp_path / "1.png", calibrated=True)]
    document = report_of(RUN, done, repetitions=10)
    written = write_report(document, done, tmp_path)
    assert [path.name for path in written] == ["report.md", "report.json"]
    assert json.loads(written[1].read_text()) == json.loads(json.dumps(document))
    text = written[0].read_text()
    assert "**Not done yet: c. Means are over the others.**" in text
    assert "| spherocyte F1 at the operating point | 0.500 (0.500 to 0.500) | " in text
    assert "Chosen by the inner folds: a: network alone; b: both, platt calibration." in text
    for name in (*PLOTS.values(), "failures-a.png", "failures-b.png"):
        assert f"]({name})" in text
        assert (tmp_path / name).stat().st_size > 5_000


def test_a_report_without_points_says_nothing_of_them() -> None:
    without = replace(fold("a", None), points=[], drawn=[])
    text = report_text(report_of(RUN, [without], repetitions=5))
    assert "pointed images" not in text
    assert "Drawn smears" not in text


def test_figures_as_text() -> None:
    assert shown(None, None) == "-"
    assert shown(0.12345) == "0.123"
    assert shown(0.5, (0.25, 0.75)) == "0.500 (0.250 to 0.750)"


def test_findings_are_kept_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "patient.fields"
    keep([field(tmp_path / "1.png")], path)
    (again,) = kept(path)
    assert again.name == "1.png"
    assert np.array_equal(again.found.probabilities, field(None).found.probabilities)
    assert again.truth is not None
    assert again.truth.classes[3] is SPHEROCYTE
    assert [p.name for p in tmp_path.iterdir()] == ["patient.fields"]
    assert Thresholds(0.5, 0.5, 0.5, 0.5) == HALF
