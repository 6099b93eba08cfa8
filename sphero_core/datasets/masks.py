"""Masks from boxes: what a box-only annotation and its image tell about a cell's outline.

The method: the smear's foreground is what is darker than the background in the green channel (haemoglobin absorbs green);
holes are filled, since central pallor may be as light as the background; each foreground pixel belongs to the box whose
inscribed ellipse it lies deepest in. On separate cells the result follows the outline; on overlapping cells it cuts at the
seam.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

#: How far the threshold moves from Otsu's value towards the background (0: Otsu, 1: background).
TOWARDS_BACKGROUND = 0.35
#: Farthest a pixel may lie outside the inscribed ellipse of its box, as a normalised radius squared.
ELLIPSE_REACH = 1.35


@dataclass(frozen=True, slots=True, eq=False)
class BoxMask:
    """A cell's mask, cropped.

    Attributes
    ----------
    x, y : int
        Upper left corner of the crop in the image, in pixels.
    mask : ndarray of bool, shape (height, width)
    """

    x: int
    y: int
    mask: NDArray[np.bool_]


def foreground(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Every pixel that belongs to a cell, pallor included; so is background that touching cells enclose.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)

    Returns
    -------
    ndarray of bool, shape (height, width)
    """
    return _fill_holes(stained(rgb))


def stained(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is darker than the background, as 0 and 1; a pale centre is a hole in it. Parameters as of `foreground`."""
    green = cv2.GaussianBlur(rgb[:, :, 1], (0, 0), 1.0)
    # The illumination is flattened first: the background is the bright envelope of the image.
    small = np.asarray(cv2.resize(green, (64, 48), interpolation=cv2.INTER_AREA), np.uint8)
    # A pointer or a caption that someone drew into the image is brighter than any background, but small.
    small = np.minimum(small, np.uint8(np.quantile(small, 0.98)))
    envelope = cv2.GaussianBlur(cv2.dilate(small, np.ones((9, 9), np.uint8)), (0, 0), 6.0)
    background = cv2.resize(envelope, (green.shape[1], green.shape[0]), interpolation=cv2.INTER_CUBIC)
    flat = np.clip(green.astype(np.float32) / np.maximum(background.astype(np.float32), 1.0) * 200.0, 0, 255)
    flat8 = flat.astype(np.uint8)
    otsu, _ = cv2.threshold(flat8, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bright = float(np.median(flat8[flat8 > otsu])) if np.any(flat8 > otsu) else 255.0
    level = otsu + TOWARDS_BACKGROUND * (bright - otsu)
    dark = (flat8 < level).astype(np.uint8)
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    return np.asarray(dark, np.uint8)


def masks_from_boxes(rgb: NDArray[np.uint8], boxes: NDArray[np.float64]) -> list[BoxMask]:
    """A mask for each box.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The image in true proportion.
    boxes : ndarray of float, shape (n, 4)
        ``x, y, width, height`` in pixels of that image.

    Returns
    -------
    list of BoxMask
        One for each box, in order. A box without foreground gets its inscribed ellipse.
    """
    dark = foreground(rgb)
    height, width = dark.shape
    deepest = np.full((height, width), np.inf, np.float32)
    owner = np.full((height, width), -1, np.int32)
    windows: list[tuple[int, int, int, int]] = []
    for index, box in enumerate(boxes):
        x0, y0, x1, y1 = _window(box, width, height)
        windows.append((x0, y0, x1, y1))
        depth = _ellipse_depth(box, x0, y0, x1, y1)
        closer = depth < deepest[y0:y1, x0:x1]
        deepest[y0:y1, x0:x1][closer] = depth[closer]
        owner[y0:y1, x0:x1][closer] = index
    inside = dark & (deepest <= ELLIPSE_REACH)
    return [
        BoxMask(
            x0, y0, _main_part(inside[y0:y1, x0:x1] & (owner[y0:y1, x0:x1] == index), boxes[index], x0, y0, dark.shape)
        )
        for index, (x0, y0, x1, y1) in enumerate(windows)
    ]


def outline_of(mask: NDArray[np.bool_], x: int, y: int) -> NDArray[np.float64]:
    """Outline of a mask whose upper left corner lies at (x, y), as pixel corners run: shape (k, 2)."""
    enlarged = cv2.resize(np.pad(mask.astype(np.uint8), 1), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(contours, key=len)[:, 0, :].astype(np.float64)
    return np.asarray((longest + 0.5) / 2.0 - 1.0 + np.array([x, y]), np.float64)


def _window(box: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    x, y, w, h = (float(v) for v in box)
    x0, y0 = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
    x1, y1 = min(width, int(np.ceil(x + w))), min(height, int(np.ceil(y + h)))
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _ellipse_depth(box: NDArray[np.float64], x0: int, y0: int, x1: int, y1: int) -> NDArray[np.float32]:
    """Normalised squared radius in the box's inscribed ellipse: 0 in the centre, 1 on the ellipse."""
    x, y, w, h = (float(v) for v in box)
    ys, xs = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    across = (xs + 0.5 - (x + w / 2)) / max(w / 2, 0.5)
    down = (ys + 0.5 - (y + h / 2)) / max(h / 2, 0.5)
    return np.asarray(across**2 + down**2, np.float32)


def _main_part(
    mask: NDArray[np.bool_], box: NDArray[np.float64], x0: int, y0: int, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """The largest connected part without holes, smoothed; the inscribed ellipse where nothing is left."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count < 2:
        return _ellipse_depth(box, x0, y0, x0 + mask.shape[1], y0 + mask.shape[0]) <= 1.0
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    whole = np.pad((labels == largest).astype(np.uint8), 2)
    part = cv2.morphologyEx(whole, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    if not part.any():
        part = whole
    # The pallor of a cell that the image's edge cuts is open towards that edge: close it, fill, take the lid off.
    bottom, right = y0 + mask.shape[0], x0 + mask.shape[1]
    lid = np.zeros(part.shape, np.bool_)
    lid[:2] = y0 == 0
    lid[-2:] = bottom == shape[0]
    lid[:, :2] |= x0 == 0
    lid[:, -2:] |= right == shape[1]
    return _fill_holes(np.asarray(np.where(lid, 1, part), np.uint8))[2:-2, 2:-2]


def _fill_holes(binary: NDArray[np.uint8]) -> NDArray[np.bool_]:
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(binary)
    cv2.drawContours(filled, contours, -1, 1, thickness=cv2.FILLED)
    return filled.astype(bool)
