"""Fields spoilt so that none may be counted, in levels fixed before any limit of `sphero_core.quality` was tuned on them.

Strengths are in cell diameters or in multiples of the light, so that they mean the same on every camera. Pictures of something else are drawn
here: nothing is taken from outside. What is random has a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spoilt:
    """One way to spoil a field.

    Attributes
    ----------
    name, text : str
    change : callable
        Of the pixels (RGB, uint8), the cells' diameter in pixels and a generator.
    """

    name: str
    text: str
    change: Callable[[Pixels, float, np.random.Generator], Pixels]


def _defocus(radius: float) -> Callable[[Pixels, float, np.random.Generator], Pixels]:
    """The disc that a lens out of focus makes of a point, its radius in cell diameters; in light, not in stored levels."""

    def change(pixels: Pixels, diameter: float, rng: np.random.Generator) -> Pixels:  # noqa: ARG001
        reach = radius * diameter
        half = int(np.ceil(reach)) + 1
        y, x = np.mgrid[-half : half + 1, -half : half + 1]
        disc = np.clip(reach + 0.5 - np.hypot(x, y), 0, 1)
        light = (pixels.astype(np.float32) / 255) ** 2.2
        blurred = cv2.filter2D(light, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)
        return _bytes(255 * np.clip(blurred, 0, 1) ** (1 / 2.2))

    return change


def _brighter(times: float) -> Callable[[Pixels, float, np.random.Generator], Pixels]:
    return lambda pixels, diameter, rng: _bytes(pixels * times)  # noqa: ARG005


def _grey(pixels: Pixels, diameter: float, rng: np.random.Generator) -> Pixels:  # noqa: ARG001
    return np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2).astype(np.uint8)


def _empty(pixels: Pixels, diameter: float, rng: np.random.Generator) -> Pixels:  # noqa: ARG001
    """The clear smear of the field alone, with the noise of a camera."""
    flat = pixels[::4, ::4].reshape(-1, 3)
    clear = np.median(flat[flat[:, 1] >= np.quantile(flat[:, 1], 0.67)], axis=0)
    return _bytes(clear + rng.normal(0, 2.5, pixels.shape))


def _tissue(pixels: Pixels, diameter: float, rng: np.random.Generator) -> Pixels:
    """The field's shapes in haematoxylin and eosin: its density in eosin, nuclei of haematoxylin about a third of a cell wide between them.

    Stain vectors of Ruifrok and Johnston (Anal. Quant. Cytol. Histol. 2001, 23:291-299).
    """
    height, width = pixels.shape[:2]
    green = np.maximum(pixels[:, :, 1].astype(np.float64), 1)
    density = np.maximum(0, -np.log10(green / np.quantile(green, 0.9)))
    nuclei: NDArray[np.float32] = np.zeros((height, width), np.float32)
    for _ in range(round(0.4 * height * width / diameter**2)):
        place = int(rng.integers(width)), int(rng.integers(height))
        axes = tuple(int(diameter * size) for size in rng.uniform(0.12, 0.25, 2))
        cv2.ellipse(nuclei, place, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    nuclei = np.asarray(cv2.GaussianBlur(nuclei, (0, 0), max(0.6, 0.02 * diameter)), np.float32)
    eosin, haematoxylin = np.array([0.07, 0.99, 0.11]), np.array([0.65, 0.70, 0.29])
    total = (density + 0.12)[:, :, None] * eosin + 0.6 * nuclei[:, :, None] * haematoxylin
    return _bytes(245 * 10.0**-total + rng.normal(0, 2, pixels.shape))


def _landscape(pixels: Pixels, diameter: float, rng: np.random.Generator) -> Pixels:  # noqa: ARG001
    """Sky, hills and texture in the colours of a photograph outdoors."""
    height, width = pixels.shape[:2]
    picture = np.linspace([120, 170, 230], [200, 215, 235], height)[:, None, :] * np.ones((1, width, 1))
    for level, colour in ((0.45, (95, 120, 90)), (0.6, (70, 110, 55)), (0.78, (110, 90, 60))):
        steps = np.cumsum(rng.normal(0, 0.004 * height, width))
        ridge = (level * height + steps - steps.mean()).astype(int)
        below = np.arange(height)[:, None] >= ridge[None, :]
        picture[below] = np.array(colour) + rng.normal(0, 14, (int(below.sum()), 1))
    return _bytes(np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.float64))


def _page(pixels: Pixels, diameter: float, rng: np.random.Generator) -> Pixels:  # noqa: ARG001
    """A printed page: white, with lines of black words."""
    picture = np.full(pixels.shape, 243, np.uint8)
    height, width = picture.shape[:2]
    scale = width / 900
    for line in range(int(28 * scale), height, int(34 * scale)):
        words = " ".join("".join(map(chr, rng.integers(97, 123, int(rng.integers(2, 9))))) for _ in range(14))
        cv2.putText(picture, words, (int(12 * scale), line), cv2.FONT_HERSHEY_SIMPLEX, 0.8 * scale, (25, 25, 30), 2)
    return _bytes(picture + rng.normal(0, 3, picture.shape))


def _things(pixels: Pixels, diameter: float, rng: np.random.Generator) -> Pixels:  # noqa: ARG001
    """Things on a table: large boxes of any colour on a brown ground, with shadows."""
    height, width = pixels.shape[:2]
    picture = np.empty(pixels.shape, np.float64)
    picture[:] = rng.uniform((120, 85, 50), (170, 130, 90))
    for _ in range(14):
        centre = (float(rng.uniform(0, width)), float(rng.uniform(0, height)))
        size = (float(rng.uniform(0.08, 0.35) * width), float(rng.uniform(0.08, 0.35) * height))
        box = cv2.boxPoints((centre, size, float(rng.uniform(0, 90)))).astype(np.int32)
        cv2.fillPoly(picture, [box + 6], (45.0, 35.0, 30.0))
        cv2.fillPoly(picture, [box], rng.uniform(20, 240, 3).tolist())
    return _bytes(cv2.GaussianBlur(picture, (0, 0), 1.0) + rng.normal(0, 4, picture.shape))


def _bytes(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


SPOILT = (
    Spoilt("defocus", "out of focus: blur disc with a radius of 0.15 cell diameters", _defocus(0.15)),
    Spoilt("defocus-strong", "out of focus: blur disc with a radius of 0.25 cell diameters", _defocus(0.25)),
    Spoilt("over-exposed", "1.6 times the light, clipped", _brighter(1.6)),
    Spoilt("over-exposed-strong", "2.2 times the light, clipped", _brighter(2.2)),
    Spoilt("grey", "without colour", _grey),
    Spoilt("empty", "the clear smear alone, with noise", _empty),
    Spoilt("landscape", "photograph of something else: a landscape", _landscape),
    Spoilt("page", "photograph of something else: a printed page", _page),
    Spoilt("things", "photograph of something else: things on a table", _things),
    Spoilt("tissue", "colours of haematoxylin and eosin, with nuclei", _tissue),
)
"""All levels, fixed on 2026-11-25 before limits were tuned."""
