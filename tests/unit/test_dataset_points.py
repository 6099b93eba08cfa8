"""Masks grown from points, and what is ignored, held against synthetic smears whose truth is exact."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.growing import grow_masks
from sphero_core.datasets.ignored import with_ignored
from sphero_core.datasets.masks import BoxMask
from sphero_core.datasets.points import grow_labels, merge_labels, read_grown, read_pointed
from sphero_core.errors import DatasetError
from sphero_core.evaluation.coco_truth import mask_of_polygons
from sphero_core.evaluation.points import LabelledPoints
from sphero_core.synthetic import SyntheticField, draw_smear, random_style
from sphero_core.types import Cell, CellClass


def _smears(count: int) -> list[SyntheticField]:
    drawn = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        drawn.append(draw_smear(random_style(rng), rng))
    return drawn


def _centre(cell: Cell) -> tuple[float, float]:
    rows, columns = np.nonzero(cell.mask)
    return cell.x + float(columns.mean()) + 0.5, cell.y + float(rows.mean()) + 0.5


def _whole(part: BoxMask | Cell, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    whole = np.zeros(shape[:2], np.bool_)
    whole[part.y : part.y + part.mask.shape[0], part.x : part.x + part.mask.shape[1]] = part.mask
    return whole


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def _write_points(path: Path, lines: list[tuple[float, float, int]]) -> None:
    path.write_text("".join(f"{x:.0f} {y:.0f} {label}\n" for x, y, label in lines), encoding="utf-8")


def test_masks_follow_separate_cells_though_half_of_them_have_no_point() -> None:
    overlaps, lost = [], 0
    for smear in _smears(6):
        cells = [c for c in smear.cells if c.cell_class.is_red_cell and not c.touches_border][::2]
        grown = grow_masks(smear.pixels, np.array([_centre(c) for c in cells]))
        for cell, mask in zip(cells, grown.masks, strict=True):
            if cell.overlaps:
                continue
            lost += mask is None
            if mask is not None:
                overlaps.append(_iou(_whole(mask, smear.pixels.shape), _whole(cell, smear.pixels.shape)))
    assert len(overlaps) > 60
    assert lost < 0.05 * len(overlaps)
    assert np.median(overlaps) > 0.93
    assert np.quantile(overlaps, 0.05) > 0.8


def test_a_cell_without_a_point_is_ignored_and_not_swallowed() -> None:
    found, cells = 0, 0
    swallowed = []
    for smear in _smears(6):
        red = [c for c in smear.cells if c.cell_class.is_red_cell and not c.touches_border]
        pointed, others = red[::2], red[1::2]
        grown = grow_masks(smear.pixels, np.array([_centre(c) for c in pointed]))
        shape = smear.pixels.shape
        unclaimed = np.any([_whole(m, shape) for m in grown.unclaimed], axis=0)
        claimed = np.any([_whole(m, shape) for m in grown.masks if m is not None], axis=0)
        for cell in others:
            whole = _whole(cell, shape)
            cells += 1
            found += float(unclaimed[whole].mean()) > 0.5
            if not cell.overlaps:
                swallowed.append(float(claimed[whole].mean()))
    assert cells > 80
    assert found > 0.9 * cells
    assert max(swallowed) < 0.05


def test_masks_of_large_cells_follow_them_too() -> None:
    """Large cells are parted in a reduced copy; what grows is as fine as the image all the same."""
    overlaps = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        smear = draw_smear(random_style(rng, width=1600, height=1200, cell_diameter_px=180.0), rng)
        cells = [c for c in smear.cells if c.cell_class.is_red_cell and not c.touches_border and not c.overlaps]
        grown = grow_masks(smear.pixels, np.array([_centre(c) for c in cells]))
        overlaps += [
            0.0 if mask is None else _iou(_whole(mask, smear.pixels.shape), _whole(cell, smear.pixels.shape))
            for cell, mask in zip(cells, grown.masks, strict=True)
        ]
    assert len(overlaps) > 20
    assert np.median(overlaps) > 0.95


def test_a_pointer_drawn_into_the_image_leaves_the_cells_about_it_alone() -> None:
    (smear,) = _smears(1)
    pixels = smear.pixels.copy()
    cells = [c for c in smear.cells if c.cell_class.is_red_cell and not c.touches_border and not c.overlaps]
    y = int(_centre(cells[0])[1])
    right = cells[0].x + cells[0].mask.shape[1]
    pixels[y - 4 : y + 4, right + 2 : right + 30] = (255, 255, 0)
    places = np.array([_centre(c) for c in cells])
    for plain, marked in zip(grow_masks(smear.pixels, places).masks, grow_masks(pixels, places).masks, strict=True):
        assert plain is not None
        assert marked is not None
        assert _iou(_whole(plain, pixels.shape), _whole(marked, pixels.shape)) > 0.93


def _rings(gap: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A target cell whose rim has a gap of so many pixels, twelve plain discs about it, and the middle of each."""
    pixels = np.full((300, 400, 3), 210, np.uint8)
    centres = [(60 + 90 * column, 50 + 95 * row) for row in range(3) for column in range(4)]
    for place in centres:
        cv2.circle(pixels, place, 22, (190, 130, 160), cv2.FILLED, cv2.LINE_AA)
    x, y = centres[5]
    cv2.circle(pixels, (x, y), 17, (210, 210, 210), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(pixels, (x, y), 7, (190, 130, 160), cv2.FILLED, cv2.LINE_AA)
    pixels[y - gap // 2 : y - gap // 2 + gap, x + 7 : x + 30] = 210
    return pixels, np.array(centres, float) + 0.5


def test_a_pale_cell_is_whole_though_its_rim_has_a_small_break() -> None:
    for gap in (0, 3):
        pixels, places = _rings(gap)
        mask = grow_masks(pixels, places).masks[5]
        assert mask is not None
        assert mask.mask.sum() > 0.9 * np.pi * 22**2


def test_the_dark_middle_of_a_cell_whose_rim_stands_apart_is_no_cell() -> None:
    pixels, places = _rings(14)
    grown = grow_masks(pixels, places)
    assert grown.masks[5] is None
    assert sum(mask is not None for mask in grown.masks) == 11
    x, y = (int(v) for v in places[5])
    assert any(_whole(piece, pixels.shape)[y, x] for piece in grown.unclaimed)


def test_a_point_on_background_is_ignored() -> None:
    (smear,) = _smears(1)
    cells = [c for c in smear.cells if not c.touches_border and not c.overlaps]
    taken = np.any([_whole(c, smear.pixels.shape) for c in smear.cells], axis=0)
    far = np.argwhere(~taken)
    away = np.min([np.linalg.norm(far[:, ::-1] - _centre(c), axis=1) for c in smear.cells], axis=0)
    place = far[away.argmax()][::-1] + 0.5
    grown = grow_masks(smear.pixels, np.array([place, _centre(cells[0])]))
    assert grown.masks[0] is None
    assert grown.masks[1] is not None
    x, y = (int(v) for v in place)
    assert any(_whole(m, smear.pixels.shape)[y, x] for m in grown.unclaimed)


def test_no_point_at_all_leaves_everything_ignored() -> None:
    (smear,) = _smears(1)
    grown = grow_masks(smear.pixels, np.empty((0, 2)))
    assert grown.masks == ()
    unclaimed = np.any([_whole(m, smear.pixels.shape) for m in grown.unclaimed], axis=0)
    red = [c for c in smear.cells if c.cell_class.is_red_cell]
    assert np.mean([unclaimed[_whole(c, smear.pixels.shape)].mean() > 0.8 for c in red]) > 0.95


@pytest.mark.parametrize("aspect", [1.0, 4 / 3])
def test_grown_labels_are_in_stored_pixels(tmp_path: Path, aspect: float) -> None:
    (smear,) = _smears(1)
    height, width = smear.pixels.shape[:2]
    stored = round(height * aspect)
    Image.fromarray(smear.pixels).resize((width, stored)).save(tmp_path / "12.png")
    cells = [c for c in smear.cells if c.cell_class.is_red_cell and not c.touches_border and not c.overlaps]
    _write_points(
        tmp_path / "12.txt",
        [(x, y * aspect, 3 if c.cell_class is CellClass.SPHEROCYTE else 0) for c in cells for x, y in [_centre(c)]],
    )
    (image,) = [grow_labels(p, pixel_aspect=aspect) for p in read_pointed(tmp_path, tmp_path)]
    assert (image.width, image.height, image.group, image.name) == (width, stored, "block_001", "12.png")
    assert len(image.boxes) == len(image.classes) == len(image.polygons) > 0.9 * len(cells)
    assert set(image.classes) <= {CellClass.RBC, CellClass.SPHEROCYTE}
    assert image.ignored
    drawn = [mask_of_polygons([p / (1, aspect) for p in of_cell], width, height) for of_cell in image.polygons]
    best = [max(_iou(_whole(m, (height, width)), _whole(c, (height, width))) for c in cells) for m in drawn]
    assert np.median(best) > 0.93


def test_twins_are_one_image_and_their_blocks_one_group(tmp_path: Path) -> None:
    for number, colour in ((5, 9), (12, 50), (31, 50), (38, 70), (47, 70), (60, 80)):
        Image.new("RGB", (40, 30), (colour, colour, colour)).save(tmp_path / f"{number}.png")
        _write_points(tmp_path / f"{number}.txt", [(10, 10, 0)])
    images = read_pointed(tmp_path, tmp_path)
    assert [(image.path.name, image.twins, image.group) for image in images] == [
        ("5.png", (), "block_000"),
        ("12.png", ("31.png",), "block_001"),
        ("38.png", ("47.png",), "block_001"),
        ("60.png", (), "block_006"),
    ]


def test_labels_that_contradict_each_other_are_ignored() -> None:
    one = LabelledPoints(np.array([[10.0, 10], [50, 10], [90, 10]]), (CellClass.RBC, CellClass.RBC, CellClass.RBC))
    two = LabelledPoints(
        np.array([[53.0, 12], [12, 9], [90, 50]]), (CellClass.SPHEROCYTE, CellClass.RBC, CellClass.RBC)
    )
    places, classes = merge_labels([one, two], diameter=20)
    assert classes == (CellClass.RBC, None, CellClass.RBC, CellClass.RBC)
    assert places.tolist() == [[10, 10], [50, 10], [90, 10], [90, 50]]


def test_a_cell_that_twins_contradict_on_is_an_ignored_region(tmp_path: Path) -> None:
    (smear,) = _smears(1)
    cell, other = [c for c in smear.cells if c.cell_class.is_red_cell and not c.touches_border and not c.overlaps][:2]
    for name, label in (("1", 0), ("2", 3)):
        Image.fromarray(smear.pixels).save(tmp_path / f"{name}.png")
        _write_points(tmp_path / f"{name}.txt", [(*_centre(cell), label), (*_centre(other), 0)])
    (image,) = read_grown(tmp_path, tmp_path)
    assert image.classes == (CellClass.RBC,)
    height, width = smear.pixels.shape[:2]
    regions = [_whole(mask_of_polygons([p], width, height), (height, width)) for p in image.ignored]
    assert max(_iou(region, _whole(cell, (height, width))) for region in regions) > 0.85


def test_a_label_file_without_its_image_is_named(tmp_path: Path) -> None:
    _write_points(tmp_path / "7.txt", [(1, 1, 0)])
    with pytest.raises(DatasetError, match=r"7\.txt"):
        read_pointed(tmp_path, tmp_path)
    (tmp_path / "7.txt").unlink()
    with pytest.raises(DatasetError, match=r"no \.txt file"):
        read_pointed(tmp_path, tmp_path)


def test_a_cell_without_a_box_is_ignored_and_one_with_a_box_is_not() -> None:
    found, cells, wrong, labelled = 0, 0, 0, 0
    for smear in _smears(6):
        red = [c for c in smear.cells if c.cell_class.is_red_cell]
        boxed, others = red[::2], red[1::2]
        image = LabelledImage(
            path=Path("a.png"),
            name="a.png",
            group="",
            width=smear.style.width,
            height=smear.style.height,
            boxes=np.array([c.box for c in boxed], float),
            classes=tuple(c.cell_class for c in boxed),
            polygons=((),) * len(boxed),
        )
        outlines = with_ignored(image, smear.image).ignored
        shape = smear.pixels.shape
        regions = [_whole(mask_of_polygons([p], shape[1], shape[0]), shape) for p in outlines]
        ignored = np.any(regions, axis=0)
        lone = [c for c in others if not c.overlaps]
        cells += len(lone)
        found += sum(float(ignored[_whole(c, shape)].mean()) > 0.8 for c in lone)
        labelled += len(boxed)
        wrong += sum(float(ignored[_whole(c, shape)].mean()) > 0.3 for c in boxed if not c.overlaps)
    assert cells > 60
    assert found > 0.95 * cells
    assert wrong < 0.02 * labelled
