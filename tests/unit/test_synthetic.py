"""Artificial smears: exact truth, plausible cells, the same everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools.coco import COCO

from sphero_core.synthetic import SmearStyle, SyntheticField, draw_smear, random_style
from sphero_core.synthetic_case import write_synthetic_case
from sphero_core.synthetic_cells import Kind, draw_cell, make_outline
from sphero_core.types import Cell, CellClass


def draw(seed: int, **style: object) -> SyntheticField:
    return draw_smear(SmearStyle(**style), np.random.default_rng(seed))  # type: ignore[arg-type]


def density(field: SyntheticField) -> NDArray[np.float64]:
    """Green optical density against the style's background."""
    return np.asarray(-np.log(np.maximum(field.pixels[..., 1], 1) / field.style.background[1]))


def pixels_of(cell: Cell, image: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, width, height = cell.box
    return image[y : y + height, x : x + width][cell.mask]


def circularity(mask: NDArray[np.bool_]) -> float:
    contours, _ = cv2.findContours(np.pad(mask, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return float(4 * np.pi * cv2.contourArea(contours[0]) / cv2.arcLength(contours[0], True) ** 2)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_truth_is_exact_for_any_style(seed: int) -> None:
    rng = np.random.default_rng(seed)
    field = draw_smear(random_style(rng, width=240, height=180, platelets=3), rng)
    assert field.pixels.shape == (180, 240, 3)
    assert field.pixels.dtype == np.uint8
    whole = []
    for cell in field.cells:
        x, y, width, height = cell.box
        assert min(x, y, 240 - x - width, 180 - y - height) >= 0
        assert all(edge.any() for edge in (cell.mask[0], cell.mask[-1], cell.mask[:, 0], cell.mask[:, -1]))
        assert cell.touches_border == (x == 0 or y == 0 or x + width == 240 or y + height == 180)
        image = np.zeros((180, 240), np.uint8)
        image[y : y + height, x : x + width] = cell.mask
        whole.append(image)
    for index, cell in enumerate(field.cells):
        near = cv2.dilate(whole[index], np.ones((3, 3), np.uint8)) > 0
        others = [image[near].any() for other, image in enumerate(whole) if other != index]
        assert cell.overlaps == any(others)


def test_spherocytes_are_round_small_dense_and_without_pallor() -> None:
    field = draw(1, spherocyte_share=0.3, odd_share=0.0, overlap=0.0, pallor=0.4, noise=0.5, platelets=0, specks=0)
    dense = density(field)
    alone = [cell for cell in field.cells if not cell.touches_border and not cell.overlaps]
    spherocytes = [cell for cell in alone if cell.cell_class is CellClass.SPHEROCYTE]
    others = [cell for cell in alone if cell.cell_class is CellClass.RBC]
    assert len(spherocytes) >= 4
    assert len(others) >= 8
    usual_size = np.median([cell.mask.sum() for cell in others])
    usual_density = np.median([pixels_of(cell, dense).mean() for cell in others])
    for cell in spherocytes:
        assert circularity(cell.mask) > 0.88  # a digital disc of this size has about 0.9
        assert cell.mask.sum() < 0.85 * usual_size
        assert pixels_of(cell, dense).mean() > 1.15 * usual_density
        assert pallor(cell, dense) < 0.03
    assert np.median([pallor(cell, dense) for cell in others]) > 0.1


def pallor(cell: Cell, dense: NDArray[np.float64]) -> float:
    """Share of the rim's density that the centre lacks."""
    depth = cv2.distanceTransform(np.pad(cell.mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1][cell.mask]
    depth = depth / depth.max()
    values = pixels_of(cell, dense)
    return float(1 - values[depth > 0.8].mean() / values[(depth > 0.25) & (depth < 0.5)].mean())


def test_contracted_cells_are_dense_and_not_round_and_no_spherocytes() -> None:
    rng = np.random.default_rng(2)
    outlines = [make_outline(rng, Kind.CONTRACTED, 37.5) for _ in range(30)]
    patches = [draw_cell(rng, Kind.CONTRACTED, o, (100.0, 100.0), 37.5, pallor=0.4, halo=0.0) for o in outlines]
    assert Kind.CONTRACTED.cell_class is CellClass.RBC
    assert np.median([circularity(patch.mask) for patch in patches]) < 0.85
    assert np.median([patch.eosin[patch.mask].mean() for patch in patches]) > 1.05


def test_overlapping_cells_keep_full_masks_and_darken_each_other() -> None:
    field = draw(4, overlap=1.0, red_cells=40, odd_share=0.0, spherocyte_share=0.0, pallor=0.1, platelets=0, specks=0)
    layers = np.zeros(field.pixels.shape[:2], int)
    for cell in field.cells:
        x, y, width, height = cell.box
        layers[y : y + height, x : x + width] += cell.mask
    shared, single = layers >= 2, layers == 1
    assert shared.sum() > 500
    dense = density(field)
    assert dense[shared].mean() > 1.2 * dense[single].mean()
    assert dense[single].mean() > 0.1 > abs(dense[layers == 0].mean())


def test_the_shares_of_the_style_are_drawn() -> None:
    field = draw(6, width=1600, height=1200, spherocyte_share=0.2, red_cells=200, overlap=0.5, white_cells=3)
    red = [cell for cell in field.cells if cell.cell_class.is_red_cell]
    share = sum(cell.cell_class is CellClass.SPHEROCYTE for cell in red) / len(red)
    assert len(red) > 150
    assert 0.12 < share < 0.28
    assert sum(cell.cell_class is CellClass.WBC for cell in field.cells) == 3
    assert sum(cell.cell_class is CellClass.PLATELET for cell in field.cells) == 4


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match="exceed 1"):
        draw(0, spherocyte_share=0.7, odd_share=0.5)


DIGEST_PROGRAM = """
import hashlib, numpy as np
from sphero_core.synthetic import draw_smear, random_style
digest = hashlib.sha256()
for seed in range(3):
    rng = np.random.default_rng(seed)
    field = draw_smear(random_style(rng, white_cells=1, ghosts=1), rng)
    digest.update(field.pixels.tobytes())
    for cell in field.cells:
        digest.update(repr((cell.box, str(cell.cell_class))).encode() + cell.mask.tobytes())
print(digest.hexdigest())
"""


def test_a_seed_gives_the_same_field_whatever_the_processor_can_do() -> None:
    """Vector units change the last bits of exp, hypot or a filter; no pixel may notice."""

    def digest(**environment: str) -> str:
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DIGEST_PROGRAM],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return run.stdout

    plain = digest(NPY_DISABLE_CPU_FEATURES="AVX2 FMA3 AVX512F AVX512_SKX", OPENCV_CPU_DISABLE="AVX2,FMA3,AVX512-SKX")
    assert digest() == plain


def test_a_case_on_disk_is_the_same_for_the_same_seed_and_holds_its_truth(tmp_path: Path) -> None:
    first = write_synthetic_case(tmp_path / "a", 5, 3)
    again = write_synthetic_case(tmp_path / "b", 5, 3)
    other = write_synthetic_case(tmp_path / "c", 6, 3)
    assert [path.name for path in first.files] == ["field-01.png", "field-02.png", "field-03.png"]
    assert len({digest_of(path) for path in first.files}) == 3
    assert [digest_of(path) for path in first.files] == [digest_of(path) for path in again.files]
    assert not {digest_of(path) for path in first.files} & {digest_of(path) for path in other.files}
    for path, field in zip(first.files, first.fields, strict=True):
        assert np.array_equal(read_rgb(path), field.pixels)
    truth = COCO(str(first.truth))
    assert len(truth.getAnnIds()) == sum(len(field.cells) for field in first.fields)


def test_a_case_can_be_jpeg_with_its_truth_elsewhere(tmp_path: Path) -> None:
    case = write_synthetic_case(tmp_path / "case", 5, 1, suffix=".jpg", truth=tmp_path / "truth.json")
    assert [path.name for path in (tmp_path / "case").iterdir()] == ["field-01.jpg"]
    decoded = read_rgb(case.files[0]).astype(int)
    assert np.abs(decoded - case.fields[0].pixels).mean() < 4
    assert case.truth == tmp_path / "truth.json"
    with pytest.raises(ValueError, match=r"\.webp"):
        write_synthetic_case(tmp_path, 5, 1, suffix=".webp")


def read_rgb(path: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return pixels[..., ::-1].astype(np.uint8)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
