"""Artificial May-Grünwald-Giemsa blood smears whose truth is known exactly.

Red cells are thin discs of stain: the light that passes is ``background * exp(-density)`` and densities add where cells
lie over each other (Beer-Lambert). **Both outlines of two overlapping red cells show through, so each cell keeps its
full mask** and masks may share pixels; only the field's edge cuts one. Dust, stain grains and ghosts of lysed cells
are drawn but are no cells.

`sphero_core.synthetic_style` draws how a smear looks, `sphero_core.synthetic_cells` single cells and
`sphero_core.synthetic_camera` the picture. No part of any real picture is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.synthetic_camera import develop
from sphero_core.synthetic_cells import Floats, Kind, Outline, Patch, draw_cell, make_outline
from sphero_core.synthetic_style import SmearStyle, random_style
from sphero_core.types import Cell, FieldFindings, FieldImage

__all__ = ["SmearStyle", "SyntheticField", "draw_smear", "random_style"]

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
    summed, deepest, azure = (np.zeros(shape, np.float64) for _ in range(3))
    placed = _place_cells(style, rng)
    patches: list[tuple[Kind, Patch]] = []
    for kind, outline, centre in placed:
        radius = style.cell_diameter_px / 2
        patch = draw_cell(rng, kind, outline, centre, radius, pallor=style.pallor, halo=style.halo)
        clipped = _clip(patch, style.width, style.height)
        window = np.s_[clipped.y : clipped.y + clipped.mask.shape[0], clipped.x : clipped.x + clipped.mask.shape[1]]
        summed[window] += clipped.eosin
        azure[window] += clipped.azure
        np.maximum(deepest[window], clipped.eosin, out=deepest[window])
        patches.append((kind, clipped))
    # Cells thin out where they lie over each other: less than the sum of both densities is seen.
    eosin = deepest + rng.uniform(0.3, 0.75) * (summed - deepest)
    _add_ghosts(style, rng, eosin)
    pixels = develop(style, rng, eosin, azure)
    return SyntheticField(pixels, _truth(patches, style), style)


def _place_cells(style: SmearStyle, rng: np.random.Generator) -> list[tuple[Kind, Outline, tuple[float, float]]]:
    """Choose kinds, outlines and centres: large cells first, since they need the most room."""
    kinds = [Kind.NEUTROPHIL if rng.random() < 0.7 else Kind.LYMPHOCYTE for _ in range(style.white_cells)]
    kinds += _red_kinds(style, rng)
    kinds += [Kind.PLATELET] * style.platelets
    placed: list[tuple[Kind, Outline, tuple[float, float]]] = []
    spots: Floats = np.empty((0, 3))  # x, y, radius
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
    style: SmearStyle, rng: np.random.Generator, spots: Floats, radius: float, gap: float, touching: bool
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
    return tuple(_true_cell(kind, patch, layers) for kind, patch in patches if patch.mask.any())


def _true_cell(kind: Kind, patch: Patch, layers: NDArray[np.uint8]) -> Cell:
    """Make the truth of one drawn cell; `layers` counts the masks over each pixel, with one pixel of frame."""
    rows, columns = np.flatnonzero(patch.mask.any(1)), np.flatnonzero(patch.mask.any(0))
    mask = patch.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x, y = patch.x + int(columns[0]), patch.y + int(rows[0])
    right, bottom = x + mask.shape[1], y + mask.shape[0]
    framed = np.pad(mask, 1).astype(np.uint8)
    others = layers[y : bottom + 2, x : right + 2] - framed
    grown = cv2.dilate(framed, np.ones((3, 3), np.uint8))
    cell_class = kind.cell_class
    return Cell(
        cell_class=cell_class,
        score=1.0,
        red_cell_score=1.0 if cell_class.is_red_cell else 0.0,
        x=x,
        y=y,
        mask=mask,
        touches_border=x == 0 or y == 0 or right == layers.shape[1] - 2 or bottom == layers.shape[0] - 2,
        overlaps=bool(np.any(others[grown > 0])),
    )


def _add_ghosts(style: SmearStyle, rng: np.random.Generator, eosin: Floats) -> None:
    for _ in range(style.ghosts):
        centre = float(rng.uniform(0, style.width)), float(rng.uniform(0, style.height))
        outline = make_outline(rng, Kind.STOMATOCYTE, style.cell_diameter_px / 2)
        whole = draw_cell(rng, Kind.DISCOCYTE, outline, centre, style.cell_diameter_px / 2, pallor=0.2, halo=0.0)
        patch = _clip(whole, style.width, style.height)
        height, width = patch.mask.shape
        eosin[patch.y : patch.y + height, patch.x : patch.x + width] += rng.uniform(0.04, 0.13) * patch.eosin
