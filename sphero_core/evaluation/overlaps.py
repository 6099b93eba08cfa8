"""Cells that touch, and whether they are told apart; cells that stand alone, and how exact their masks are.

A pair touches where at most a pixel lies between the masks of two labelled red cells, as far as neither is cut by the field's edge.
It is separated if both cells are found: by two red-cell detections, one to one, each at an IoU of 0.5 or more. Masks made from boxes
end at the seam of a pair, so the overlap of real labels is that of boxes; drawn smears have whole masks, and it is that of masks.

A cell stands alone if it touches no labelled cell and no edge. Its pixel accuracy is the share of the pixels of its labelled box that
the label's mask and the detection's call alike, cell or no cell; a cell that is missed has no pixel called cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.masks import BoxMask
from sphero_core.evaluation.coco_truth import ImageTruth
from sphero_core.evaluation.detection import ImageDetections
from sphero_core.evaluation.matching import box_iou, mask_iou, match_one_to_one, shared_pixels

#: A box this close to the field's edge, in pixels, may be that of a cut cell.
EDGE_PX = 2.0


@dataclass(frozen=True, slots=True)
class Separation:
    """Pairs of one field that touch and how many of them are separated; pixels of cells alone and how many are called alike."""

    separated: int
    pairs: int
    alike: int
    pixels: int


def separation(truth: ImageTruth, found: ImageDetections) -> Separation:
    """How a field's touching cells are told apart, and how exact the masks of its separate cells are.

    Parameters
    ----------
    truth : ImageTruth
        With masks.
    found : ImageDetections
        What was called a red cell at the operating point, with masks.
    """
    red = np.array([c.is_red_cell for c in truth.classes], np.bool_)
    masks = [m for m, is_red in zip(truth.masks or (), red, strict=True) if is_red]
    boxes = truth.boxes[red]
    whole = ~cut_by_edge(boxes, (truth.foreground.shape[1], truth.foreground.shape[0]))
    pairs = [(i, j) for i, j in touching_pairs(masks) if whole[i] and whole[j]]
    touched = {index for pair in touching_pairs(masks) for index in pair}
    scores = found.probabilities[:, 0] + found.probabilities[:, 1]
    by_boxes = box_iou(found.boxes, boxes)
    taken = match_one_to_one(scores, by_boxes)
    for_pairs = match_one_to_one(scores, mask_iou(found.masks or (), masks)) if truth.masks_are_labelled else taken
    seen = set(for_pairs[for_pairs >= 0].tolist())
    of_cell = {int(cell): index for index, cell in enumerate(taken) if cell >= 0}
    alike, pixels = 0, 0
    for index, mask in enumerate(masks):
        if whole[index] and index not in touched:
            detection = (found.masks or ())[of_cell[index]] if index in of_cell else None
            same, all_pixels = pixels_alike(mask, detection, boxes[index], truth.foreground.shape)
            alike, pixels = alike + same, pixels + all_pixels
    return Separation(sum(i in seen and j in seen for i, j in pairs), len(pairs), alike, pixels)


def cut_by_edge(boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes ``x, y, width, height`` reach the edge of a field of ``width, height``: shape (n,)."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    return np.asarray(np.any((low <= EDGE_PX) | (high >= np.array(size) - EDGE_PX), axis=1), np.bool_)


def touching_pairs(masks: list[BoxMask]) -> list[tuple[int, int]]:
    """Indices of masks between which at most a pixel lies."""
    kernel = np.ones((3, 3), np.uint8)
    grown = [
        BoxMask(m.x - 1, m.y - 1, cv2.dilate(np.pad(m.mask.astype(np.uint8), 1), kernel).astype(np.bool_))
        for m in masks
    ]
    return [
        (i, j) for i in range(len(grown)) for j in range(i + 1, len(grown)) if shared_pixels(grown[i], grown[j]) > 0
    ]


def pixels_alike(
    label: BoxMask, detection: BoxMask | None, box: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[int, int]:
    """Pixels of a box that both masks call alike, and all its pixels.

    Parameters
    ----------
    label : BoxMask
    detection : BoxMask or None
        None for a missed cell.
    box : ndarray of float, shape (4,)
        ``x, y, width, height``.
    shape : tuple of int
        Height and width of the field.
    """
    low = np.maximum(np.floor(box[:2]), 0).astype(int)
    high = np.minimum(np.ceil(box[:2] + box[2:]), np.array(shape[1::-1])).astype(int)
    window = np.zeros((max(high[1] - low[1], 0), max(high[0] - low[0], 0)), np.bool_)
    of_label, of_detection = window.copy(), window.copy()
    _draw(label, of_label, low)
    if detection is not None:
        _draw(detection, of_detection, low)
    return int(np.count_nonzero(of_label == of_detection)), window.size


def _draw(mask: BoxMask, window: NDArray[np.bool_], low: NDArray[np.int_]) -> None:
    x, y = mask.x - int(low[0]), mask.y - int(low[1])
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + mask.mask.shape[1], window.shape[1]), min(y + mask.mask.shape[0], window.shape[0])
    if x1 > x0 and y1 > y0:
        window[y0:y1, x0:x1] |= mask.mask[y0 - y : y1 - y, x0 - x : x1 - x]
