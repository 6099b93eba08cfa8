"""The model card says what its files say, and nothing of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("official", reason="the training extra is not installed")

from sphero_core.bundle import load_bundle, shipped_bundle
from sphero_core.training.card import card_text
from sphero_core.training.report import report_of
from tests.unit.test_crossval_report import RUN, fold


def described(**changes: Any) -> dict[str, Any]:
    return {**load_bundle(shipped_bundle()).description, **changes}


def test_the_card_of_a_bundle_without_a_report() -> None:
    text = card_text(described(), "ab" * 32, None)
    assert text.startswith("# Model card: spheroflow-mrcnn-mobilenetv2 ")
    assert "ab" * 32 in text
    assert "Licence: CC BY 4.0." in text
    assert "not to be released" in text
    for heading in ("Intended use", "What it must not be used for", "Training data and licences", "Known failures"):
        assert f"## {heading}" in text


def test_the_figures_are_those_of_the_report() -> None:
    report = json.loads(json.dumps(report_of(RUN, [fold("a", None, "network_alone")], repetitions=10)))
    data = {**described()["training_data"], "groups": ["a", "b"]}
    text = card_text(described(training_data=data), "0" * 64, report, pictures=["failures-a.png"])
    assert "it was trained on a as well" in text
    assert "- Short of the bar: spherocyte F1 at the operating point, 0.000 for 0.88." in text
    assert "- Of 6 cells labelled RBC, 2 were called spherocytes; 0 were not found." in text
    assert "- Of 2 cells labelled Spherocyte, 2 were called RBC; 0 were not found." in text
    assert "![Failures](failures-a.png)" in text
    assert "not to be released" not in text


def test_degraded_pictures_and_their_change() -> None:
    levels = {
        "as-it-is": {"text": "not degraded", "figures": {"F1": 0.9}},
        "blur": {"text": "blurred", "figures": {"F1": 0.75}},
    }
    text = card_text(described(), "0" * 64, None, [{"images": 12, "levels": levels}])
    assert "12 images" in text
    assert "| blurred | 0.750 (-0.150) |" in text


def test_no_figure_is_typed_into_the_card() -> None:
    """Whatever looks like a measured figure in the code of the card would be one that no file gave."""
    source = Path(__file__).resolve().parents[2] / "sphero_core/training/card.py"
    assert re.findall(r"\b0\.\d+|(?<!\.)\b\d+ ?%", source.read_text(encoding="utf-8")) == []
