"""A whole evaluation, from files to figures, with a network that sees drawn discs without error."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sphero_core.bundle import InputSpec, Thresholds
from sphero_core.datasets.coco import LabelledImage
from sphero_core.detector import Candidates, Detector
from sphero_core.errors import DatasetError
from sphero_core.evaluation.run import Run, evaluate_labelled, evaluate_pointed, field_diameters, read_point_folder
from sphero_core.types import CellClass

ASPECT = 4 / 3
CENTRES = [(x, y) for y in range(50, 440, 75) for x in range(50, 600, 75)]


def sees_dark_discs(image: NDArray[np.uint8]) -> Candidates:
    """Each dark piece is a cell, a very dark one a spherocyte; one candidate of low score lies on the clear smear."""
    _, labels, places, _ = cv2.connectedComponentsWithStats((image[:, :, 1] < 180).astype(np.uint8))
    stats = np.asarray(places, np.int64)
    boxes, probabilities = [[2.0, 2.0, 30.0, 30.0]], [[0.2, 0.0, 0.0, 0.0]]
    for label, (x, y, w, h, area) in enumerate(stats):
        if label and area > 30:
            boxes.append([y, x, y + h, x + w])
            dense = image[:, :, 1][labels == label].mean() < 85
            probabilities.append([0.1, 0.85, 0.0, 0.0] if dense else [0.9, 0.05, 0.0, 0.0])
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (28, 28)).astype(np.float32)
    n = len(boxes)
    return Candidates(np.array(boxes, np.float32), np.array(probabilities, np.float32), np.tile(disc, (n, 1, 1)))


DETECTOR = Detector(sees_dark_discs, InputSpec(384, 512, 48.0), Thresholds(0.5, 0.4, 0.5, 0.5))


def run() -> Run:
    """Each look at the clock is a second later."""
    seconds = count()
    return Run(DETECTOR, pixel_aspect=ASPECT, clock=lambda: float(next(seconds)))


def write_field(path: Path, *, spherocyte_every: int = 6) -> list[CellClass]:
    """Discs of 48 pixels in a field of 640 x 480 that is stored as 640 x 640."""
    pixels = np.full((480, 640, 3), 215, np.uint8)
    classes = []
    for index, centre in enumerate(CENTRES):
        spherocyte = index % spherocyte_every == 0
        cv2.circle(pixels, centre, 24, (50, 50, 50) if spherocyte else (120, 120, 120), -1)
        classes.append(CellClass.SPHEROCYTE if spherocyte else CellClass.RBC)
    cv2.imwrite(str(path), cv2.resize(pixels, (640, 640), interpolation=cv2.INTER_LINEAR))
    return classes


def labelled(path: Path, classes: list[CellClass], group: str = "") -> LabelledImage:
    boxes = np.array([[x - 24.5, (y - 24.5) * ASPECT, 49, 49 * ASPECT] for x, y in CENTRES])
    return LabelledImage(path, path.name, group, 640, 640, boxes, tuple(classes), ((),) * len(classes))


def test_labelled_boxes_of_stretched_images(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    figures = evaluate_labelled(run(), [labelled(path, write_field(path))])
    for name in ("red_cells", "RBC", "Spherocyte"):
        assert figures["box"][name]["AP50"] == pytest.approx(1.0)
        assert figures["box"][name]["AP"] > 0.85
        assert figures["mask_from_boxes"][name]["AP"] > 0.85
        assert figures["operating_point"][name]["f1"] == 1.0
    assert figures["count_error"] == {"red_cells": 0.0, "spherocyte_percent": pytest.approx(0.0)}
    assert figures["images"] == 1
    assert figures["seconds_per_image"] == 1.0


def test_labelled_points_of_stretched_images(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for name in ("7", "8"):
        classes = write_field(images / f"{name}.png")
        lines = [
            f"{x} {y * ASPECT:.0f} {3 if c == 'Spherocyte' else 0}" for (x, y), c in zip(CENTRES, classes, strict=True)
        ]
        (labels / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    figures = evaluate_pointed(run(), read_point_folder(images, labels))
    assert figures["recall"] == {"all": 1.0, "RBC": 1.0, "Spherocyte": 1.0}
    assert figures["spherocyte"]["f1"] == 1.0
    assert figures["false_spherocyte_share"] == 0.0
    assert (figures["points"], figures["images"]) == (2 * len(CENTRES), 2)


def test_label_files_and_images_must_pair(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no \.txt file"):
        read_point_folder(tmp_path, tmp_path)
    (tmp_path / "1.txt").write_text("1 2 3\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"1\.txt the first"):
        read_point_folder(tmp_path, tmp_path)


def test_the_scale_is_that_of_the_group_or_of_the_field(tmp_path: Path) -> None:
    large, small, blank = tmp_path / "large.png", tmp_path / "small.png", tmp_path / "blank.png"
    write_field(large)
    half = cv2.resize(np.asarray(cv2.imread(str(large))), (320, 320), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(small), half)
    cv2.imwrite(str(blank), np.full((480, 640, 3), 215, np.uint8))
    alone = field_diameters([large, small, blank], ["", "", ""], ASPECT)
    assert alone[:2] == pytest.approx([48, 24], rel=0.05)
    assert 24 * 0.95 < alone[2] < 48 * 1.05
    assert field_diameters([large, small, blank], ["a", "b", "a"], ASPECT) == pytest.approx([48, 24, 48], rel=0.05)


def test_what_cannot_be_evaluated_is_told(tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((480, 640, 3), 215, np.uint8))
    with pytest.raises(DatasetError, match="no red cell"):
        evaluate_labelled(run(), [labelled(blank, [CellClass.RBC] * len(CENTRES))])
    with pytest.raises(DatasetError, match="no labelled image"):
        evaluate_labelled(run(), [])
