"""Import, masks, splits, sheets and drawing of data sets: small ones made here, whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sphero_core.datasets.coco import read_coco
from sphero_core.datasets.drawing import Drawing, draw_dataset
from sphero_core.datasets.groups import block_of, join_groups, source_of
from sphero_core.datasets.importing import GroupBy, Grouping, find_exports, import_coco, import_points
from sphero_core.datasets.layout import DataImage, Dataset, Label, changed_images, read_dataset, write_dataset
from sphero_core.datasets.masking import with_masks
from sphero_core.datasets.problems import Look, Problem, look_at, problems_of_labels, problems_of_pixels, sample_of
from sphero_core.datasets.sheet import SheetSize, draw_sheet, draw_tile
from sphero_core.datasets.splits import Fold, make_split, read_split, verify_split, write_split
from sphero_core.errors import DatasetError
from sphero_core.evaluation.coco_truth import mask_of_polygons, truth_of
from sphero_core.image import read_image
from sphero_core.types import CellClass


def _picture(path: Path, colour: int, size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, colour, 200)).save(path)
    return path


def _coco(path: Path, images: list[dict[str, Any]], boxes: list[tuple[int, int, list[float]]]) -> Path:
    """Write a COCO file; `boxes` are image, category and box, with polygons that are the boxes' corners."""
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": [x, y, w, h],
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        }
        for number, (image, category, (x, y, w, h)) in enumerate(boxes)
    ]
    categories = [{"id": 1, "name": "rbcs"}, {"id": 2, "name": "Spherocyte"}, {"id": 3, "name": "dirt"}]
    path.write_text(json.dumps({"categories": categories, "images": images, "annotations": annotations}))
    return path


def _entry(number: int, name: str, **more: object) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": 64, "height": 48, **more}


def _kinds(problems: tuple[Problem, ...] | list[Problem]) -> list[str]:
    return [problem.kind for problem in problems]


def _image(number: int, group: str, *classes: CellClass) -> DataImage:
    labels = tuple(Label(name, (1.0, 2.0, 3.0, 4.0)) for name in classes)
    return DataImage(Path(f"{number}.png"), f"{number}.png", f"{number:064x}", group, 64, 48, labels)


def test_coco_is_imported_with_what_is_wrong_with_it(tmp_path: Path) -> None:
    for name, colour in (("a.png", 1), ("b.png", 2)):
        _picture(tmp_path / name, colour)
    (tmp_path / "broken.png").write_bytes(b"no image")
    _picture(tmp_path / "small.png", 9, (32, 24))
    names = ("a.png", "b.png", "gone.png", "broken.png", "small.png")
    coco = _coco(
        tmp_path / "c.json",
        [_entry(n, name, patient="p1" if name == "a.png" else "") for n, name in enumerate(names)],
        [(0, 1, [5, 5, 10, 10]), (0, 3, [30, 5, 10, 10]), (1, 2, [5, 5, 10, 10])],
    )
    imported = import_coco(tmp_path, [(tmp_path, coco)])
    assert [(i.name, i.group, len(i.labels)) for i in imported.images] == [("a.png", "p1", 1), ("b.png", "b.png", 1)]
    assert _kinds(imported.problems) == [
        "unknown_category",
        "box_polygons",
        "missing_image",
        "damaged_image",
        "other_size",
        "no_patient",
    ]
    assert "dirt (1)" in imported.problems[0].text
    assert imported.problems[2].images == ("gone.png",)


def test_boxes_of_twins_are_merged_and_contradictions_ignored(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        _picture(tmp_path / name, 1)
    coco = _coco(
        tmp_path / "c.json",
        [_entry(1, "a.png", patient="p1"), _entry(2, "b.png", patient="p2")],
        [
            (1, 1, [5, 5, 10, 10]),
            (1, 1, [30, 5, 10, 10]),
            (2, 2, [6, 5, 10, 10]),
            (2, 1, [31, 5, 10, 10]),
            (2, 1, [5, 30, 9, 9]),
        ],
    )
    imported = import_coco(tmp_path, [(tmp_path, coco)])
    (image,) = imported.images
    assert [label.cell_class for label in image.labels] == [None, CellClass.RBC, CellClass.RBC]
    assert (image.group, image.twins) == ("p1", ("b.png",))
    (twins,) = [p for p in imported.problems if p.kind == "duplicates"]
    assert "of 2 cells that both label, the classes agree on 50 %" in twins.text
    assert "joined_groups" in _kinds(imported.problems)


def test_a_roboflow_export_keeps_augmented_copies_in_one_group(tmp_path: Path) -> None:
    for part, name, colour in (("train", "x_jpg.rf.0a.png", 1), ("train", "x_jpg.rf.1b.png", 2), ("valid", "y.png", 3)):
        _picture(tmp_path / part / name, colour)
    _coco(
        tmp_path / "train" / "_annotations.coco.json",
        [_entry(1, "x_jpg.rf.0a.png"), _entry(2, "x_jpg.rf.1b.png")],
        [(1, 1, [5, 5, 10, 10])],
    )
    _coco(tmp_path / "valid" / "_annotations.coco.json", [_entry(1, "y.png")], [(1, 2, [5, 5, 10, 10])])
    exports = find_exports(tmp_path)
    imported = import_coco(tmp_path, [(file.parent, file) for file in exports])
    assert [(i.name, i.group) for i in imported.images] == [
        ("train/x_jpg.rf.0a.png", "x_jpg"),
        ("train/x_jpg.rf.1b.png", "x_jpg"),
        ("valid/y.png", "y.png"),
    ]
    assert "augmented_copies" in _kinds(imported.problems)
    with pytest.raises(DatasetError, match=r"_annotations\.coco\.json"):
        find_exports(tmp_path / "nothing")


def test_points_are_imported_by_block(tmp_path: Path) -> None:
    for number in (7, 12, 31, 40):
        _picture(tmp_path / f"{number}.png", 50 if number in (12, 31) else number)
    for number, lines in ((7, "10 10 0\n"), (12, "20 20 0\n40 20 3\n"), (31, "20 20 3\n"), (99, "1 1 0\n")):
        (tmp_path / f"{number}.txt").write_text(lines)
    imported = import_points(tmp_path, tmp_path)
    assert [(i.name, i.group, i.twins) for i in imported.images] == [
        ("7.png", "block_000", ()),
        ("12.png", "block_001", ("31.png",)),
    ]
    assert [label.cell_class for label in imported.images[1].labels] == [None, CellClass.SPHEROCYTE]
    assert _kinds(imported.problems) == ["missing_image", "no_label_file", "duplicates", "joined_groups"]


@pytest.mark.parametrize(
    ("grouping", "group"),
    [
        (Grouping(), "p9"),
        (Grouping(GroupBy.BLOCK), "block_012"),
        (Grouping(GroupBy.IMAGE), "s3_127.png"),
        (Grouping(pattern=r"s(\d)_"), "3"),
        (Grouping(pattern=r"s\d"), "s3"),
    ],
)
def test_how_images_are_grouped(grouping: Grouping, group: str) -> None:
    assert grouping.group_of("127.png" if group == "block_012" else "s3_127.png", "p9", numbered=False) == group


def test_a_group_that_cannot_be_had_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no patient"):
        Grouping(GroupBy.PATIENT).group_of("a.png", "", numbered=False)
    with pytest.raises(DatasetError, match="matches nothing"):
        Grouping(pattern="x").group_of("a.png", "", numbered=False)


def test_blocks_sources_and_joined_groups() -> None:
    assert [block_of(name) for name in ("7", "120", "129", "img_0045", "left")] == [
        "block_000",
        "block_012",
        "block_012",
        "block_004",
        "left",
    ]
    assert source_of("f_jpg.rf.0123abcd.jpg") == "f_jpg"
    assert join_groups([["b", "a"], ["c", "b"], ["d"]]) == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_a_data_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = _picture(tmp_path / "elsewhere" / "a.png", 1)
    outline = np.array([[5.0, 5], [20, 5], [12, 20]])
    labels = (
        Label(CellClass.SPHEROCYTE, (5.0, 5.0, 15.0, 15.0), None, (outline,)),
        Label(CellClass.RBC, (30.0, 5.5, 10.0, 10.0)),
        Label(None, (40.0, 20.0, 10.0, 10.0)),
    )
    image = DataImage(path, "a.png", "0" * 64, "p1", 64, 48, labels, ("b.png",))
    write_dataset(tmp_path / "set", Dataset("mine", "CC0", 4 / 3, (image,)), path.parent)
    read = read_dataset(tmp_path / "set")
    assert (read.name, read.licence, read.pixel_aspect) == ("mine", "CC0", 4 / 3)
    (back,) = read.images
    assert back.path.samefile(image.path)
    assert (back.name, back.sha256, back.group, back.twins) == ("a.png", "0" * 64, "p1", ("b.png",))
    assert [(label.cell_class, label.box) for label in back.labels] == [
        (CellClass.SPHEROCYTE, (5, 5, 15, 15)),
        (CellClass.RBC, (30, 5.5, 10, 10)),
        (None, (40, 20, 10, 10)),
    ]
    assert np.array_equal(back.labels[0].polygons[0], outline)
    assert changed_images(read.images) == ["a.png"]
    # Other readers of COCO see the same.
    (plain,) = read_coco(path.parent, tmp_path / "set" / "annotations.json")
    assert plain.classes == (CellClass.SPHEROCYTE, CellClass.RBC)
    assert plain.group == "p1"
    assert plain.ignored[0].tolist() == [[40, 20], [50, 20], [50, 30], [40, 30]]


def test_points_are_kept_until_masks_are_made(tmp_path: Path) -> None:
    path = _picture(tmp_path / "a.png", 1)
    image = DataImage(path, "a.png", "0" * 64, "g", 64, 48, (Label(CellClass.RBC, point=(10.0, 12.5)),))
    write_dataset(tmp_path, Dataset("mine", "", 1.0, (image,)), tmp_path)
    (back,) = read_dataset(tmp_path).images
    assert back.labels[0].point == pytest.approx((10, 12.5))
    with pytest.raises(DatasetError, match="sphero dataset masks"):
        _ = back.labelled
    assert read_coco(tmp_path, tmp_path / "annotations.json")[0].classes == ()


def test_what_is_no_data_set_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="sphero dataset import"):
        read_dataset(tmp_path)
    _coco(tmp_path / "annotations.json", [], [])
    with pytest.raises(DatasetError, match="layout"):
        read_dataset(tmp_path)
    path = _picture(tmp_path / "a.png", 1)
    image = DataImage(path, "a.png", "0" * 64, "g", 64, 48, ())
    write_dataset(tmp_path, Dataset("mine", "", 1.0, (image,)), tmp_path)
    path.unlink()
    with pytest.raises(DatasetError, match=r"a\.png"):
        read_dataset(tmp_path)


def test_few_groups_are_held_out_one_by_one_and_many_share_folds() -> None:
    few = [_image(n, f"p{n % 3}", CellClass.RBC) for n in range(9)]
    assert [fold.held_out for fold in make_split("x", few).folds] == [("p0",), ("p1",), ("p2",)]
    many = [_image(n, f"b{n // 2:02d}", *[CellClass.SPHEROCYTE] * (n % 5)) for n in range(60)]
    split = make_split("x", many)
    assert len(split.folds) == 5
    held_out = [group for fold in split.folds for group in fold.held_out]
    assert sorted(held_out) == sorted({image.group for image in many})
    sizes = [len(split.parts(fold.name, many)[1]) for fold in split.folds]
    assert sum(sizes) == 60
    assert max(sizes) - min(sizes) <= 4
    train, test = split.parts("fold_2", many)
    assert not {i.group for i in train} & {i.group for i in test}
    with pytest.raises(DatasetError, match="1 groups"):
        make_split("x", few[:1])
    with pytest.raises(DatasetError, match="no fold 'fold_9'"):
        split.fold("fold_9")


def test_a_split_is_verified_when_it_is_used(tmp_path: Path) -> None:
    images = [_image(n, f"p{n % 3}", CellClass.RBC) for n in range(9)]
    write_split(make_split("x", images), tmp_path / "split.json")
    split = read_split(tmp_path / "split.json")
    assert split == make_split("x", images)
    changed = [replace(images[0], sha256="f" * 64), *images[1:]]
    with pytest.raises(DatasetError, match=r"changed \(0\.png the first\).*1 images of the split are not"):
        split.parts("p0", changed)
    with pytest.raises(DatasetError, match="another group"):
        split.parts("p0", [replace(images[0], group="p1"), *images[1:]])
    with pytest.raises(DatasetError, match="exactly once: p1"):
        verify_split(replace(split, folds=(*split.folds, Fold("again", ("p1",)))), images)
    (tmp_path / "split.json").write_text('{"schema": "other"}')
    with pytest.raises(DatasetError, match="no split"):
        read_split(tmp_path / "split.json")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set of two smears."""
    folder: Path = tmp_path_factory.mktemp("drawn")
    ticks: list[None] = []
    fixed = {"cell_diameter_px": 60.0, "overlap": 0.1, "width": 640, "height": 480}
    draw_dataset(folder, Drawing(2, 2, 3, fixed), lambda: ticks.append(None))
    assert len(ticks) == 4
    return folder


def test_a_drawn_data_set_is_a_data_set_with_exact_masks(drawn: Path, tmp_path: Path) -> None:
    dataset = read_dataset(drawn)
    assert [(i.name, i.group) for i in dataset.images[:3:2]] == [
        ("smear-001/field-01.png", "smear-001"),
        ("smear-002/field-01.png", "smear-002"),
    ]
    assert changed_images(dataset.images) == []
    assert all(label.polygons for image in dataset.images for label in image.labels)
    again = draw_dataset(tmp_path, Drawing(2, 2, 3, {"cell_diameter_px": 60.0, "overlap": 0.1}))
    assert again.read_bytes() == (drawn / "annotations.json").read_bytes()


def test_masks_of_boxes_are_near_the_truth(drawn: Path, tmp_path: Path) -> None:
    image = read_dataset(drawn).images[0]
    boxes_only = replace(image, labels=tuple(replace(label, polygons=()) for label in image.labels))
    made = with_masks(boxes_only)
    cells = [label for label in made.labels if label.cell_class is not None]
    assert [label.box for label in cells] == [label.box for label in image.labels]
    overlaps = []
    for true, label in zip(image.labels, cells, strict=True):
        one, other = (np.zeros((image.height, image.width), bool) for _ in range(2))
        for whole, polygons in ((one, true.polygons), (other, label.polygons)):
            mask = mask_of_polygons(polygons, image.width, image.height)
            whole[mask.y : mask.y + mask.mask.shape[0], mask.x : mask.x + mask.mask.shape[1]] = mask.mask
        overlaps.append((one & other).sum() / (one | other).sum())
        assert len(label.polygons[0]) < 120
    assert np.median(overlaps) > 0.93
    kept = with_masks(image).labels[0]
    assert kept.polygons[0] is image.labels[0].polygons[0]
    # What was made is told apart from what was drawn, also after it was written.
    assert [label.made for label in (kept, cells[0])] == [False, True]
    write_dataset(tmp_path, Dataset("mine", "", 1.0, (made,)), drawn / "images")
    assert read_dataset(tmp_path).images[0].labels[0].made
    (back,) = read_coco(drawn / "images", tmp_path / "annotations.json")
    assert back.made
    assert not truth_of(back, read_image(back.path)).masks_are_labelled


def test_masks_of_points_bring_boxes(drawn: Path) -> None:
    image = read_dataset(drawn).images[0]
    red = [label for label in image.labels if label.box and min(label.box[2:]) > 40]
    points = tuple(
        Label(label.cell_class, point=(label.box[0] + label.box[2] / 2, label.box[1] + label.box[3] / 2))
        for label in red
        if label.box
    )
    made = with_masks(replace(image, labels=points)).labelled
    assert len(made.classes) > 0.9 * len(points)
    assert all(made.polygons)


def test_a_stretched_set_is_seen_and_the_right_aspect_undoes_it(drawn: Path, tmp_path: Path) -> None:
    stretched = []
    for image in read_dataset(drawn).images[:3]:
        path = tmp_path / image.name.replace("/", "-")
        Image.open(image.path).resize((640, 640)).save(path)
        labels = tuple(
            Label(label.cell_class, (label.box[0], label.box[1] * 4 / 3, label.box[2], label.box[3] * 4 / 3))
            for label in image.labels
            if label.box
        )
        stretched.append(replace(image, path=path, height=640, labels=labels))
    (problem,) = problems_of_pixels([look_at(image) for image in stretched], 3)
    assert problem.kind == "stretch"
    assert "--pixel-aspect 1.3333" in problem.text
    assert problems_of_pixels([look_at(image, pixel_aspect=4 / 3) for image in stretched], 3) == []


def test_cells_without_a_label_are_counted(drawn: Path) -> None:
    images = read_dataset(drawn).images
    half = [replace(image, labels=image.labels[::2]) for image in images]
    looks = [look_at(image) for image in half]
    (problem,) = problems_of_pixels(looks, 40)
    assert problem.kind == "unlabelled"
    assert "in 4 of 40 images looked at" in problem.text
    assert 0.35 < sum(look.unlabelled for look in looks) / sum(look.cells for look in looks) < 0.65
    assert problems_of_pixels([Look("a", (), 0, 0)], 1) == []


def test_labels_alone_tell_of_empty_classes_and_bare_images() -> None:
    images = [_image(1, "a", *[CellClass.RBC] * 60, CellClass.SPHEROCYTE), _image(2, "a")]
    images[0] = replace(images[0], labels=(*images[0].labels, Label(CellClass.RBC, (60.0, 40.0, 9.0, 9.0))))
    problems = problems_of_labels(images)
    assert _kinds(problems) == ["few_cells", "few_cells", "few_cells", "no_labels", "outside"]
    assert "Spherocyte has only 1 labels" in problems[0].text
    assert problems[3].images == ("2.png",)


def test_a_sample_is_spread_over_the_set() -> None:
    images = [_image(n, "a") for n in range(100)]
    assert [image.name for image in sample_of(images, 3)] == ["0.png", "50.png", "99.png"]
    assert len(sample_of(images[:2], 12)) == 2
    assert sample_of([], 5) == []


def test_a_sheet_shows_classes_and_what_is_ignored(drawn: Path) -> None:
    image = read_dataset(drawn).images[0]
    plain = draw_tile(replace(image, labels=()), width=640)
    (first, *_) = image.labels
    ignored = draw_tile(replace(image, labels=(replace(first, cell_class=None),)), width=640)
    outlined = draw_tile(image, width=640)
    assert plain.shape == ignored.shape == outlined.shape
    changed = np.any(plain[30:] != ignored[30:], axis=2)
    x, y, w, h = (int(v) for v in first.box or ())
    assert 0.15 < changed[y : y + h, x : x + w].mean() < 0.7
    changed[max(y - 12, 0) : y + h + 2, max(x - 2, 0) : x + w + 2] = False
    assert not changed.any()
    assert 0.005 < np.any(plain[30:] != outlined[30:], axis=2).mean() < 0.15
    sheet = draw_sheet([image] * 3, size=SheetSize(2, 2, 320))
    assert sheet.shape[1] > 640
    with pytest.raises(ValueError, match="1 to 4"):
        draw_sheet([image] * 5, size=SheetSize(2, 2, 320))
