"""Training samples: annotated fields brought to the network's scale, and their augmentation.

Cells are carried as outlines (polygons), not as masks: an outline survives a rotation exactly and is drawn into a small
crop at the end, which costs far less than warping a full mask a cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.masks import masks_from_boxes, outline_of
from sphero_core.image import read_image
from sphero_core.synthetic import SyntheticField
from sphero_core.types import CellClass

#: The network's class numbers; 0 is the background.
CLASS_IDS = {CellClass.RBC: 1, CellClass.SPHEROCYTE: 2, CellClass.PLATELET: 3, CellClass.WBC: 4}
#: What is there and carries no label; see `sphero_core.training.unlabelled`. No class of the network.
UNLABELLED = 5
#: A cell that keeps less than this share of its box within the sample need not be found; people do not label such slivers either.
SMALLEST_VISIBLE_SHARE = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class TrainingField:
    """One annotated field at the network's scale.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB.
    outlines : tuple of ndarray of float32, each of shape (k, 2)
        Outline of each cell in pixels, ``x, y``.
    classes : ndarray of int32, shape (n,)
        Network class numbers, see `CLASS_IDS` and `UNLABELLED`.
    background : ndarray of float32, shape (3,)
        Colour of the smear where there is no cell.
    """

    pixels: NDArray[np.uint8]
    outlines: tuple[NDArray[np.float32], ...]
    classes: NDArray[np.int32]
    background: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What the network sees of a field.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    boxes : ndarray of float32, shape (n, 4)
        ``y0, x0, y1, x1`` in pixels.
    classes : ndarray of int32, shape (n,)
    masks : ndarray of float32, shape (n, crop, crop)
        Each cell's mask, cropped to its box and resized.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int32]
    masks: NDArray[np.float32]


def prepare_labelled(image: LabelledImage, *, pixel_aspect: float, scale: float) -> TrainingField:
    """Read an annotated image, un-stretch it, make masks of its boxes and bring it to the network's scale.

    Parameters
    ----------
    image : LabelledImage
    pixel_aspect : float
        Display width over height of one stored pixel.
    scale : float
        Network pixels per pixel of the field in true proportion.

    Returns
    -------
    TrainingField
    """
    field = read_image(image.path, pixel_aspect=pixel_aspect)
    fx, fy = field.to_stored
    boxes = image.boxes / np.array([fx, fy, fx, fy])
    outlines = []
    masks = masks_from_boxes(field.pixels, boxes)
    for mask, polygons in zip(masks, image.polygons, strict=True):
        if polygons:
            outline = max(polygons, key=len) / np.array([fx, fy])
        else:
            outline = outline_of(mask.mask, mask.x, mask.y)
        outlines.append(np.asarray(outline * scale, np.float32))
    outlines += [np.asarray(outline / np.array([fx, fy]) * scale, np.float32) for outline in image.ignored]
    return _field(
        field.pixels, outlines, [*(CLASS_IDS[c] for c in image.classes), *[UNLABELLED] * len(image.ignored)], scale
    )


def prepare_synthetic(drawn: SyntheticField, *, scale: float) -> TrainingField:
    """Bring a synthetic smear to the network's scale; its truth is exact."""
    outlines = [np.asarray(outline_of(cell.mask, cell.x, cell.y) * scale, np.float32) for cell in drawn.cells]
    return _field(drawn.pixels, outlines, [CLASS_IDS[cell.cell_class] for cell in drawn.cells], scale)


def _field(
    pixels: NDArray[np.uint8],
    outlines: Sequence[NDArray[np.float32]],
    classes: Sequence[int],
    scale: float,
) -> TrainingField:
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=interpolation), np.uint8)
    return TrainingField(
        pixels=scaled,
        outlines=tuple(outlines),
        classes=np.array(classes, np.int32),
        background=background_colour(scaled),
    )


def background_colour(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The smear's colour where there is no cell: the median of the brightest third by green, shape (3,)."""
    flat = pixels[::4, ::4].reshape(-1, 3)
    bright = flat[flat[:, 1] >= np.quantile(flat[:, 1], 0.67)]
    return np.asarray(np.median(bright, axis=0), np.float32)


class Augmenter:
    """Draws samples from fields: geometry, stain, light, blur, noise and JPEG.

    Parameters
    ----------
    height, width : int
        The network's input, in pixels.
    mask_crop : int
        Side of the masks in a sample.
    settings : mapping
        `AugmentationConfig` as a plain mapping; see `sphero_core.training.config`.
    """

    def __init__(self, height: int, width: int, mask_crop: int, settings: Mapping[str, float]) -> None:
        self._height, self._width, self._crop = height, width, mask_crop
        self._settings = dict(settings)

    def sample(self, field: TrainingField, rng: np.random.Generator) -> Sample:
        """One randomly changed view of a field."""
        matrix = self._geometry(field, rng)
        outlines = [points @ matrix[:, :2].T + matrix[:, 2] for points in field.outlines]
        pixels = cv2.warpAffine(
            field.pixels,
            matrix,
            (self._width, self._height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=[float(v) for v in field.background],
        )
        pixels = self._photometry(np.asarray(pixels, np.uint8), rng)
        return self._assemble(pixels, outlines, field.classes)

    def _geometry(self, field: TrainingField, rng: np.random.Generator) -> NDArray[np.float64]:
        s = self._settings
        height, width = field.pixels.shape[:2]
        quarter = rng.integers(4) if rng.random() < s["quarter_turns"] else 0
        angle = quarter * 90.0
        if rng.random() < s["free_rotation"]:
            angle += rng.uniform(-45, 45)
        scale = np.exp(rng.uniform(np.log(s["scale_min"]), np.log(s["scale_max"])))
        turn = np.array(cv2.getRotationMatrix2D((width / 2, height / 2), angle, float(scale)))
        flip = np.diag([-1.0 if rng.random() < 0.5 else 1.0, -1.0 if rng.random() < 0.5 else 1.0])
        linear = flip @ turn[:, :2]
        # Place a random point of the field's slack at the sample's centre.
        turned = np.abs(linear) @ np.array([width, height])
        slack = np.abs(turned - np.array([self._width, self._height])) / 2
        shift = rng.uniform(-1, 1, 2) * slack
        offset = np.array([self._width / 2, self._height / 2]) + shift - linear @ np.array([width / 2, height / 2])
        return np.column_stack([linear, offset])

    def _photometry(self, pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        s = self._settings
        image = pixels.astype(np.float32) / 255.0
        # Stain: Beer-Lambert optical density, scaled as a whole and by channel.
        density = -np.log(np.maximum(image, 1 / 255.0))
        background = np.quantile(density[::8, ::8].reshape(-1, 3), 0.15, axis=0).astype(np.float32)
        strength = np.exp(rng.uniform(-s["stain_strength"], s["stain_strength"]))
        tint = np.exp(rng.uniform(-s["stain_tint"], s["stain_tint"], 3))
        new_background = background
        if rng.random() < s["new_background"]:
            # Cameras differ from white to grey-green; the tint of a background stays within some 12 % of grey.
            grey = rng.uniform(0.5, 0.92) * rng.uniform([0.84, 0.94, 0.86], [1.08, 1.1, 1.08])
            new_background = -np.log(grey).astype(np.float32)
        density = (density - background) * (strength * tint).astype(np.float32) + new_background
        image = np.exp(-density)
        # Light: exposure and a gradient across the field.
        image *= np.float32(np.exp(rng.uniform(-s["exposure"], s["exposure"])))
        if rng.random() < 0.5:
            tilt = rng.uniform(-s["gradient"], s["gradient"], 2)
            ramp = 1 + np.add.outer(
                np.linspace(-tilt[0], tilt[0], image.shape[0]), np.linspace(-tilt[1], tilt[1], image.shape[1])
            )
            image *= ramp.astype(np.float32)[:, :, None]
        if rng.random() < s["blur"]:
            image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, s["blur_sigma"])))
        if rng.random() < s["noise"]:
            image += rng.normal(0, rng.uniform(0.003, 0.02), image.shape).astype(np.float32)
        out = np.clip(image * 255.0 + 0.5, 0, 255).astype(np.uint8)
        if rng.random() < s["jpeg"]:
            quality = int(rng.integers(50, 96))
            _, encoded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
            out = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)
        return np.asarray(out, np.uint8)

    def _assemble(
        self, pixels: NDArray[np.uint8], outlines: Sequence[NDArray[np.float64]], classes: NDArray[np.int32]
    ) -> Sample:
        size = np.array([self._width, self._height], np.float64)
        boxes, kept, masks = [], [], []
        for points, class_id in zip(outlines, classes, strict=True):
            low, high = points.min(axis=0), points.max(axis=0)
            inside_low, inside_high = np.clip(low, 0, size), np.clip(high, 0, size)
            extent = inside_high - inside_low
            visible = float(np.prod(extent) / max(float(np.prod(high - low)), 1e-6))
            if extent.min() < 1:
                continue
            boxes.append([inside_low[1], inside_low[0], inside_high[1], inside_high[0]])
            kept.append(class_id if visible >= SMALLEST_VISIBLE_SHARE and extent.min() >= 4 else UNLABELLED)
            masks.append(self._mask(points, inside_low, extent))
        return Sample(
            pixels=pixels,
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            classes=np.asarray(kept, np.int32),
            masks=np.asarray(masks, np.float32).reshape(-1, self._crop, self._crop),
        )

    def _mask(
        self, points: NDArray[np.float64], low: NDArray[np.float64], extent: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        crop = np.zeros((self._crop, self._crop), np.uint8)
        # fillPoly takes fixed point coordinates; pixel centres lie at integers there, hence the half pixel.
        scaled = (points - low) / extent * self._crop - 0.5
        cv2.fillPoly(crop, [np.round(scaled * 16).astype(np.int32)], 1, lineType=cv2.LINE_8, shift=4)
        return crop.astype(np.float32)


def endless(
    fields: Sequence[TrainingField], weights: NDArray[np.float64], augmenter: Augmenter, seed: int
) -> Iterator[Sample]:
    """Samples without end, fields drawn by weight; the same seed gives the same samples."""
    rng = np.random.default_rng(seed)
    share = weights / weights.sum()
    while True:
        yield augmenter.sample(fields[int(rng.choice(len(fields), p=share))], rng)
