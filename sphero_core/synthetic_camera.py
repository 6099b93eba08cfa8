"""From stain thickness to the picture of a camera: absorption, uneven light, dust, defocus, noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.synthetic_cells import Floats, smooth_noise
from sphero_core.synthetic_style import SmearStyle


def develop(style: SmearStyle, rng: np.random.Generator, eosin: Floats, azure: Floats) -> NDArray[np.uint8]:
    """Take the picture of a film.

    Parameters
    ----------
    style : SmearStyle
    rng : numpy.random.Generator
    eosin, azure : ndarray of float64, shape (height, width)
        Stain thickness, 1.0 for the median red cell's body.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.
    """
    film = 0.02 * smooth_noise(rng, eosin.shape, 0.9 * style.cell_diameter_px)  # uneven plasma
    light = _illumination(style, rng)
    photo = np.empty((style.height, style.width, 3), np.uint16)
    for channel in range(3):
        density = (eosin + film) * style.eosin[channel] + azure * style.azure[channel]
        photo[..., channel] = np.clip(style.background[channel] * 256 * light * np.exp(-density), 0, 65535)
    _add_specks(style, rng, photo)
    # 16-bit integers and the exact variant: OpenCV's float filters differ in the last bit between processors.
    sigma = style.blur * style.cell_diameter_px
    blurred = cv2.GaussianBlur(photo, (0, 0), sigma, hint=cv2.ALGO_HINT_ACCURATE)
    grain = rng.standard_normal((style.height, style.width, 3), dtype=np.float32)
    shared = rng.standard_normal((style.height, style.width, 1), dtype=np.float32)
    noisy = blurred.astype(np.float32) / 256 + np.float32(style.noise) * (0.6 * grain + 0.8 * shared)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _illumination(style: SmearStyle, rng: np.random.Generator) -> Floats:
    """Make a slope in a random direction and some vignetting, mean near 1, shape (height, width)."""
    turn = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, style.width)
    y = np.linspace(-1, 1, style.height)[:, None]
    vignette = rng.uniform(0, 0.6)
    slope = np.cos(turn) * x + np.sin(turn) * y
    light: Floats = 1 + style.illumination * (0.5 * slope - vignette * (x**2 + y**2 - 2 / 3))
    return light


def _add_specks(style: SmearStyle, rng: np.random.Generator, photo: NDArray[np.uint16]) -> None:
    """Dust and stain grains: dark or bluish dots of a few hundredths of a cell."""
    for _ in range(style.specks):
        radius = style.cell_diameter_px * rng.uniform(0.008, 0.028)
        place = rng.integers(0, (style.width, style.height))
        keep = np.array([0.25, 0.25, 0.3]) if rng.random() < 0.6 else np.array([0.6, 0.6, 0.85])
        reach = int(np.ceil(radius))
        rows = slice(max(place[1] - reach, 0), place[1] + reach + 1)
        columns = slice(max(place[0] - reach, 0), place[0] + reach + 1)
        dy = np.arange(photo.shape[0])[rows, None] - place[1]
        dx = np.arange(photo.shape[1])[columns] - place[0]
        dot = (dx**2 + dy**2 <= radius**2)[..., None]
        photo[rows, columns] = np.where(dot, photo[rows, columns] * keep, photo[rows, columns]).astype(np.uint16)
