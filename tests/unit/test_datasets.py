"""Reading annotations and making masks of boxes, held against synthetic smears whose truth is exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from sphero_core.datasets.coco import class_from_name, read_coco
from sphero_core.datasets.masks import masks_from_boxes
from sphero_core.errors import DatasetError
from sphero_core.evaluation.coco_truth import mask_of_polygons
from sphero_core.synthetic import draw_smear, random_style
from sphero_core.types import CellClass


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RBC", CellClass.RBC),
        ("rbcs", CellClass.RBC),
        ("Erythrocytes", CellClass.RBC),
        ("SPHEROCYTE", CellClass.SPHEROCYTE),
        ("spherocytes", CellClass.SPHEROCYTE),
        ("White_Blood_Cells", CellClass.WBC),
        ("Platelets", CellClass.PLATELET),
        ("schistocyte", None),
        ("2", None),
    ],
)
def test_categories_go_by_name(name: str, expected: CellClass | None) -> None:
    assert class_from_name(name) is expected


def _write(folder: Path, annotations: list[dict[str, Any]]) -> Path:
    Image.new("RGB", (64, 48)).save(folder / "a.png")
    document = {
        # The numbers are shuffled on purpose: only names may be believed.
        "categories": [{"id": 7, "name": "Spherocyte"}, {"id": 1, "name": "RBC"}, {"id": 3, "name": "dirt"}],
        "images": [{"id": 5, "file_name": "a.png", "width": 64, "height": 48, "patient": "p1"}],
        "annotations": annotations,
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(document))
    return path


def _object(category: int, polygon: list[float] | None = None) -> dict[str, Any]:
    return {
        "id": 1,
        "image_id": 5,
        "category_id": category,
        "bbox": [10, 10, 20, 16],
        "segmentation": [polygon] if polygon else [],
    }


def test_a_polygon_that_is_the_box_is_no_mask(tmp_path: Path) -> None:
    corners = [10.0, 10.0, 30.0, 10.0, 30.0, 26.0, 10.0, 26.0]
    outline = [10.0, 18.0, 20.0, 10.0, 30.0, 18.0, 20.0, 26.0]
    path = _write(tmp_path, [_object(7, corners), _object(1, outline), _object(3)])
    (image,) = read_coco(tmp_path, path)
    assert image.group == "p1"
    assert image.classes == (CellClass.SPHEROCYTE, CellClass.RBC)
    assert image.polygons[0] == ()
    assert len(image.polygons[1]) == 1


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, [])
    (tmp_path / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"a\.png"):
        read_coco(tmp_path, path)


def test_a_missing_image_may_be_left_out(tmp_path: Path) -> None:
    path = _write(tmp_path, [])
    (tmp_path / "a.png").unlink()
    missing: list[str] = []
    assert read_coco(tmp_path, path, missing.append) == []
    assert missing == ["a.png"]


def test_a_run_length_mask_is_a_mask(tmp_path: Path) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[12:20, 10:30] = 1
    mask[20:26, 14:22] = 1
    encoded = coco_mask.encode(np.asfortranarray(mask))
    runs = {"size": [48, 64], "counts": encoded["counts"].decode("ascii")}
    path = _write(tmp_path, [{**_object(1), "segmentation": runs}])
    (image,) = read_coco(tmp_path, path)
    drawn = mask_of_polygons(image.polygons[0], 64, 48)
    assert np.array_equal(drawn.mask, mask[12:26, 10:30] > 0)
    assert (drawn.x, drawn.y) == (10, 12)


def test_crowds_and_what_is_called_ignored_are_neither_cell_nor_background(tmp_path: Path) -> None:
    outline = [10.0, 18.0, 20.0, 10.0, 30.0, 18.0, 20.0, 26.0]
    path = _write(tmp_path, [{**_object(1), "iscrowd": 1}, _object(9, outline), _object(3)])
    document = json.loads(path.read_text())
    document["categories"].append({"id": 9, "name": "ignored"})
    path.write_text(json.dumps(document))
    (image,) = read_coco(tmp_path, path)
    assert image.classes == ()
    assert [region.tolist() for region in image.ignored] == [
        [[10, 10], [30, 10], [30, 26], [10, 26]],
        [[10, 18], [20, 10], [30, 18], [20, 26]],
    ]


def test_images_in_folders_are_found_and_none_outside(tmp_path: Path) -> None:
    path = _write(tmp_path, [])
    (tmp_path / "train").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "train" / "a.png")
    document = json.loads(path.read_text())
    for name, found in (("train/a.png", True), ("../secret.png", False)):
        document["images"][0]["file_name"] = name
        path.write_text(json.dumps(document))
        assert len(read_coco(tmp_path, path, lambda _: None)) == found
    inner = tmp_path / "inner"
    inner.mkdir()
    document["images"][0]["file_name"] = "../train/a.png"
    path.write_text(json.dumps(document))
    assert read_coco(inner, path, lambda _: None) == []


def test_what_is_no_coco_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_text("[1, 2")
    with pytest.raises(DatasetError, match=r"coco\.json cannot be read"):
        read_coco(tmp_path, path)


def test_masks_from_boxes_follow_separate_cells() -> None:
    overlaps = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        smear = draw_smear(random_style(rng), rng)
        cells = [c for c in smear.cells if c.cell_class.is_red_cell]
        boxes = np.array([c.box for c in cells], float)
        for cell, mask in zip(cells, masks_from_boxes(smear.pixels, boxes), strict=True):
            if cell.overlaps or cell.touches_border:
                continue
            drawn = np.zeros(smear.pixels.shape[:2], bool)
            drawn[mask.y : mask.y + mask.mask.shape[0], mask.x : mask.x + mask.mask.shape[1]] = mask.mask
            true = np.zeros_like(drawn)
            true[cell.y : cell.y + cell.mask.shape[0], cell.x : cell.x + cell.mask.shape[1]] = cell.mask
            overlaps.append((drawn & true).sum() / (drawn | true).sum())
    assert len(overlaps) > 100
    assert np.median(overlaps) > 0.93
    assert np.quantile(overlaps, 0.05) > 0.80
