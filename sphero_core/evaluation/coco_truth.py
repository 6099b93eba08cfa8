"""Labelled cells of one image, in the coordinates of the field in true proportion.

Figures of masks need masks to compare with. Labels that have none get them from box and image (`sphero_core.datasets.masks`);
figures against those are named so, since both sides then rest on the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon as draw_polygon

from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.masks import BoxMask, foreground, masks_from_boxes
from sphero_core.types import CellClass, FieldImage


@dataclass(frozen=True, slots=True, eq=False)
class ImageTruth:
    """What is labelled in one image.

    Attributes
    ----------
    boxes : ndarray of float, shape (n, 4)
        ``x, y, width, height`` in pixels of the field in true proportion.
    classes : tuple of CellClass, length n
    foreground : ndarray of bool, shape (height, width)
        Every pixel that belongs to some cell, labelled or not, by classical segmentation.
    masks : tuple of BoxMask, length n, or None
        None where only boxes are known.
    masks_are_labelled : bool
        Whether the masks were drawn by a person and not made from the boxes.
    """

    boxes: NDArray[np.float64]
    classes: tuple[CellClass, ...]
    foreground: NDArray[np.bool_]
    masks: tuple[BoxMask, ...] | None = None
    masks_are_labelled: bool = False


def truth_of(label: LabelledImage, field: FieldImage) -> ImageTruth:
    """The labels of an image in the coordinates of its field, with masks.

    Parameters
    ----------
    label : LabelledImage
        In stored pixels.
    field : FieldImage
        The same image, read and brought to true proportion.

    Returns
    -------
    ImageTruth
        With the labelled masks where every cell has one, else with masks made from the boxes.
    """
    to_stored = np.array([label.width / field.width, label.height / field.height])
    boxes = label.boxes / np.tile(to_stored, 2)
    complete = bool(label.polygons) and all(label.polygons)
    if complete:
        polygons = [[points / to_stored for points in of_cell] for of_cell in label.polygons]
        masks = tuple(mask_of_polygons(of_cell, field.width, field.height) for of_cell in polygons)
    else:
        masks = tuple(masks_from_boxes(field.pixels, boxes))
    return ImageTruth(boxes, label.classes, foreground(field.pixels), masks, complete and not label.made)


def mask_of_polygons(polygons: Sequence[NDArray[np.float64]], width: int, height: int) -> BoxMask:
    """The pixels whose centres lie in any of the polygons.

    Parameters
    ----------
    polygons : sequence of ndarray of float, each of shape (k, 2)
        ``x, y`` in pixels; pixel (0, 0) reaches from 0 to 1.
    width, height : int
        Of the field; what lies outside is cut off.
    """
    points = np.concatenate(list(polygons))
    left, top = (int(v) for v in np.clip(np.floor(points.min(axis=0)), 0, (width - 1, height - 1)))
    right, bottom = (int(v) for v in np.clip(np.ceil(points.max(axis=0)), (left + 1, top + 1), (width, height)))
    # A cell that another lies over may be drawn in several parts.
    mask = np.zeros((bottom - top, right - left), np.bool_)
    for x, y in ((polygon - (left, top) - 0.5).T for polygon in polygons):
        mask[draw_polygon(y, x, mask.shape)] = True
    return BoxMask(left, top, mask)
