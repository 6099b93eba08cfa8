"""Light through the smear where there is no cell, as a smooth surface over the field.

Lamps and condensers are never even: ten percent less light in a corner would count as a third of a pale cell's density. The
clear smear is therefore a quadratic surface in optical density, fitted so that places which cells fill have no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.types import Cell

#: Optical density -log10(I / 255) of each 8-bit level; level 0 counts as 1.
OPACITY = -np.log10(np.maximum(np.arange(256), 1) / 255.0).astype(np.float32)

_BLOCKS = (12, 16)
_SAMPLES_ACROSS = 192
#: Least share of a block's pixels that must be clear before its level is asked.
_LEAST_CLEAR = 0.04


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Optical density of the clear smear, green, over a field.

    Attributes
    ----------
    coefficients : ndarray of float, shape (6,)
        Of 1, x, y, x^2, x y, y^2 with x and y from -0.5 (left, top) to 0.5.
    """

    coefficients: NDArray[np.float64]

    def density_at(self, x: float, y: float) -> float:
        """Density -log10(I / 255) at a place given as shares of width and height, 0 to 1."""
        x, y = x - 0.5, y - 0.5
        return float(np.dot(self.coefficients, (1.0, x, y, x * x, x * y, y * y)))

    def over(self, height: int, width: int) -> NDArray[np.float32]:
        """The surface sampled at the pixel centres of a grid, shape (height, width)."""
        terms = quadratic_terms((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width)
        return np.asarray((terms @ self.coefficients).reshape(height, width), np.float32)


def background_level(rgb: NDArray[np.uint8], cells: Sequence[Cell]) -> Background:
    """The clear smear of a field, from the pixels outside its cells.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The field in true proportion.
    cells : sequence of Cell
        What was found in it; cells that were missed do little harm.

    Returns
    -------
    Background
    """
    step = max(1, round(max(rgb.shape[:2]) / _SAMPLES_ACROSS))
    density = OPACITY[np.ascontiguousarray(rgb[::step, ::step, 1])]
    covered = np.zeros(density.shape, np.uint8)
    for cell in cells:
        top, left = -(-cell.y // step), -(-cell.x // step)
        sampled = cell.mask[top * step - cell.y :: step, left * step - cell.x :: step]
        covered[top : top + sampled.shape[0], left : left + sampled.shape[1]] |= sampled.view(np.uint8)
    # The blurred edge of a cell and its halo are no clear smear.
    clear = cv2.dilate(covered, np.ones((3, 3), np.uint8)) == 0
    background = _fit_blocks(density, np.asarray(clear), quantile=0.5)
    return background if background is not None else clear_background(density)


def clear_background(density: NDArray[np.float32]) -> Background:
    """The clear smear of a field whose cells are not known: through the clearest places of a grid of blocks.

    Parameters
    ----------
    density : ndarray of float32, shape (height, width)
        -log10(I / 255); a coarse sample of the field is enough.
    """
    background = _fit_blocks(density, np.ones(density.shape, bool), quantile=0.1)
    if background is None:
        raise ValueError(
            f"a field of {density.shape[1]} x {density.shape[0]} samples is too small to find its background"
        )
    return background


def quadratic_terms(down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """Terms of the surface on the grid of `down` x `across` (shares, 0 to 1), row by row: shape (n, 6)."""
    y, x = np.meshgrid(down - 0.5, across - 0.5, indexing="ij")
    y, x = y.ravel(), x.ravel()
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _fit_blocks(density: NDArray[np.float32], clear: NDArray[np.bool_], *, quantile: float) -> Background | None:
    """Surface through a quantile of the clear pixels of each block; None where too few blocks have any."""
    rows, columns = (min(n, size) for n, size in zip(_BLOCKS, density.shape, strict=True))
    height, width = density.shape
    tall, wide = height // rows, width // columns
    shown = np.where(clear, density, np.float32(np.inf))[: tall * rows, : wide * columns]
    ordered = np.sort(
        shown.reshape(rows, tall, columns, wide).transpose(0, 2, 1, 3).reshape(rows * columns, -1), axis=1
    )
    count = np.count_nonzero(np.isfinite(ordered), axis=1)
    asked = np.nonzero(count >= max(1, _LEAST_CLEAR * tall * wide))[0]
    if len(asked) < 12:
        return None
    levels = ordered[asked, np.minimum(count[asked] - 1, (quantile * count[asked]).astype(int))].astype(np.float64)
    terms = quadratic_terms((np.arange(rows) + 0.5) * tall / height, (np.arange(columns) + 0.5) * wide / width)[asked]
    return Background(_fit_from_below(terms, levels, np.sqrt(count[asked] / (tall * wide))))


def _fit_from_below(
    terms: NDArray[np.float64], levels: NDArray[np.float64], trust: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least squares in which whatever lies above the surface loses its say, as blocks filled by cells do."""
    weight = trust
    solution: NDArray[np.float64] = np.zeros(terms.shape[1])
    for _ in range(8):
        root = np.sqrt(weight)
        solution, *_ = np.linalg.lstsq(terms * root[:, None], levels * root, rcond=None)
        excess = levels - terms @ solution
        below = np.abs(excess[excess < 0])
        scale = max(2e-3, float(np.median(below))) if len(below) else 2e-3
        weight = trust * np.where(excess > 0, 1.0 / (1.0 + (excess / scale) ** 2), 1.0)
    return solution
