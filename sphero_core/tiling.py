"""From a field of any size to passes of the network, without a seam.

A field is scaled so that the case's median cell has the diameter that the network was trained on. If it is then larger than
one pass, it is cut into tiles that overlap by more than a cell; each tile answers for the cells whose centre lies in its own
part, so that a cell on a seam is whole in the tile that answers for it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from sphero_core.bundle import InputSpec

#: Overlap of neighbouring tiles in median cell diameters.
OVERLAP_DIAMETERS = 1.6
#: A field may be made this much smaller than its cells ask for when fewer passes do then; the network was trained on
#: cells from 0.75 to 1.33 times its nominal diameter.
LEAST_SHRINK = 0.85
#: A field is made smaller before anything else as long as its cells stay this many times as large as the network sees them:
#: what is drawn and measured there is as fine as the network's masks (28 pixels a cell) and the measures (72) can tell.
SPARE_DETAIL = 2.0
#: Factors that a JPEG can be decoded at.
REDUCTIONS = (8, 4, 2)
#: Centres this close to a seam, in pixels of the pass, are taken from both tiles; doubles are removed by their masks.
SEAM_MARGIN = 6.0


@dataclass(frozen=True, slots=True)
class Tile:
    """One pass: a window of the scaled field and the part of it the tile answers for (all in scaled pixels)."""

    x: int
    y: int
    own_x0: float
    own_y0: float
    own_x1: float
    own_y1: float

    def owns(self, cx: float, cy: float) -> bool:
        """Whether a cell centred at (cx, cy) of the scaled field is this tile's to report."""
        return self.own_x0 <= cx < self.own_x1 and self.own_y0 <= cy < self.own_y1


@dataclass(frozen=True, slots=True)
class TilePlan:
    """How a field is fed to the network.

    Attributes
    ----------
    scale : float
        Network pixels per field pixel.
    width, height : int
        Of the scaled field.
    tiles : tuple of Tile
    """

    scale: float
    width: int
    height: int
    tiles: tuple[Tile, ...]


def reduction_for(cell_diameter_px: float, spec: InputSpec) -> int:
    """The whole factor by which a field may be made smaller before it is analysed: 1, 2, 4 or 8.

    Parameters
    ----------
    cell_diameter_px : float
        Median cell diameter of the case, in pixels of the field in true proportion.
    spec : InputSpec
    """
    enough = SPARE_DETAIL * spec.cell_diameter
    return next((factor for factor in REDUCTIONS if cell_diameter_px >= factor * enough), 1)


def plan_tiles(width: int, height: int, cell_diameter_px: float, spec: InputSpec) -> TilePlan:
    """Plan the passes over a field.

    Parameters
    ----------
    width, height : int
        The field in true proportion, in pixels.
    cell_diameter_px : float
        Median cell diameter of the case, in pixels of that field.
    spec : InputSpec

    Returns
    -------
    TilePlan

    Raises
    ------
    ValueError
        The diameter is not a positive number.
    """
    if not (math.isfinite(cell_diameter_px) and cell_diameter_px > 0):
        raise ValueError(f"the cell diameter must be a positive number of pixels, not {cell_diameter_px}")
    wanted = spec.cell_diameter / cell_diameter_px
    overlap = OVERLAP_DIAMETERS * spec.cell_diameter
    columns = _count(width * wanted, spec.width, overlap)
    rows = _count(height * wanted, spec.height, overlap)
    scale = min(wanted, _largest_scale(width, height, columns, rows, spec, overlap))
    scaled_width, scaled_height = max(1, round(width * scale)), max(1, round(height * scale))
    across = _starts(scaled_width, spec.width, columns)
    down = _starts(scaled_height, spec.height, rows)
    tiles = tuple(
        Tile(x, y, x0, y0, x1, y1)
        for y, (y0, y1) in zip(down, _owned(down, spec.height), strict=True)
        for x, (x0, x1) in zip(across, _owned(across, spec.width), strict=True)
    )
    return TilePlan(scale, scaled_width, scaled_height, tiles)


def _count(length: float, window: int, overlap: float) -> int:
    """Passes along one axis, a little shrinking allowed."""
    least = length * LEAST_SHRINK
    return 1 if least <= window else 1 + math.ceil((least - window) / (window - overlap))


def _largest_scale(width: int, height: int, columns: int, rows: int, spec: InputSpec, overlap: float) -> float:
    """The largest scale at which so many columns and rows cover the field."""
    reach_x = spec.width + (columns - 1) * (spec.width - overlap)
    reach_y = spec.height + (rows - 1) * (spec.height - overlap)
    return min(reach_x / width, reach_y / height)


def _starts(length: int, window: int, count: int) -> list[int]:
    if count == 1:
        return [0]
    return [round(i * (length - window) / (count - 1)) for i in range(count)]


def _owned(starts: list[int], window: int) -> list[tuple[float, float]]:
    """The part of each window it answers for: to the middle of each overlap, and a margin beyond."""
    seams = [(a + window + b) / 2 for a, b in itertools.pairwise(starts)]
    low = [-math.inf, *(s - SEAM_MARGIN for s in seams)]
    high = [*(s + SEAM_MARGIN for s in seams), math.inf]
    return list(zip(low, high, strict=True))
