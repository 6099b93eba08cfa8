"""The measured red-cell diameter: on drawn discs, on synthetic smears, on real fields, and none where there is no smear."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sphero_core.image import read_image
from sphero_core.scale import case_cell_diameter, measure_cell_diameters
from sphero_core.synthetic import draw_smear, random_style

Pixels = NDArray[np.uint8]


def draw_discs(
    diameter: float, *, spacing: float = 1.25, light: float = 0.6, size: tuple[int, int] = (640, 480)
) -> Pixels:
    """Discs in rows, blurred and noisy like a picture; `spacing` 1 makes them touch."""
    width, height = size
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    inside = np.zeros((height, width))
    for cy in np.arange(diameter, height - diameter, diameter * spacing):
        for cx in np.arange(diameter, width - diameter, diameter * spacing):
            inside = np.maximum(inside, np.clip(diameter / 2 - np.hypot(x - cx, y - cy) + 0.5, 0, 1))
    grey = cv2.GaussianBlur(200 * (1 - (1 - light) * inside), (0, 0), 1.0) + rng.normal(0, 1.5, inside.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("diameter", [20, 30, 40, 75, 110])
def test_discs_are_measured_as_they_were_drawn(diameter: int) -> None:
    assert case_cell_diameter([measure_cell_diameters(draw_discs(diameter))]) == pytest.approx(
        diameter, rel=0.03, abs=1.0
    )


@pytest.mark.parametrize("diameter", [40, 75, 110])
def test_touching_discs_are_told_apart(diameter: int) -> None:
    pixels = draw_discs(diameter, spacing=1.0)
    assert case_cell_diameter([measure_cell_diameters(pixels)]) == pytest.approx(diameter, rel=0.03)


def test_small_cells_of_a_large_camera_are_seen_in_a_finer_copy() -> None:
    pixels = draw_discs(38, size=(2400, 300))
    assert case_cell_diameter([measure_cell_diameters(pixels)]) == pytest.approx(38, rel=0.03)


@pytest.mark.parametrize("size", [(320, 240), (1000, 750), (2400, 1800)])
def test_the_diameter_scales_with_the_picture(size: tuple[int, int]) -> None:
    pixels = draw_discs(75)
    scaled = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    expected = 75 * size[0] / 640
    assert case_cell_diameter([measure_cell_diameters(scaled)]) == pytest.approx(expected, rel=0.03)


def light_and_stain(pixels: Pixels) -> dict[str, NDArray[np.float64]]:
    image = pixels.astype(np.float64)
    y, x = np.mgrid[0:480, 0:640] / np.array([480, 640]).reshape(2, 1, 1) - 0.5
    noise = np.random.default_rng(1).normal(0, 8, image.shape)
    return {
        "brighter on one side": image * (0.8 + 0.6 * x)[:, :, None],
        "dark corners": image * (1 - 0.8 * (x * x + y * y))[:, :, None],
        "underexposed": image * 0.35,
        "pale": 255 - (255 - image) * 0.35,
        "noisy": image + noise,
        "out of focus": cv2.GaussianBlur(image, (0, 0), 3),
        "blue-grey background": image * np.array([0.45, 0.6, 0.7]),
    }


@pytest.mark.parametrize("change", sorted(light_and_stain(np.zeros((480, 640, 3), np.uint8))))
def test_light_and_stain_change_little(change: str) -> None:
    rng = np.random.default_rng(5)
    style = replace(random_style(rng), width=640, height=480, cell_diameter_px=60.0, red_cells=40, overlap=0.2)
    pixels = draw_smear(style, rng).pixels
    plain = case_cell_diameter([measure_cell_diameters(pixels)])
    changed = np.clip(light_and_stain(pixels)[change], 0, 255).astype(np.uint8)
    assert plain is not None
    assert case_cell_diameter([measure_cell_diameters(changed)]) == pytest.approx(plain, rel=0.05)


def test_synthetic_smears_are_measured_within_a_few_percent() -> None:
    rng = np.random.default_rng(11)
    errors = []
    for _ in range(12):
        style = random_style(rng)
        fields = [draw_smear(style, rng) for _ in range(2)]
        red = [c for f in fields for c in f.cells if c.cell_class.is_red_cell and not c.touches_border]
        truth = float(np.median([np.sqrt(4 * c.mask.sum() / np.pi) for c in red]))
        found = case_cell_diameter([measure_cell_diameters(field.pixels) for field in fields])
        errors.append(np.inf if found is None else abs(found / truth - 1))
    assert np.median(errors) < 0.03
    assert max(errors) < 0.12


def test_platelets_and_specks_do_not_outvote_the_cells() -> None:
    rng = np.random.default_rng(2)
    pixels = draw_discs(70, spacing=1.5)
    for _ in range(150):
        x, y = (int(v) for v in rng.integers(0, (640, 480)))
        cv2.circle(pixels, (x, y), int(rng.integers(4, 9)), (110, 110, 110), -1, cv2.LINE_AA)
    assert case_cell_diameter([measure_cell_diameters(pixels)]) == pytest.approx(70, rel=0.05)


def no_smears() -> dict[str, Pixels]:
    rng = np.random.default_rng(3)
    ramp = np.broadcast_to(np.linspace(60, 240, 640)[None, :, None], (480, 640, 3))
    return {
        "white": np.full((480, 640, 3), 235, np.uint8),
        "black": np.zeros((480, 640, 3), np.uint8),
        "noise": rng.integers(0, 256, (480, 640, 3), dtype=np.uint8),
        "faint noise": np.clip(rng.normal(220, 3, (480, 640, 3)), 0, 255).astype(np.uint8),
        "ramp": ramp.astype(np.uint8),
        "half black": np.repeat([np.zeros((640, 3)), np.full((640, 3), 230)], 240, axis=0).astype(np.uint8),
        "one pixel": np.full((1, 1, 3), 200, np.uint8),
        "a line": np.full((1, 900, 3), 200, np.uint8),
    }


@pytest.mark.parametrize("name", sorted(no_smears()))
def test_what_is_no_smear_has_no_scale(name: str) -> None:
    assert case_cell_diameter([measure_cell_diameters(no_smears()[name])]) is None


def test_a_case_needs_some_cells_of_one_kind() -> None:
    assert case_cell_diameter([]) is None
    assert case_cell_diameter([np.array([70.0, 71.0]), np.array([72.0, 73.0])]) is None
    assert case_cell_diameter([np.array([70.0, 71.0]), np.array([72.0, 73.0, 74.0])]) == 72.0
    assert case_cell_diameter([np.array([40.0, 42.0, 44.0, 70.0, 72.0, 90.0])]) is None


def test_barcelona_patients_are_measured_within_two_percent_of_each_other(shared_data: Path) -> None:
    """Boxes there are drawn about a tenth wider than the cells; that share must be the same for every patient."""
    folder = shared_data / "barcelona-hs"
    document = json.loads((folder / "annotations.coco.json").read_text(encoding="utf-8"))
    boxes: dict[int, list[float]] = defaultdict(list)
    for annotation in document["annotations"]:
        x, y, w, h = annotation["bbox"]
        if annotation["category_id"] in (2, 3) and min(x, y) > 3 and max(x + w, y + h) < 637:
            boxes[annotation["image_id"]].append(np.sqrt(w * h * 0.75))
    drawn, found = defaultdict(list), defaultdict(list)
    for entry in document["images"][::3]:
        pixels = read_image(folder / "images" / entry["file_name"], pixel_aspect=4 / 3).pixels
        if pixels.shape[1] != 640:
            pixels = np.asarray(cv2.resize(pixels, (640, 480), interpolation=cv2.INTER_AREA), np.uint8)
        drawn[entry["patient"]].extend(boxes[entry["id"]])
        found[entry["patient"]].append(measure_cell_diameters(pixels))
    ratios = [(case_cell_diameter(found[p]) or np.nan) / np.median(drawn[p]) for p in drawn]
    assert len(ratios) == 4
    assert np.array(ratios) == pytest.approx(np.full(4, 0.90), abs=0.02)


def test_chula_fields_all_have_a_scale(shared_data: Path) -> None:
    paths = sorted((shared_data / "chula-rbc12" / "images").glob("*.jpg"))[::6]
    diameters = [case_cell_diameter([measure_cell_diameters(read_image(path).pixels)]) for path in paths]
    assert None not in diameters
    assert all(28 < diameter < 52 for diameter in diameters if diameter)
