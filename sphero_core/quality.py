"""Whether a field may be counted: looked at before the model is believed, on a copy in which a cell is `WORKING_CELL` pixels wide.

Definitions
-----------
clear smear
    Median colour of the brightest third by green. Optical densities -log10(I / I_clear) are meant over it.
clipped share
    Share of pixels of which a channel is at 253 or above: light that the camera could not tell any more.
contrast
    Median green density of what is denser than 0.04; 0 where hardly anything is.
cell share
    Share of pixels denser than 0.42 of the contrast: what cells cover.
edge width
    Contrast over the upper quartile of the density's gradient along the outlines, in cell diameters: over how much of a cell its outline is smeared.
red ratio, blue ratio
    Red and blue density of what cells cover over its green density. Haemoglobin and eosin absorb little red; haemoglobin, unlike eosin alone, absorbs blue.
outline share
    Pixels on outlines over those covered: high for print and fibres, low for objects much larger than cells.
ink share
    Share of pixels that are nearly black, or absorb more red than green as blue and green ink do and no Romanowsky stain does.

Limits were chosen on real fields and on spoilt ones; deploy/docs/quality.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.background import OPACITY
from sphero_core.turning import usual_view
from sphero_core.types import Quality

#: Width of the usual cell in the copy that is looked at, in pixels.
WORKING_CELL = 30.0
#: Longest side of that copy where no cell's width is known, in pixels.
WORKING_SIDE = 480

_FAINTEST, _OUTLINE_LEVEL = 0.04, 0.42
_LEAST_COVERED = 0.005
_FULL_LIGHT, _BLACK = 253, 70
_INK_DENSITY, _INK_RATIO = 0.25, 1.15


@dataclass(frozen=True, slots=True)
class QualityFigures:
    """What was seen of a field; definitions stand at the top of the module.

    Attributes
    ----------
    clear_level : float
        Green level of the clear smear, 0 to 255.
    clipped_share, cell_share, outline_share, ink_share : float
        0 to 1.
    contrast : float
        Optical density, log10.
    red_ratio, blue_ratio : float
    edge_width : float
        In cell diameters. NaN, as are the ratios and the outline share, where there is nothing to measure them on.
    """

    clear_level: float
    clipped_share: float
    contrast: float
    cell_share: float
    edge_width: float
    red_ratio: float
    blue_ratio: float
    outline_share: float
    ink_share: float


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """What a field must keep to be counted; see `QualityFigures` and the section ``[quality]`` of the settings."""

    max_clipped_share: float = 0.05
    min_clear_level: float = 60.0
    min_contrast: float = 0.035
    max_edge_width: float = 0.175
    min_cell_share: float = 0.04
    max_cell_share: float = 0.72
    max_red_ratio: float = 0.88
    min_blue_ratio: float = 0.36
    max_blue_ratio: float = 1.3
    min_outline_share: float = 0.12
    max_outline_share: float = 0.7
    max_ink_share: float = 0.01


DEFAULT_LIMITS = QualityLimits()


def assess_field(
    rgb: NDArray[np.uint8], cell_diameter_px: float | None, limits: QualityLimits = DEFAULT_LIMITS
) -> Quality:
    """Whether a field may be counted, and why not.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The field in true proportion, at any size.
    cell_diameter_px : float or None
        Of the usual cell in these pixels; None where it is not known, then focus and outlines are not judged.
    limits : QualityLimits

    Returns
    -------
    Quality
        With every reason, in words.
    """
    reasons = reasons_of(measure_quality(rgb, cell_diameter_px), limits, scaled=cell_diameter_px is not None)
    return Quality(not reasons, reasons)


def measure_quality(rgb: NDArray[np.uint8], cell_diameter_px: float | None) -> QualityFigures:
    """The figures of a field; parameters as of `assess_field`."""
    small = _reduced(usual_view(rgb), cell_diameter_px)
    sparse = small[::2, ::2].reshape(-1, 3)
    bright = sparse[sparse[:, 1] >= np.quantile(sparse[:, 1], 0.67)]
    clear = np.median(bright, axis=0)
    clear_density = -np.log10(np.maximum(clear, 1) / 255).astype(np.float32)
    green = np.asarray(cv2.LUT(np.ascontiguousarray(small[:, :, 1]), OPACITY), np.float32)
    green = np.asarray(cv2.GaussianBlur(green, (0, 0), 1.0) - clear_density[1], np.float32)
    sampled = green[::2, ::2].ravel()
    above = sampled[sampled > _FAINTEST]
    contrast = float(np.median(above)) if len(above) >= _LEAST_COVERED * len(sampled) else 0.0
    covered = (green > max(_OUTLINE_LEVEL * contrast, _FAINTEST / 2)).view(np.uint8)
    densities = OPACITY[sparse] - clear_density
    red, blue = _ratios(densities, covered[::2, ::2].ravel() > 0)
    edge = cv2.morphologyEx(covered, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    edges, area = int(np.count_nonzero(edge)), int(np.count_nonzero(covered))
    ink = (densities[:, 0] > _INK_DENSITY) & (densities[:, 0] > _INK_RATIO * densities[:, 1])
    return QualityFigures(
        clear_level=float(clear[1]),
        clipped_share=float(np.mean(sparse.max(axis=1) >= _FULL_LIGHT)),
        contrast=contrast,
        cell_share=area / covered.size,
        edge_width=_edge_width(green, edge, contrast) if contrast else float("nan"),
        red_ratio=red,
        blue_ratio=blue,
        outline_share=edges / area if area else float("nan"),
        ink_share=float(np.mean(ink | (sparse.max(axis=1) < _BLACK))),
    )


def reasons_of(figures: QualityFigures, limits: QualityLimits, *, scaled: bool = True) -> tuple[str, ...]:
    """Why a field is refused, each reason with its figure and what helps; none where it is accepted.

    Plain ASCII, since reasons travel in messages. Comparisons are such that a figure that could not be had (NaN) breaks no limit.
    """
    f, lim = figures, limits
    if f.clipped_share > lim.max_clipped_share:
        said = f"over-exposed: {f.clipped_share:.0%} of the picture is without detail; lower the light or the exposure"
        return (said,)
    if f.clear_level < lim.min_clear_level:
        return (f"too dark: the clear smear is at {f.clear_level:.0f} of 255; raise the light or the exposure",)
    if f.contrast == 0.0 or f.cell_share < lim.min_cell_share:
        said = (
            f"blank or the thin end of the film: {f.cell_share:.0%} is covered by cells; choose a field with more cells"
        )
        return (said,)
    reasons = []
    if f.contrast < lim.min_contrast:
        reasons.append(f"stained too weakly: cells absorb {f.contrast:.3f} (log10) more than the smear; stain again")
    if f.cell_share > lim.max_cell_share:
        reasons.append(f"too crowded: {f.cell_share:.0%} is covered by cells; choose a thinner part of the film")
    if f.ink_share > lim.max_ink_share:
        reasons.append(
            f"pen mark or pointer: {f.ink_share:.1%} is black or ink; clean the slide, swing the pointer out"
        )
    reasons += _of_colour(f, lim)
    if scaled and f.edge_width > lim.max_edge_width:
        reasons.append(f"out of focus: outlines are {f.edge_width:.2f} cell diameters wide; focus again")
    if scaled and (f.outline_share < lim.min_outline_share or f.outline_share > lim.max_outline_share):
        size = "larger" if f.outline_share < lim.min_outline_share else "finer"
        reasons.append(f"not a blood smear: what is seen is much {size} than red cells; check the picture")
    return tuple(reasons)


def _of_colour(f: QualityFigures, lim: QualityLimits) -> list[str]:
    if f.red_ratio > lim.max_red_ratio:
        said = "without colour" if abs(f.red_ratio - 1) < 0.05 and abs(f.blue_ratio - 1) < 0.1 else "of another colour"
        return [f"cells are {said} (red to green density {f.red_ratio:.2f}); check the camera's white balance and mode"]
    if not lim.min_blue_ratio <= f.blue_ratio <= lim.max_blue_ratio and np.isfinite(f.blue_ratio):
        said = (
            f"not stained as a blood smear (blue to green density {f.blue_ratio:.2f}), as with haematoxylin and eosin"
        )
        return [f"{said}; check stain and white balance"]
    return []


def _reduced(rgb: NDArray[np.uint8], cell_diameter_px: float | None) -> NDArray[np.uint8]:
    factor = WORKING_SIDE / max(rgb.shape[:2]) if cell_diameter_px is None else WORKING_CELL / cell_diameter_px
    if factor >= 1:
        return rgb
    size = max(16, round(rgb.shape[1] * factor)), max(16, round(rgb.shape[0] * factor))
    while (
        rgb.shape[1] >= 2 * size[0] and rgb.shape[0] >= 2 * size[1]
    ):  # halving is several times faster than any other reduction
        rgb = np.asarray(
            cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA), np.uint8
        )
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _ratios(densities: NDArray[np.float32], covered: NDArray[np.bool_]) -> tuple[float, float]:
    """Red and blue density over green of what cells cover."""
    if not covered.any():
        return float("nan"), float("nan")
    red, green, blue = densities[covered].mean(axis=0)
    return (float(red / green), float(blue / green)) if green > 0 else (float("nan"), float("nan"))


def _edge_width(green: NDArray[np.float32], edge: NDArray[np.bool_], contrast: float) -> float:
    across = cv2.Sobel(green, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(green, cv2.CV_32F, 0, 1, scale=1 / 8)
    steepest = np.hypot(across[edge], down[edge])
    if not len(steepest):
        return float("nan")
    return contrast / max(1e-6, float(np.quantile(steepest, 0.75))) / WORKING_CELL
