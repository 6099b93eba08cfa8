"""Shapes whose measures are known by formula, drawn as masks: a pixel is set where its centre lies inside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ellipe

Mask = NDArray[np.bool_]


def ellipse(major: float, minor: float, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> Mask:
    """Mask of an ellipse with axes `major` and `minor`, in pixels, turned by `angle` and moved by parts of a pixel."""
    u, v = _turned(int(major) + 6, angle, shift)
    return _cropped((u / (major / 2)) ** 2 + (v / (minor / 2)) ** 2 <= 1)


def disc(diameter: float, shift: tuple[float, float] = (0.0, 0.0)) -> Mask:
    """Mask of a disc."""
    return ellipse(diameter, diameter, 0.0, shift)


def square(side: float, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> Mask:
    """Mask of a square."""
    u, v = _turned(int(side * 1.5) + 6, angle, shift)
    return _cropped((np.abs(u) <= side / 2) & (np.abs(v) <= side / 2))


def annulus(outer: float, inner: float) -> Mask:
    """Mask of a ring between two diameters."""
    u, v = _turned(int(outer) + 6, 0.0, (0.0, 0.0))
    radius = np.hypot(u, v)
    return _cropped((radius <= outer / 2) & (radius > inner / 2))


def perimeter_of_ellipse(major: float, minor: float) -> float:
    """Exact perimeter: a complete elliptic integral of the second kind."""
    return float(2 * major * ellipe(1 - (minor / major) ** 2))


def _turned(size: int, angle: float, shift: tuple[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[0:size, 0:size] + 0.5 - size / 2
    x, y = x - shift[0], y - shift[1]
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _cropped(mask: Mask) -> Mask:
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    return np.ascontiguousarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
