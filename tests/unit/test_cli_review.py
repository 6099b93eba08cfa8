"""`sphero dataset review`, from a labelled set to figures, with the shipped model on drawn smears of which a third has lost its labels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from flows.cli.app import app
from sphero_core.datasets.layout import read_dataset
from sphero_core.evaluation.matching import box_iou
from sphero_core.review.places import SAME_PLACE_IOU
from sphero_core.review.sampling import Key, read_key

Truth = dict[str, NDArray[np.float64]]


def _sphero(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["dataset", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """The set, and every red cell's box by image."""
    folder: Path = tmp_path_factory.mktemp("data")
    size = ("--width", 480, "--height", 360, "--cell-diameter", 60, "--overlap", 0)
    assert _sphero("synthesize", "--out", folder, "--smears", 1, "--fields", 2, "--seed", 5, *size).exit_code == 0
    truth = {
        image.name: np.array([lb.box for lb in image.labels if lb.cell_class and lb.cell_class.is_red_cell], np.float64)
        for image in read_dataset(folder).images
    }
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    document["annotations"] = [a for number, a in enumerate(document["annotations"]) if number % 3]
    path.write_text(json.dumps(document))
    return folder, truth


def _judge(key: Key, truth: Truth, reading: int, path: Path) -> None:
    lines = ["tile,judgement"]
    for number, shown in enumerate(key.tiles[reading - 1], start=1):
        place = key.places[shown.index]
        overlap = box_iou(np.array([place.box], np.float64), truth[place.field]).max()
        lines.append(f"{number},{'r' if overlap >= SAME_PLACE_IOU else 'n'}")
    path.write_text("\n".join(lines) + "\n")


def test_from_labels_to_figures(data: tuple[Path, Truth], tmp_path: Path) -> None:
    folder, truth = data
    out = tmp_path / "review"
    said = _sphero("review", "sample", folder, "--out", out, "--agreed", 8, "--fields", 1, "--seed", 3)
    assert said.exit_code == 0, said.output
    assert "do not open key.json" in said.output
    names = sorted(path.name for path in (out / "reading-1").iterdir())
    assert names == sorted(path.name for path in (out / "reading-2").iterdir())
    assert names[:2] == ["field-01.png", "sheet-01.png"]
    assert not [name for name in names if "smear" in name], "no file tells which image it shows"
    again = _sphero("review", "sample", folder, "--out", out)
    assert again.exit_code == 1
    assert "judgements are not overwritten" in again.output
    key = read_key(out / "key.json")
    assert len(csv_rows(out / "reading-1.csv")) == len(key.tiles[0])
    unanswered = CliRunner().invoke(app, ["dataset", "review", "score", str(out)])
    assert isinstance(unanswered.exception, Exception)
    assert "tile 1 says ''" in str(unanswered.exception)
    for reading in (1, 2):
        _judge(key, truth, reading, out / f"reading-{reading}.csv")
        (out / f"fields-{reading}.csv").write_text("field,whole,cut\n1,0,0\n")
    scored = _sphero("review", "score", out, "--out", tmp_path / "scored", "--json")
    assert scored.exit_code == 0, scored.output
    figures = json.loads(scored.stdout)
    assert figures == json.loads((tmp_path / "scored" / "review.json").read_text())
    assert figures["tiles"] == len(key.tiles[0])
    more = tmp_path / "more"
    assert _sphero("review", "sample", folder, "--after", out, "--agreed", 12, "--out", more).exit_code == 0
    further = read_key(more / "key.json")
    for reading in (1, 2):
        _judge(further, truth, reading, more / f"reading-{reading}.csv")
    pooled = json.loads(_sphero("review", "score", out, more, "--json").stdout)
    assert pooled["tiles"] == len(key.tiles[0]) + len(further.tiles[0])
    shown = _sphero("review", "show", out, "--data", folder, "--out", tmp_path / "shown")
    assert shown.exit_code == 0, shown.output
    drawn = {path.stem.rsplit("-", 1)[0] for path in (tmp_path / "shown").glob("*.png")}
    judged = {place.stratum for place in (key.places[each.index] for each in key.tiles[0])}
    assert drawn == {stratum.name.lower().replace("_", "-") for stratum in judged}
    rows = csv_rows(tmp_path / "scored" / "fields.csv")
    for row in rows:
        true = len(truth[row["field"]])
        assert float(row["labelled"]) < 0.8 * true
        assert float(row["reviewed"]) == pytest.approx(true, rel=0.06), (
            "the review finds the cells that lost their labels"
        )
    assert len(csv_rows(tmp_path / "scored" / "tiles.csv")) == len(key.tiles[0])


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
