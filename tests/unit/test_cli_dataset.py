"""`sphero dataset`: from a foreign export to masks, sheets and a split, and what it says about the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flows.cli.app import app
from sphero_core.datasets.layout import read_dataset
from sphero_core.datasets.splits import read_split
from sphero_core.errors import DatasetError
from sphero_core.types import CellClass


def _sphero(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["dataset", *(str(argument) for argument in arguments)])


def _json(*arguments: object) -> Any:
    result = _sphero(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two smears of two small fields each."""
    folder: Path = tmp_path_factory.mktemp("data") / "drawn"
    size = ("--width", 480, "--height", 360, "--cell-diameter", 50, "--overlap", 0.05)
    said = _json("synthesize", "--out", folder, "--smears", 2, "--fields", 2, "--spherocyte-share", 0.2, *size)
    assert said["images"] == 4
    assert said["Spherocyte"] > 5
    assert [row["group"] for row in said["groups"]] == ["smear-001", "smear-002"]
    return folder


def _export(drawn: Path, folder: Path, *, every: int = 1) -> Path:
    """The boxes of a drawn set as Roboflow would export them."""
    document = json.loads((drawn / "annotations.json").read_text())
    del document["info"]
    for image in document["images"]:
        del image["sha256"], image["twins"], image["group"]
        image["file_name"] = image["file_name"].replace("/", "-")
        source = drawn / "images" / image["file_name"].replace("-field", "/field")
        (folder / "train").mkdir(parents=True, exist_ok=True)
        (folder / "train" / image["file_name"]).write_bytes(source.read_bytes())
    for annotation in document["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    document["annotations"] = document["annotations"][::every]
    (folder / "train" / "_annotations.coco.json").write_text(json.dumps(document))
    return folder


def test_the_whole_way_of_an_export(drawn: Path, tmp_path: Path) -> None:
    export, out = _export(drawn, tmp_path / "export", every=2), tmp_path / "mine"
    grouped = ("--group-pattern", r"smear-\d+", "--copy", "--licence", "CC0")
    said = _json("import", "--roboflow", export, "--out", out, *grouped)
    assert (said["name"], said["licence"], said["images"]) == ("mine", "CC0", 4)
    kinds = [problem["kind"] for problem in said["problems"]]
    assert "box_polygons" in kinds
    assert "unlabelled" in kinds
    assert "stretch" not in kinds
    assert "no_patient" not in kinds
    assert (out / "images" / "train" / "smear-001-field-01.png").is_file()

    made = _json("masks", out)
    assert made["cells_with_a_mask"] == made["labelled_cells"] == sum(said[str(name)] for name in CellClass)
    assert made["ignored_regions"] > 20

    folds = _json("split", out)
    assert [(row["fold"], row["images"]) for row in folds] == [("smear-001", 2), ("smear-002", 2)]
    assert len(read_split(out / "split.json").images) == 4
    assert "fits the data" in _sphero("split", out, "--check").stdout

    shown = _json("show", out, "--out", tmp_path / "sheets", "--fold", "smear-002")
    assert [row["group"] for row in shown["groups"]] == ["smear-002"]
    assert shown["ignored"] > 0
    assert [Path(sheet).is_file() for sheet in shown["sheets"]] == [True]
    assert "sheets" not in _json("show", out, "--images", 0)
    assert _json("show", out, "--images", 0, "--as-labelled")["ignored"] == 0


def test_an_image_that_changed_is_noticed(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    _json("import", "--roboflow", _export(drawn, tmp_path / "export"), "--out", out, "--copy", "--look-at", 0)
    with (out / "images" / "train" / "smear-001-field-01.png").open("ab") as stream:
        stream.write(b"more")
    result = _sphero("split", out)
    assert result.exit_code == 1
    assert "1 images are not what was imported (train/smear-001-field-01.png the first)" in result.stderr


def test_importing_again_takes_away_what_was_made_of_the_older_labels(drawn: Path, tmp_path: Path) -> None:
    export, out = _export(drawn, tmp_path / "export"), tmp_path / "mine"
    arguments = ("import", "--roboflow", export, "--out", out, "--look-at", 0)
    _json(*arguments)
    for name in ("masks.json", "split.json"):
        (out / name).write_text("{}")
    _json(*arguments)
    assert sorted(path.name for path in out.iterdir()) == ["annotations.json"]
    said = _sphero(*arguments).stdout
    assert "! the labels name no patient" in said
    assert f"next: sphero dataset masks {out}" in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--roboflow", "."),
        ("--images", "."),
        ("--images", ".", "--points", ".", "--coco", __file__, "--out", "x"),
        ("--roboflow", ".", "--images", ".", "--out", "x"),
        ("--images", ".", "--points", ".", "--out", "x", "--group-by", "colour"),
        ("--images", ".", "--points", ".", "--out", "x", "--group-pattern", "("),
    ],
)
def test_wrong_usage_of_import_is_told(arguments: tuple[str, ...]) -> None:
    assert _sphero("import", *arguments).exit_code == 2


def test_a_folder_that_is_no_data_set_is_told(tmp_path: Path) -> None:
    for command in ("masks", "split", "show"):
        result = _sphero(command, tmp_path)
        assert isinstance(result.exception, DatasetError)
        assert "sphero dataset import" in str(result.exception)


def test_what_is_wrong_with_the_public_sets_is_found(shared_data: Path, tmp_path: Path) -> None:
    bars, chula = shared_data / "barcelona-hs", shared_data / "chula-rbc12"
    said = _json(
        "import", "--images", bars / "images", "--coco", bars / "annotations.coco.json", "--out", tmp_path / "b", "--look-at", 8
    )  # fmt: skip
    assert [row["group"] for row in said["groups"]] == [f"patient_0{n}" for n in (1, 2, 3, 4)]
    texts = {problem["kind"]: problem["text"] for problem in said["problems"]}
    assert "5959 of 5959 polygons" in texts["box_polygons"]
    assert "--pixel-aspect 1.3333" in texts["stretch"]
    said = _json(
        "import", "--images", chula / "images", "--points", chula / "labels", "--out", tmp_path / "c", "--look-at", 8
    )  # fmt: skip
    texts = {problem["kind"]: problem["text"] for problem in said["problems"]}
    assert texts["duplicates"].startswith("20 files have the same bytes")
    assert "stretch" not in texts
    assert "unlabelled" in texts
    assert said["images"] == 475
    groups = {image.name: image.group for image in read_dataset(tmp_path / "c").images}
    assert groups["560.jpg"] == groups["605.jpg"] == "block_056"  # 607 is 560 once more
