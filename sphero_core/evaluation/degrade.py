"""Degraded versions of labelled fields: what other stains, cameras and careless hands do to a picture, in fixed levels.

Labels follow the geometry. The box of a cell after a turn by a free angle is that of the ellipse inscribed in its box, turned. Nothing here
is random but the noise of the other camera, whose seed is fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.coco import LabelledImage
from sphero_core.evaluation.points import LabelledPoints

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float64]

#: Width of a field, in pixels, at which the strengths of blur below are meant.
USUAL_WIDTH = 640
_NOISE_SEED = 11


def clear_smear(pixels: Pixels) -> NDArray[np.float64]:
    """The smear's colour where there is no cell: the median of the brightest third by green, shape (3,)."""
    flat = pixels[::4, ::4].reshape(-1, 3)
    return np.asarray(np.median(flat[flat[:, 1] >= np.quantile(flat[:, 1], 0.67)], axis=0), np.float64)


def _stain(*strength: float) -> Callable[[Pixels], Pixels]:
    """Multiply the optical density of each channel over the clear smear."""

    def change(pixels: Pixels) -> Pixels:
        clear = clear_smear(pixels)
        passed = np.maximum(pixels.astype(np.float64), 1) / clear
        return _to_bytes(clear * passed ** np.array(strength))

    return change


def _blur(sigma: float) -> Callable[[Pixels], Pixels]:
    return lambda pixels: np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma * pixels.shape[1] / USUAL_WIDTH), np.uint8)


def _jpeg(quality: int) -> Callable[[Pixels], Pixels]:
    def change(pixels: Pixels) -> Pixels:
        _, stored = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        read = np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)
        return np.ascontiguousarray(read[:, :, ::-1])

    return change


def _white_balance(*gain: float) -> Callable[[Pixels], Pixels]:
    return lambda pixels: _to_bytes(pixels * np.array(gain))


def _other_camera(pixels: Pixels) -> Pixels:
    """Blue-grey background, harder contrast, less light towards one corner, noise."""
    shape = pixels.shape[:2]
    toned = (pixels / clear_smear(pixels)) ** 1.3 * np.array([140.0, 158.0, 160.0])
    fall = 1.05 - 0.12 * np.add.outer(np.linspace(0, 1, shape[0]), np.linspace(0, 1, shape[1]))[:, :, None]
    noise = np.random.default_rng(_NOISE_SEED).normal(0, 3.0, (*shape, 3))
    return _to_bytes(toned * fall + noise)


def _to_bytes(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _same(pixels: Pixels) -> Pixels:
    return pixels


@dataclass(frozen=True, slots=True)
class Level:
    """One way to degrade a field.

    Attributes
    ----------
    name : str
    text : str
        For people.
    change : callable
        Of the pixels, RGB.
    scale : float
        Of width and height.
    degrees : float
        Turned anticlockwise; the canvas grows and is filled with the colour of the clear smear.
    """

    name: str
    text: str
    change: Callable[[Pixels], Pixels] = _same
    scale: float = 1.0
    degrees: float = 0.0


#: All levels; the first is what the others are compared with.
LEVELS = (
    Level("as-it-is", "not degraded"),
    Level("stain-pale", "stain at 0.7 of its density", _stain(0.7, 0.7, 0.7)),
    Level("stain-dark", "stain at 1.4 of its density", _stain(1.4, 1.4, 1.4)),
    Level("stain-blue", "stain shifted to blue: density x 1.5, 1, 0.7 in R, G, B", _stain(1.5, 1.0, 0.7)),
    Level("stain-red", "stain shifted to red: density x 0.6, 1, 1.3 in R, G, B", _stain(0.6, 1.0, 1.3)),
    Level("blur-slight", "blur, sigma 1.2 pixels at a width of 640", _blur(1.2)),
    Level("blur-strong", "blur, sigma 2.5 pixels at a width of 640", _blur(2.5)),
    Level("jpeg-50", "JPEG of quality 50", _jpeg(50)),
    Level("jpeg-20", "JPEG of quality 20", _jpeg(20)),
    Level("half-size", "half the width and height", scale=0.5),
    Level("double-size", "double the width and height", scale=2.0),
    Level("quarter-turn", "turned by 90 degrees", degrees=90.0),
    Level("free-turn", "turned by 17 degrees", degrees=17.0),
    Level("balance-warm", "white balance: R, G, B x 1.08, 1, 0.86", _white_balance(1.08, 1.0, 0.86)),
    Level("balance-cool", "white balance: R, G, B x 0.86, 0.97, 1.08", _white_balance(0.86, 0.97, 1.08)),
    Level("other-camera", "blue-grey background, contrast 1.3, uneven light, noise", _other_camera),
)


def degrade_pixels(pixels: Pixels, level: Level) -> tuple[Pixels, Matrix]:
    """A degraded field, and the matrix, shape (2, 3), that leads from its former pixels to the new ones."""
    changed = level.change(pixels)
    matrix, (width, height) = geometry(level, pixels.shape[1], pixels.shape[0])
    if level.scale == 1.0 and level.degrees == 0.0:
        return changed, matrix
    if level.degrees == 0.0:
        way = cv2.INTER_AREA if level.scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(changed, (width, height), interpolation=way), np.uint8), matrix
    # Pixel centres lie at halves here and at integers in OpenCV.
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    turned = cv2.warpAffine(
        changed, shifted, (width, height), flags=cv2.INTER_LINEAR, borderValue=clear_smear(changed).tolist()
    )
    return np.asarray(turned, np.uint8), matrix


def geometry(level: Level, width: int, height: int) -> tuple[Matrix, tuple[int, int]]:
    """Matrix from former to new coordinates, and the new width and height."""
    angle = np.deg2rad(level.degrees)
    turn = level.scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64) @ turn.T
    low, size = corners.min(axis=0), np.ptp(corners, axis=0)
    return np.column_stack([turn, -low]), (round(float(size[0])), round(float(size[1])))


def degrade_labels(
    label: LabelledImage, matrix: Matrix, size: tuple[int, int], to_stored: tuple[float, float]
) -> LabelledImage:
    """The labels of a degraded field, which is stored in true proportion.

    Parameters
    ----------
    label : LabelledImage
        Of the field as it was stored.
    matrix : ndarray, shape (2, 3)
    size : tuple of int
        Width and height of the degraded field.
    to_stored : tuple of float
        See `sphero_core.types.FieldImage.to_stored`.
    """
    stretch = np.array(to_stored)
    boxes = label.boxes / np.tile(stretch, 2)
    centres, radii = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:] / 2
    moved = centres @ matrix[:, :2].T + matrix[:, 2]
    # The box of an ellipse with these half-axes under a linear map.
    reach = np.sqrt((radii**2) @ (matrix[:, :2] ** 2).T)
    return replace(
        label,
        width=size[0],
        height=size[1],
        boxes=np.column_stack([moved - reach, 2 * reach]).reshape(-1, 4),
        polygons=tuple(tuple(_moved(p / stretch, matrix) for p in each) for each in label.polygons),
        ignored=tuple(_moved(p / stretch, matrix) for p in label.ignored),
    )


def degrade_points(points: LabelledPoints, matrix: Matrix, to_stored: tuple[float, float]) -> LabelledPoints:
    """Labelled points in a degraded field, stored in true proportion."""
    return LabelledPoints(_moved(points.places / np.array(to_stored), matrix), points.classes)


def _moved(places: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    return np.asarray(places @ matrix[:, :2].T + matrix[:, 2], np.float64)
