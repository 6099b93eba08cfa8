"""Artificial May-Grünwald-Giemsa blood smears whose truth is known exactly.

Red cells are thin discs of stain: the light that passes is ``background * 10^-density`` and densities add where cells
lie over each other (Beer-Lambert). **Both outlines of two overlapping red cells show through, so each cell keeps its
full mask** and masks may share pixels; only the field's edge cuts one. Dust, stain grains and ghosts of lysed cells
are drawn but are no cells.

No picture, and no part of one, went into this: colours and sizes are ranges seen on public smears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.synthetic_cells import Kind, Outline, Patch, draw_cell, make_outline, smooth_noise
from sphero_core.types import Cell, CellClass, FieldFindings, FieldImage

_PLACING_TRIES = 40
# How the red cells that are neither spherocytes nor plain discs share `SmearStyle.odd_share`.
_ODD_KINDS: tuple[tuple[Kind, float], ...] = (
    (Kind.ELLIPTOCYTE, 0.2),
    (Kind.TEARDROP, 0.11),
    (Kind.BURR, 0.17),
    (Kind.CONTRACTED, 0.19),
    (Kind.MACROCYTE, 0.13),
    (Kind.STOMATOCYTE, 0.08),
    (Kind.TARGET, 0.06),
    (Kind.FRAGMENT, 0.06),
)


@dataclass(frozen=True, slots=True)
class SmearStyle:
    """How a smear and its camera look; the defaults are a pale, grey-pink field.

    Attributes
    ----------
    width, height : int
        Of the field in pixels.
    cell_diameter_px : float
        Diameter of the median red cell in pixels.
    red_cells : int
        Red cells to place; fewer are placed where no room is left.
    spherocyte_share, odd_share : float
        Shares of the red cells that are spherocytes, and that have another unusual shape.
    overlap : float
        Share of the red cells that are put onto or against another, 0 to 1.
    platelets, white_cells, specks, ghosts : int
        How many; specks and ghosts are no cells.
    background : tuple of float
        RGB of the empty field, 0 to 255.
    eosin, azure : tuple of float
        Natural-log densities of the two stains at thickness 1 in R, G, B.
    pallor : float
        Typical depth of the central pallor, 0 to 1.
    halo : float
        Strength of the refraction at cell edges, 0 to 1.
    illumination : float
        Relative fall of the light across the field.
    blur : float
        Sigma of the defocus in cell diameters.
    noise : float
        Standard deviation of the sensor's noise, of 255.
    """

    width: int = 640
    height: int = 480
    cell_diameter_px: float = 75.0
    red_cells: int = 34
    spherocyte_share: float = 0.13
    odd_share: float = 0.18
    overlap: float = 0.15
    platelets: int = 4
    white_cells: int = 0
    specks: int = 6
    ghosts: int = 0
    background: tuple[float, float, float] = (206.0, 198.0, 204.0)
    eosin: tuple[float, float, float] = (0.09, 0.22, 0.15)
    azure: tuple[float, float, float] = (0.95, 1.6, 0.55)
    pallor: float = 0.3
    halo: float = 0.1
    illumination: float = 0.04
    blur: float = 0.014
    noise: float = 1.2


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticField:
    """One artificial field with its truth.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB.
    cells : tuple of Cell
        Every cell with its full mask (see the module's text), score 1 and no measures.
    style : SmearStyle
    """

    pixels: NDArray[np.uint8]
    cells: tuple[Cell, ...]
    style: SmearStyle

    @property
    def image(self) -> FieldImage:
        """The field as it would have been read from a file."""
        return FieldImage(self.pixels, self.style.width, self.style.height)

    @property
    def findings(self) -> FieldFindings:
        """The truth in the form of an analysis without a mistake."""
        return FieldFindings(
            cells=self.cells,
            width=self.style.width,
            height=self.style.height,
            cell_diameter_px=self.style.cell_diameter_px,
            passes=0,
            seconds=0.0,
        )


def random_style(rng: np.random.Generator, **fixed: Any) -> SmearStyle:
    """Draw a plausible smear: one of two kinds of camera and stain, and variation around it.

    Parameters
    ----------
    rng : numpy.random.Generator
    **fixed
        Attributes of `SmearStyle` that are not drawn; drawn ones that depend on them follow.

    Returns
    -------
    SmearStyle
    """
    pale = bool(rng.random() < 0.5)  # grey-pink and large cells, or blue-green and small ones
    style = _pale_style(rng) if pale else _cool_style(rng)
    style |= {
        "width": 640,
        "height": 480,
        "spherocyte_share": float(rng.choice([0.0, rng.uniform(0.01, 0.08), rng.uniform(0.08, 0.3)])),
        "odd_share": rng.uniform(0.05, 0.4),
        "overlap": rng.uniform(0.02, 0.35),
        "pallor": rng.uniform(0.15, 0.75),
        "ghosts": int(rng.choice([0, 0, 0, 1, 3])),
        "white_cells": int(rng.random() < 0.15),
        "azure": _purple(rng),
    }
    covered = rng.uniform(0.25, 0.6)
    per_red_cell = {"platelets": rng.gamma(1.2, 0.09), "specks": rng.gamma(1.0, 0.12)}
    style |= fixed
    room = style["width"] * style["height"] / (np.pi / 4 * style["cell_diameter_px"] ** 2)
    style = {"red_cells": int(room * covered)} | style
    style = {name: int(style["red_cells"] * share) for name, share in per_red_cell.items()} | style
    return SmearStyle(**style)


def draw_smear(style: SmearStyle, rng: np.random.Generator) -> SyntheticField:
    """Draw one field; the same style and generator state give the same field on every machine.

    Parameters
    ----------
    style : SmearStyle
    rng : numpy.random.Generator

    Returns
    -------
    SyntheticField
    """
    shape = style.height, style.width
    eosin, deepest, azure = (np.zeros(shape, np.float64) for _ in range(3))
    placed = _place_cells(style, rng)
    patches: list[tuple[Kind, Patch]] = []
    for kind, outline, centre in placed:
        patch = draw_cell(
            rng, kind, outline, centre, style.cell_diameter_px / 2, pallor=style.pallor, halo=style.halo
        )
        clipped = _clip(patch, style.width, style.height)
        window = np.s_[clipped.y : clipped.y + clipped.mask.shape[0], clipped.x : clipped.x + clipped.mask.shape[1]]
        eosin[window] += clipped.eosin
        azure[window] += clipped.azure
        np.maximum(deepest[window], clipped.eosin, out=deepest[window])
        patches.append((kind, clipped))
    # Cells that touch in a film thin out where they overlap: less than the sum of both densities is seen.
    eosin = deepest + rng.uniform(0.3, 0.75) * (eosin - deepest)
    _add_ghosts(style, rng, eosin)
    pixels = _develop(style, rng, eosin, azure)
    return SyntheticField(pixels, _truth(patches, style), style)


def _pale_style(rng: np.random.Generator) -> dict[str, Any]:
    grey = rng.uniform(196, 213)
    green = rng.uniform(0.14, 0.26)
    return {
        "cell_diameter_px": rng.uniform(64, 88),
        "background": (grey + rng.uniform(-1, 4), grey - rng.uniform(2, 11), grey + rng.uniform(-3, 3)),
        "eosin": (green * rng.uniform(0.35, 0.72), green, green * rng.uniform(0.6, 0.8)),
        "halo": rng.uniform(0.05, 0.4),
        "illumination": rng.uniform(0.0, 0.08),
        "blur": rng.uniform(0.009, 0.03),
        "noise": rng.uniform(0.7, 1.6),
    }


def _cool_style(rng: np.random.Generator) -> dict[str, Any]:
    light = rng.uniform(135, 205)
    green = rng.uniform(0.14, 0.6)
    red_loss = rng.choice([rng.uniform(0.92, 1.0), rng.uniform(0.78, 0.96)])
    return {
        "cell_diameter_px": rng.uniform(36, 50),
        "background": (light * red_loss, light, light * rng.uniform(0.86, 1.0)),
        "eosin": (green * rng.uniform(0.25, 0.6), green, green * rng.uniform(0.55, 0.8)),
        "halo": rng.uniform(0.2, 0.9),
        "illumination": rng.uniform(0.02, 0.16),
        "blur": rng.uniform(0.011, 0.032),
        "noise": rng.uniform(1.2, 2.6),
    }


def _purple(rng: np.random.Generator) -> tuple[float, float, float]:
    """Density of the azure stain: from blue to magenta purple."""
    strength = rng.uniform(1.2, 1.9)
    return strength * rng.uniform(0.42, 0.72), strength, strength * rng.uniform(0.25, 0.42)


def _place_cells(style: SmearStyle, rng: np.random.Generator) -> list[tuple[Kind, Outline, tuple[float, float]]]:
    """Choose kinds, outlines and centres: large cells first, since they need the most room."""
    kinds = [Kind.NEUTROPHIL if rng.random() < 0.7 else Kind.LYMPHOCYTE for _ in range(style.white_cells)]
    kinds += _red_kinds(style, rng)
    kinds += [Kind.PLATELET] * style.platelets
    placed: list[tuple[Kind, Outline, tuple[float, float]]] = []
    spots = np.empty((0, 3))  # x, y, radius
    for kind in kinds:
        outline = make_outline(rng, kind, style.cell_diameter_px / 2)
        red = kind.cell_class.is_red_cell
        touching = red and rng.random() < style.overlap
        gap = rng.uniform(0.62, 0.98) if touching else (1.03 if kind is not Kind.PLATELET else rng.uniform(0.5, 1.1))
        centre = _find_room(style, rng, spots, outline.mean_radius, gap, touching)
        if centre is None:
            continue
        placed.append((kind, outline, centre))
        spots = np.vstack([spots, [*centre, outline.mean_radius]])
    return placed


def _red_kinds(style: SmearStyle, rng: np.random.Generator) -> list[Kind]:
    plain = 1 - style.spherocyte_share - style.odd_share
    if plain < 0:
        raise ValueError("spherocyte_share and odd_share exceed 1 together; lower one of them")
    names = [Kind.SPHEROCYTE, Kind.DISCOCYTE, *(kind for kind, _ in _ODD_KINDS)]
    shares = [style.spherocyte_share, plain, *(share * style.odd_share for _, share in _ODD_KINDS)]
    draws = rng.choice(len(names), size=style.red_cells, p=np.array(shares) / sum(shares))
    return [names[int(draw)] for draw in draws]


def _find_room(
    style: SmearStyle, rng: np.random.Generator, spots: NDArray[np.float64], radius: float, gap: float, touching: bool
) -> tuple[float, float] | None:
    """Find a centre no nearer to another cell than `gap` times the sum of both radii; None where there is no room.

    A touching cell is put at just that distance from one other. No centre lies far outside, so that at least about a
    sixth of every cell is seen.
    """
    margin = 0.55 * radius
    for _ in range(_PLACING_TRIES):
        if touching and len(spots):
            x, y, other = spots[rng.integers(len(spots))]
            turn = rng.uniform(0, 2 * np.pi)
            x, y = x + gap * (radius + other) * np.cos(turn), y + gap * (radius + other) * np.sin(turn)
            if not (-margin < x < style.width + margin and -margin < y < style.height + margin):
                continue
        else:
            x = rng.uniform(-margin, style.width + margin)
            y = rng.uniform(-margin, style.height + margin)
        distance = np.hypot(spots[:, 0] - x, spots[:, 1] - y)
        if np.all(distance >= gap * (spots[:, 2] + radius) - 1e-6):
            return float(x), float(y)
    return None


def _clip(patch: Patch, width: int, height: int) -> Patch:
    left, top = max(-patch.x, 0), max(-patch.y, 0)
    right = min(patch.mask.shape[1], width - patch.x)
    bottom = min(patch.mask.shape[0], height - patch.y)
    window = np.s_[top:bottom, left:right]
    return Patch(patch.x + left, patch.y + top, patch.mask[window], patch.eosin[window], patch.azure[window])


def _truth(patches: Sequence[tuple[Kind, Patch]], style: SmearStyle) -> tuple[Cell, ...]:
    layers = np.zeros((style.height + 2, style.width + 2), np.uint8)  # one pixel of frame for the dilated masks
    for _, patch in patches:
        height, width = patch.mask.shape
        layers[patch.y + 1 : patch.y + 1 + height, patch.x + 1 : patch.x + 1 + width] += patch.mask
    cells = []
    for kind, patch in patches:
        rows, columns = np.flatnonzero(patch.mask.any(1)), np.flatnonzero(patch.mask.any(0))
        if not len(rows):
            continue
        mask = patch.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        x, y = patch.x + int(columns[0]), patch.y + int(rows[0])
        grown = cv2.dilate(np.pad(mask, 1).astype(np.uint8), np.ones((3, 3), np.uint8))
        around = layers[y : y + mask.shape[0] + 2, x : x + mask.shape[1] + 2]
        cell_class = kind.cell_class
        cells.append(
            Cell(
                cell_class=cell_class,
                score=1.0,
                red_cell_score=1.0 if cell_class.is_red_cell else 0.0,
                x=x,
                y=y,
                mask=mask,
                touches_border=x == 0
                or y == 0
                or x + mask.shape[1] == style.width
                or y + mask.shape[0] == style.height,
                overlaps=bool(np.any(around[grown > 0] > np.pad(mask, 1)[grown > 0])),
            )
        )
    return tuple(cells)


def _add_ghosts(style: SmearStyle, rng: np.random.Generator, eosin: NDArray[np.float64]) -> None:
    for _ in range(style.ghosts):
        centre = float(rng.uniform(0, style.width)), float(rng.uniform(0, style.height))
        outline = make_outline(rng, Kind.STOMATOCYTE, style.cell_diameter_px / 2)
        whole = draw_cell(
            rng, Kind.DISCOCYTE, outline, centre, style.cell_diameter_px / 2, pallor=0.2, halo=0.0
        )
        patch = _clip(whole, style.width, style.height)
        height, width = patch.mask.shape
        eosin[patch.y : patch.y + height, patch.x : patch.x + width] += rng.uniform(0.04, 0.13) * patch.eosin


def _develop(
    style: SmearStyle, rng: np.random.Generator, eosin: NDArray[np.float64], azure: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """From stain thickness to the camera's picture: absorption, uneven light, dust, defocus, noise."""
    film = 0.02 * smooth_noise(rng, style.height, style.width, 0.9 * style.cell_diameter_px)  # uneven plasma
    light = _illumination(style, rng)
    photo = np.empty((style.height, style.width, 3), np.uint16)
    for channel in range(3):
        density = (eosin + film) * style.eosin[channel] + azure * style.azure[channel]
        photo[..., channel] = np.clip(style.background[channel] * 256 * light * np.exp(-density), 0, 65535)
    _add_specks(style, rng, photo)
    # 16-bit integers and the exact variant: OpenCV's float filters differ in the last bit between processors.
    sigma = style.blur * style.cell_diameter_px
    photo = cv2.GaussianBlur(photo, (0, 0), sigma, hint=cv2.ALGO_HINT_ACCURATE)
    grain = rng.standard_normal((style.height, style.width, 3), dtype=np.float32)
    shared = rng.standard_normal((style.height, style.width, 1), dtype=np.float32)
    noisy = photo.astype(np.float32) / 256 + np.float32(style.noise) * (0.6 * grain + 0.8 * shared)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _illumination(style: SmearStyle, rng: np.random.Generator) -> NDArray[np.float64]:
    """A slope in a random direction and some vignetting, mean near 1, shape (height, width)."""
    turn = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, style.width)
    y = np.linspace(-1, 1, style.height)[:, None]
    vignette = rng.uniform(0, 0.6)
    slope = np.cos(turn) * x + np.sin(turn) * y
    return 1 + style.illumination * (0.5 * slope - vignette * (x**2 + y**2 - 2 / 3))


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
