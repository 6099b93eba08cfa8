"""Shapes and optical densities of single artificial blood cells; `sphero_core.synthetic` puts them into a field.

A cell is a star-shaped outline (radius over angle) and a stain thickness inside it. Two stains are kept apart: eosin,
which haemoglobin takes up, and azure, which nuclei, granules and young red cells take up. Transcendental functions are
evaluated in float64, so that two machines differ in the last of 53 bits and in no pixel of the finished picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sphero_core.types import CellClass

Floats: TypeAlias = NDArray[np.floating[Any]]  # all float64; NumPy's own stubs seldom say so

_ANGLES = 720
_REACH = 1.25  # a patch reaches this far beyond the outline, for the bright halo around it


class Kind(Enum):
    """What is drawn. Everything from DISCOCYTE to FRAGMENT is truth class RBC."""

    DISCOCYTE = "discocyte"
    MACROCYTE = "macrocyte"
    TARGET = "target"
    STOMATOCYTE = "stomatocyte"
    ELLIPTOCYTE = "elliptocyte"
    TEARDROP = "teardrop"
    BURR = "burr"
    CONTRACTED = "contracted"  # irregularly contracted: dense, without pallor, not round; never a spherocyte
    FRAGMENT = "fragment"
    SPHEROCYTE = "spherocyte"
    PLATELET = "platelet"
    NEUTROPHIL = "neutrophil"
    LYMPHOCYTE = "lymphocyte"

    @property
    def cell_class(self) -> CellClass:
        """The truth class."""
        if self is Kind.SPHEROCYTE:
            return CellClass.SPHEROCYTE
        if self is Kind.PLATELET:
            return CellClass.PLATELET
        if self in (Kind.NEUTROPHIL, Kind.LYMPHOCYTE):
            return CellClass.WBC
        return CellClass.RBC


# Axis ratio and radius as ranges of uniform draws, and the amplitude of the outline's harmonics; radii are relative to
# the median red cell.
_SHAPES: dict[Kind, tuple[tuple[float, float], tuple[float, float], float]] = {
    Kind.DISCOCYTE: ((0.84, 1.0), (0.88, 1.12), 0.011),
    Kind.MACROCYTE: ((0.86, 1.0), (1.12, 1.32), 0.014),
    Kind.TARGET: ((0.88, 1.0), (0.95, 1.15), 0.010),
    Kind.STOMATOCYTE: ((0.82, 1.0), (0.9, 1.1), 0.010),
    Kind.ELLIPTOCYTE: ((0.5, 0.74), (0.85, 1.05), 0.012),
    Kind.TEARDROP: ((0.7, 0.92), (0.68, 0.95), 0.015),
    Kind.BURR: ((0.86, 1.0), (0.8, 1.02), 0.014),
    Kind.CONTRACTED: ((0.66, 0.9), (0.66, 0.88), 0.045),
    Kind.FRAGMENT: ((0.45, 0.8), (0.38, 0.62), 0.06),
    Kind.SPHEROCYTE: ((0.945, 1.0), (0.68, 0.87), 0.004),
    Kind.PLATELET: ((0.7, 1.0), (0.17, 0.32), 0.06),
    Kind.NEUTROPHIL: ((0.9, 1.0), (1.35, 1.7), 0.02),
    Kind.LYMPHOCYTE: ((0.9, 1.0), (1.0, 1.3), 0.015),
}


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A star-shaped outline: `radii` in pixels at equally spaced angles from 0 on, around its own origin."""

    radii: Floats

    @property
    def mean_radius(self) -> float:
        """Radius of the disc of equal area, in pixels."""
        return float(np.sqrt(np.mean(self.radii**2)))

    @property
    def max_radius(self) -> float:
        """Largest radius, in pixels."""
        return float(self.radii.max())


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One drawn cell, cropped; arrays of one shape (height, width).

    Attributes
    ----------
    x, y : int
        Upper left corner in the field; may lie outside it.
    mask : ndarray of bool
        Pixels whose centre lies inside the outline.
    eosin, azure : ndarray of float64
        Stain thickness, 1.0 for the median red cell's body; eosin may be slightly negative outside (bright halo).
    """

    x: int
    y: int
    mask: NDArray[np.bool_]
    eosin: Floats
    azure: Floats


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], grain_px: float) -> Floats:
    """Draw smooth noise of unit variance with features about `grain_px` pixels wide, shape (height, width)."""
    rows = _spline_basis(shape[0], grain_px)
    columns = _spline_basis(shape[1], grain_px)
    grid = rng.standard_normal((rows.shape[1], columns.shape[1]))
    noise: Floats = rows @ grid @ columns.T
    return noise / 0.48  # the cubic B-spline lattice keeps this share of the deviation


def make_outline(rng: np.random.Generator, kind: Kind, unit_radius: float) -> Outline:
    """Draw the outline of a cell of `kind` on a smear whose median red cell has the radius `unit_radius` pixels."""
    (ratio_low, ratio_high), (size_low, size_high), roughness = _SHAPES[kind]
    angle = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
    turn = rng.uniform(0, 2 * np.pi)
    ratio = rng.uniform(ratio_low, ratio_high)
    major, minor = 1 / np.sqrt(ratio), np.sqrt(ratio)
    radii = major * minor / np.hypot(minor * np.cos(angle - turn), major * np.sin(angle - turn))
    for order in range(2, 8):
        radii += rng.normal(0, roughness * (2 / order)) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    if kind is Kind.TEARDROP:
        # The tail lies on the long axis; its foot is narrow, so that the body stays convex.
        radii += rng.uniform(0.3, 0.9) * np.exp((np.cos(angle - turn) - 1) / rng.uniform(0.03, 0.07))
    elif kind is Kind.BURR:
        radii *= 1 + _spicules(rng, angle, rng.uniform(0.07, 0.2))
    elif kind is Kind.CONTRACTED:
        radii = _flattened(rng, angle, radii, sides=int(rng.integers(1, 4)), depth=(0.7, 0.88))
    elif kind is Kind.FRAGMENT:
        radii = _flattened(rng, angle, radii, sides=2, depth=(0.3, 0.65))
    size = rng.uniform(size_low, size_high)
    radii *= size * unit_radius / np.sqrt(np.mean(radii**2))
    return Outline(np.maximum(radii, 0.08 * size * unit_radius))


def draw_cell(
    rng: np.random.Generator,
    kind: Kind,
    outline: Outline,
    centre: tuple[float, float],
    unit_radius: float,
    *,
    pallor: float,
    halo: float,
) -> Patch:
    """Draw one cell.

    Parameters
    ----------
    centre : tuple of float
        (x, y) of the outline's origin in the field, in pixels; pixel centres lie at whole numbers.
    unit_radius : float
        Radius of the smear's median red cell in pixels.
    pallor : float
        The smear's typical depth of the central pallor, 0 to 1.
    halo : float
        Strength of the refraction line at the edge and of the bright halo outside, 0 to 1.
    """
    reach = int(np.ceil(outline.max_radius * _REACH)) + 1
    x, y = round(centre[0]) - reach, round(centre[1]) - reach
    dx = np.arange(2 * reach + 1) + (x - centre[0])
    dy = (np.arange(2 * reach + 1) + (y - centre[1]))[:, None]
    rho = np.hypot(dx, dy)
    place = np.arctan2(dy, dx) * (_ANGLES / (2 * np.pi))
    edge = np.interp(place, np.arange(_ANGLES), outline.radii, period=_ANGLES)
    depth = edge - rho  # pixels inside the outline, along the ray
    u = rho / edge
    cover = np.clip(depth + 0.5, 0.0, 1.0)
    if kind is Kind.PLATELET:
        eosin, azure = _platelet(rng, u, cover)
    elif kind in (Kind.NEUTROPHIL, Kind.LYMPHOCYTE):
        eosin, azure = _white_cell(rng, kind, dx, dy, cover, outline.mean_radius)
    else:
        eosin, azure = _red_cell(rng, kind, u, dx / outline.mean_radius, dy / outline.mean_radius, pallor=pallor)
        eosin *= (unit_radius / outline.mean_radius) ** 0.8  # the same haemoglobin on less area is thicker
        eosin *= 1 + 0.025 * smooth_noise(rng, rho.shape, 0.12 * unit_radius)
        eosin *= cover
        line = 0.035 * unit_radius
        eosin += halo * (0.28 * np.exp(-(((depth - line) / line) ** 2)) * cover)
        eosin -= halo * 0.22 * np.exp(-(((depth + 1.6 * line) / line) ** 2)) * (1 - cover)
    return Patch(x, y, depth >= 0, eosin, azure * cover)


def _red_cell(
    rng: np.random.Generator, kind: Kind, u: Floats, dx: Floats, dy: Floats, *, pallor: float
) -> tuple[Floats, Floats]:
    """Stain thickness of a red cell before its edge is cut; u is the share of the way from the origin to the edge."""
    inside = np.minimum(u, 1.0)
    density = rng.normal(1.0, 0.07)
    azure = np.full_like(u, 0.0)
    if kind in (Kind.SPHEROCYTE, Kind.CONTRACTED, Kind.FRAGMENT):
        density *= rng.uniform(1.05, 1.45) if kind is Kind.SPHEROCYTE else rng.uniform(0.95, 1.3)
        return density * (0.4 + 0.6 * (1 - inside**2.4) ** 0.45), azure
    body = 0.5 + 0.5 * np.sqrt(1 - inside ** rng.uniform(5, 15))
    depth = float(np.clip(rng.normal(pallor, 0.12), 0.06, 0.9))
    offset = rng.normal(0, 0.07, 2)
    width = rng.uniform(0.36, 0.6)
    stretch = rng.uniform(0.85, 1.15)
    if kind is Kind.MACROCYTE:
        depth *= rng.uniform(0, 0.6)
        density *= 1.1
        azure += 0.06 * rng.uniform(0, 1) ** 2  # some are young and stain bluish
    elif kind is Kind.BURR:
        depth *= rng.uniform(0.3, 1.1)
    elif kind is Kind.STOMATOCYTE:
        depth, width, stretch = max(depth, 0.3), 0.3, rng.uniform(2.0, 3.2)
    turn = rng.uniform(0, np.pi)
    along = ((dx - offset[0]) * np.cos(turn) + (dy - offset[1]) * np.sin(turn)) / stretch
    across = ((dy - offset[1]) * np.cos(turn) - (dx - offset[0]) * np.sin(turn)) * min(stretch, 1.6)
    if kind is Kind.ELLIPTOCYTE:
        distance = u / width
    else:
        distance = np.maximum(np.hypot(along, across), 0.6 * u) / width
    hollow = depth * np.exp(-(distance ** rng.uniform(2.0, 3.6)))
    if kind is Kind.TARGET:
        hollow = max(depth, 0.4) * (np.exp(-((u / 0.62) ** 4)) - rng.uniform(0.6, 1.0) * np.exp(-((u / 0.27) ** 2)))
    return density * body * (1 - hollow), azure


def _platelet(rng: np.random.Generator, u: Floats, cover: Floats) -> tuple[Floats, Floats]:
    strength = rng.uniform(0.25, 1.0)
    size = u.shape[0]
    granules = np.clip(smooth_noise(rng, u.shape, max(size / 9, 1.5)), -1, 2)
    core = np.exp(-((u / rng.uniform(0.5, 0.8)) ** 3))
    azure = strength * (0.28 + (0.45 + 0.35 * granules) * core)
    return 0.12 * strength * cover, np.maximum(azure, 0.04)


def _white_cell(
    rng: np.random.Generator, kind: Kind, dx: Floats, dy: Floats, cover: Floats, radius: float
) -> tuple[Floats, Floats]:
    shape = cover.shape
    grain = smooth_noise(rng, shape, max(0.07 * radius, 1.2))
    depth = np.full(shape, -np.inf)
    if kind is Kind.LYMPHOCYTE:
        lobes = [(rng.normal(0, 0.07), rng.normal(0, 0.07), rng.uniform(0.68, 0.82))]
        cytoplasm, eosin = 0.3 + 0.04 * grain, 0.05
    else:
        turn, count = rng.uniform(0, 2 * np.pi), int(rng.integers(3, 6))
        places = turn + np.cumsum(rng.uniform(0.9, 1.3, count))
        lobes = [(0.42 * np.cos(a), 0.42 * np.sin(a), rng.uniform(0.24, 0.34)) for a in places]
        cytoplasm, eosin = 0.2 + 0.08 * grain, 0.3
    wobble = 0.03 * smooth_noise(rng, shape, 0.2 * radius)
    for x, y, size in lobes:
        depth = np.maximum(depth, size + wobble - np.hypot(dx / radius - x, dy / radius - y))
    nucleus = np.clip(depth * radius / max(0.02 * radius, 1.0) + 0.5, 0, 1)
    chromatin = 1.35 + 0.18 * smooth_noise(rng, shape, 0.14 * radius)
    azure = np.maximum(cytoplasm, 0.02) * (1 - nucleus) + chromatin * nucleus
    return eosin * cover * (1 - 0.5 * nucleus), azure


def _spicules(rng: np.random.Generator, angle: Floats, height: float) -> Floats:
    """Short, fairly regular spikes around the outline."""
    count = int(rng.integers(8, 15))
    places = (np.arange(count) + rng.uniform(-0.25, 0.25, count)) * (2 * np.pi / count)
    heights = height * rng.uniform(0.5, 1.4, count)
    spikes = np.exp((np.cos(angle[:, None] - places) - 1) * (count / 1.3) ** 2)
    return np.asarray(spikes @ heights, dtype=np.float64)


def _flattened(
    rng: np.random.Generator, angle: Floats, radii: Floats, *, sides: int, depth: tuple[float, float]
) -> Floats:
    """Cut `sides` straight or slightly hollow edges into the outline, with rounded corners."""
    for _ in range(sides):
        cosine = np.cos(angle - rng.uniform(0, 2 * np.pi))
        chord = rng.uniform(*depth) / np.maximum(cosine, 1e-3)
        # A soft minimum: corners of a membrane are never sharp.
        radii = np.where(cosine > 0.05, (radii**-14.0 + chord**-14.0) ** (-1 / 14), radii)
    return radii


def _spline_basis(length: int, grain_px: float) -> Floats:
    """Cubic B-splines over `length` pixels with knots `grain_px` apart, shape (length, number of knots)."""
    knots = np.arange(-1, int(np.ceil(length / grain_px)) + 2)
    t = np.abs(np.arange(length)[:, None] / grain_px - knots)
    inner = 2 / 3 - t**2 + t**3 / 2
    outer = np.maximum(2 - t, 0.0) ** 3 / 6
    return np.where(t < 1, inner, outer)
