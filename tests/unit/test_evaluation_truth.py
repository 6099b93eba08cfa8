"""Labels brought to the field's coordinates: masks that were drawn, masks made from boxes, stretched images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sphero_core.datasets.coco import LabelledImage
from sphero_core.evaluation.coco_truth import mask_of_polygons, truth_of
from sphero_core.types import CellClass, FieldImage


def smear_with_a_cell() -> FieldImage:
    """A dark disc of 30 pixels about (40, 30), in a field that was stored a third too tall."""
    y, x = np.mgrid[0:60, 0:80] + 0.5
    grey = np.where(np.hypot(x - 40, y - 30) < 15, 120, 220).astype(np.uint8)
    return FieldImage(np.repeat(grey[:, :, None], 3, axis=2), stored_width=80, stored_height=80, pixel_aspect=4 / 3)


def label(polygons: tuple[tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], ...], ...]) -> LabelledImage:
    boxes = np.array([[24.0, 19.0, 32.0, 42.0]])
    return LabelledImage(Path("1.png"), "1.png", "", 80, 80, boxes, (CellClass.RBC,), polygons)


def test_boxes_are_unstretched_and_get_masks_from_the_picture() -> None:
    truth = truth_of(label(((),)), smear_with_a_cell())
    assert truth.boxes[0] == pytest.approx([24.0, 14.25, 32.0, 31.5])
    assert not truth.masks_are_labelled
    assert truth.masks is not None
    assert truth.masks[0].mask.sum() == pytest.approx(np.pi * 15**2, rel=0.08)
    assert truth.foreground[30, 40]
    assert not truth.foreground[5, 5]


def test_drawn_masks_are_unstretched_and_taken() -> None:
    diamond = np.array([[40.0, 20.0], [55.0, 40.0], [40.0, 60.0], [25.0, 40.0]])
    truth = truth_of(label(((diamond,),)), smear_with_a_cell())
    assert truth.masks_are_labelled
    assert truth.masks is not None
    assert truth.masks[0].mask.sum() == pytest.approx(30 * 30 / 2, rel=0.08)
    assert truth.masks[0].y == 15


def test_an_image_without_a_label_has_no_masks_to_compare_with() -> None:
    empty = LabelledImage(Path("1.png"), "1.png", "", 80, 80, np.empty((0, 4)), (), ())
    truth = truth_of(empty, smear_with_a_cell())
    assert truth.masks == ()
    assert truth.boxes.shape == (0, 4)


def test_a_polygon_holds_the_pixels_whose_centres_it_holds() -> None:
    square = np.array([[2.0, 3.0], [7.0, 3.0], [7.0, 9.0], [2.0, 9.0]])
    mask = mask_of_polygons([square], 20, 20)
    assert (mask.x, mask.y) == (2, 3)
    assert mask.mask.shape == (6, 5)
    assert mask.mask.mean() > 0.9


def test_parts_of_a_cell_are_joined_and_what_leaves_the_field_is_cut() -> None:
    left = np.array([[-5.0, 0.0], [5.0, 0.0], [5.0, 10.0], [-5.0, 10.0]])
    mask = mask_of_polygons([left, left + np.array([10.0, 0.0])], 12, 12)
    assert (mask.x, mask.y) == (0, 0)
    assert mask.mask.shape == (10, 12)
    assert mask.mask[:, [2, 8]].mean() > 0.9
