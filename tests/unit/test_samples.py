"""Training samples: an outline stays on its cell whatever is done to the picture."""

from __future__ import annotations

from dataclasses import asdict

import cv2
import numpy as np
import pytest

pytest.importorskip("official", reason="the training extra is not installed")

from sphero_core.datasets.masks import outline_of
from sphero_core.synthetic import draw_smear, random_style
from sphero_core.training.config import AugmentationConfig
from sphero_core.training.samples import Augmenter, TrainingField, endless, prepare_synthetic

HEIGHT, WIDTH, CROP = 384, 512, 56


def _augmenter() -> Augmenter:
    return Augmenter(HEIGHT, WIDTH, CROP, asdict(AugmentationConfig()))


def _discs(rng: np.random.Generator) -> TrainingField:
    """Dark discs of known places on a light ground."""
    pixels = np.full((400, 560, 3), 215, np.uint8)
    outlines = []
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    for cy in (70, 200, 330):
        for cx in (80, 210, 340, 470):
            centre = np.array([cx, cy]) + rng.uniform(-8, 8, 2)
            cv2.circle(pixels, (round(centre[0]), round(centre[1])), 28, (120, 60, 90), -1)
            points = np.round(centre) + 0.5 + 28.5 * np.column_stack([np.cos(angles), np.sin(angles)])
            outlines.append(points.astype(np.float32))
    return TrainingField(pixels, tuple(outlines), np.ones(12, np.int32), np.array([215, 215, 215], np.float32))


def test_boxes_and_masks_follow_the_cells() -> None:
    rng = np.random.default_rng(3)
    field, augmenter = _discs(rng), _augmenter()
    for _ in range(25):
        sample = augmenter.sample(field, rng)
        green = sample.pixels[:, :, 1].astype(float)
        for (y0, x0, y1, x1), mask in zip(sample.boxes, sample.masks, strict=True):
            if min(y0, x0) < 2 or y1 > HEIGHT - 2 or x1 > WIDTH - 2 or min(y1 - y0, x1 - x0) < 25:
                continue
            top, left, bottom, right = round(y0), round(x0), round(y1), round(x1)
            inside = cv2.resize(mask, (right - left, bottom - top)) > 0.5
            patch = green[top:bottom, left:right]
            # A disc fills pi / 4 of its box, and what the mask covers is the dark part.
            assert inside.mean() == pytest.approx(np.pi / 4, abs=0.06)
            assert patch[inside].mean() < patch[~inside].mean() - 15


def test_the_same_seed_gives_the_same_samples() -> None:
    field, weights = _discs(np.random.default_rng(1)), np.ones(1)
    first, second = (endless([field], weights, _augmenter(), 7) for _ in range(2))
    for _ in range(3):
        one, other = next(first), next(second)
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.boxes, other.boxes)


def test_an_outline_encloses_the_pixels_of_its_mask() -> None:
    mask = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (31, 41)).astype(bool)
    outline = outline_of(mask, 10, 20)
    assert cv2.contourArea(outline.astype(np.float32)) == pytest.approx(mask.sum(), rel=0.05)
    assert outline.min(axis=0) == pytest.approx([10, 20], abs=0.6)
    assert outline.max(axis=0) == pytest.approx([41, 61], abs=0.6)


def test_synthetic_truth_comes_through_at_the_networks_scale() -> None:
    rng = np.random.default_rng(5)
    drawn = draw_smear(random_style(rng), rng)
    field = prepare_synthetic(drawn, scale=0.5)
    assert len(field.outlines) == len(drawn.cells) == len(field.classes)
    for outline, cell in zip(field.outlines, drawn.cells, strict=True):
        assert outline.mean(axis=0)[0] == pytest.approx(0.5 * (cell.x + cell.mask.shape[1] / 2), abs=6)
