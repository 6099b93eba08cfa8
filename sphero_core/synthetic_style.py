"""How an artificial smear and its camera look, and the drawing of plausible variation.

The ranges were read off public smears of two laboratories; no picture, and no part of one, is in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


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
    style: dict[str, Any] = _pale_style(rng) if pale else _cool_style(rng)
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
    covered = rng.uniform(0.3, 0.65)
    per_red_cell = {"platelets": rng.gamma(1.2, 0.09), "specks": rng.gamma(1.0, 0.12)}
    style |= fixed
    room = style["width"] * style["height"] / (np.pi / 4 * style["cell_diameter_px"] ** 2)
    style.setdefault("red_cells", int(room * covered))
    for name, share in per_red_cell.items():
        style.setdefault(name, int(style["red_cells"] * share))
    return SmearStyle(**style)


def _pale_style(rng: np.random.Generator) -> dict[str, Any]:
    grey = rng.uniform(196, 213)
    green = rng.uniform(0.14, 0.26)
    return {
        "cell_diameter_px": rng.uniform(64, 88),
        "background": (grey + rng.uniform(-1, 4), grey - rng.uniform(2, 11), grey + rng.uniform(-3, 3)),
        "eosin": (green * rng.uniform(0.35, 0.72), green, green * rng.uniform(0.6, 0.8)),
        "halo": rng.uniform(0.0, 0.35),
        "illumination": rng.uniform(0.0, 0.08),
        "blur": rng.uniform(0.009, 0.03),
        "noise": rng.uniform(0.5, 1.4),
    }


def _cool_style(rng: np.random.Generator) -> dict[str, Any]:
    light = rng.uniform(120, 210)
    green = rng.uniform(0.14, 0.6)
    red_loss = rng.choice([rng.uniform(0.92, 1.0), rng.uniform(0.72, 0.96)])
    return {
        "cell_diameter_px": rng.uniform(36, 50),
        "background": (light * red_loss, light, light * rng.uniform(0.86, 1.06)),
        "eosin": (green * rng.uniform(0.18, 0.52), green, green * rng.uniform(0.52, 0.8)),
        "halo": rng.uniform(0.2, 0.9),
        "illumination": rng.uniform(0.02, 0.16),
        "blur": rng.uniform(0.011, 0.032),
        "noise": rng.uniform(1.2, 2.6),
    }


def _purple(rng: np.random.Generator) -> tuple[float, float, float]:
    """Density of the azure stain: from blue to magenta purple."""
    strength = rng.uniform(1.2, 1.9)
    return strength * rng.uniform(0.42, 0.72), strength, strength * rng.uniform(0.25, 0.42)
