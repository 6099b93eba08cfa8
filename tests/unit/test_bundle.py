"""A bundle that was altered does not load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.grading import CaseGrader
from sphero_core.bundle import bundle_sha256, load_bundle, record_false_calls, seal_bundle, shipped_bundle
from sphero_core.errors import BundleError
from tests.unit.test_statistics import make_field


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "saved_model.pb").write_bytes(b"graph")
    seal_bundle(
        folder,
        {
            "name": "trial",
            "version": "1",
            "input": {"height": 384, "width": 512, "cell_diameter": 60.0},
            "thresholds": {"red_cell": 0.5, "spherocyte": 0.4, "platelet": 0.5, "wbc": 0.5},
        },
    )
    return folder


def test_a_sealed_bundle_loads_with_its_hash(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert loaded.id.sha256 == bundle_sha256(bundle) == (bundle / "SHA256").read_text().strip()
    assert loaded.thresholds.spherocyte == 0.4
    assert loaded.input.width == 512


def test_one_changed_byte_is_found(bundle: Path) -> None:
    (bundle / "model" / "saved_model.pb").write_bytes(b"grapf")
    with pytest.raises(BundleError, match="altered"):
        load_bundle(bundle)


def test_a_changed_threshold_is_found(bundle: Path) -> None:
    description = json.loads((bundle / "bundle.json").read_text())
    description["thresholds"]["spherocyte"] = 0.1
    (bundle / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match="altered"):
        load_bundle(bundle)


def test_an_added_file_is_found(bundle: Path) -> None:
    (bundle / "model" / "extra").write_bytes(b"")
    with pytest.raises(BundleError, match="altered"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["bundle.json", "SHA256", "model/saved_model.pb"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle)


def test_a_description_without_thresholds_is_refused(bundle: Path) -> None:
    seal_bundle(bundle, {"name": "trial", "version": "1", "input": {"height": 1, "width": 1, "cell_diameter": 1.0}})
    with pytest.raises(BundleError, match="thresholds"):
        load_bundle(bundle)


CLEAN = {"confusion": {"RBC": {"Spherocyte": 3}}, "false_spherocyte_share": 0.012, "points": 250, "images": 4}


def test_false_calls_are_recorded_and_rule_what_is_detected(bundle: Path) -> None:
    before = load_bundle(bundle)
    fields = [make_field(960, 40)] * 2
    assert before.false_call_percent is None
    digest = record_false_calls(bundle, CLEAN, "four smears of healthy donors")
    after = load_bundle(bundle)
    assert after.id.sha256 == digest != before.id.sha256
    assert after.false_call_percent == pytest.approx(1.2)
    grader = CaseGrader(bundle=bundle)
    gradings = [grader.count(fields, each, None).grading for each in (after.id, before.id, None)]
    assert [grading is not None and grading.detected for grading in gradings] == [True, False, False]
    told = [" ".join(grader.count(fields, each, None).limitations) for each in (after.id, before.id)]
    assert ["false spherocytes is not known" in each for each in told] == [False, True]


@pytest.mark.parametrize(
    ("evaluation", "told"),
    [
        ({"box": {}}, "no output of"),
        ({**CLEAN, "confusion": {"RBC": {}, "Spherocyte": {"RBC": 2}}}, "2 of the points are labelled Spherocyte"),
        ({**CLEAN, "false_spherocyte_share": None}, "no output of"),
    ],
)
def test_other_figures_are_no_false_calls(bundle: Path, evaluation: dict[str, object], told: str) -> None:
    with pytest.raises(BundleError, match=told):
        record_false_calls(bundle, evaluation, "smears")
    assert load_bundle(bundle).false_call_percent is None


def test_the_shipped_bundle_says_how_often_it_is_wrong() -> None:
    false_calls = load_bundle(shipped_bundle()).description["false_calls"]
    assert 0 < false_calls["share"] < 0.05
    assert false_calls["points"] > 1000
