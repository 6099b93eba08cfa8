"""The words of the domain as frozen value types.

Coordinates
-----------
Lengths (measures, diameters) are in pixels of the *field in true proportion*: the image as decoded, turned upright and
un-stretched. Places (boxes, masks) are in pixels of the *picture that was analysed* (`FieldImage.pixels`): the same, or a
whole factor smaller where cells are much larger than the network needs (`FieldImage.reduction`). `FieldImage.to_stored`
leads back to the pixels as they were stored, which is what exports use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class CellClass(StrEnum):
    """What a detected object is; the values are the names that leave the program."""

    RBC = "RBC"
    SPHEROCYTE = "Spherocyte"
    PLATELET = "Platelet"
    WBC = "WBC"

    @property
    def is_red_cell(self) -> bool:
        """Whether cells of this class count as red cells."""
        return self in (CellClass.RBC, CellClass.SPHEROCYTE)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a file's header says, before a pixel is decoded.

    Attributes
    ----------
    media_type : str
        ``image/jpeg``, ``image/png`` or ``image/tiff``.
    width, height : int
        Stored size in pixels, before EXIF orientation.
    frames : int
        Number of pages (TIFF) or 1.
    """

    media_type: str
    width: int
    height: int
    frames: int


@dataclass(frozen=True, slots=True, eq=False)
class FieldImage:
    """One microscope field, ready to be analysed.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB in true proportion.
    stored_width, stored_height : int
        Size of the stored, upright image in pixels.
    pixel_aspect : float
        Display width over height of one stored pixel; 1.0 when nothing was stretched.
    reduction : int
        Lengths in `pixels` times this are lengths in the field in true proportion; 1 when nothing was made smaller.
    """

    pixels: NDArray[np.uint8]
    stored_width: int
    stored_height: int
    pixel_aspect: float = 1.0
    reduction: int = 1

    @property
    def width(self) -> int:
        """Width of `pixels`."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height of `pixels`."""
        return int(self.pixels.shape[0])

    @property
    def to_stored(self) -> tuple[float, float]:
        """Factors (x, y) that lead from places in `pixels` to stored coordinates."""
        return self.stored_width / self.width, self.stored_height / self.height


@dataclass(frozen=True, slots=True)
class CellMeasures:
    """Measures of one cell; what each is, its unit and its formula stand in `sphero_core.measures`.

    Lengths are in true-proportion pixels of the field. A measure that cannot be had, or that an earlier version did not take, is NaN.
    Before the cell is related to its case, `relative_density` is the optical density itself and `relative_diameter` NaN.
    """

    area_px: float
    equivalent_diameter_px: float
    perimeter_px: float
    circularity: float
    eccentricity: float
    axis_ratio: float
    solidity: float
    pallor_index: float
    relative_density: float
    relative_diameter: float
    convexity: float = math.nan
    pallor_area_share: float = math.nan
    optical_density: float = math.nan
    density_deviation: float = math.nan
    texture_contrast: float = math.nan
    mean_red: float = math.nan
    mean_green: float = math.nan
    mean_blue: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One detected object in a field.

    Attributes
    ----------
    cell_class : CellClass
    score : float
        The network's (calibrated) probability of `cell_class`, 0 to 1.
    red_cell_score : float
        P(RBC) + P(Spherocyte), 0 to 1.
    x, y : int
        Upper left corner of `mask` in the picture that was analysed.
    mask : ndarray of bool, shape (height, width)
        The cell's pixels, cropped to its box; at least one pixel is set in each outer row and column.
    touches_border : bool
        Whether the field's edge cuts the cell; such cells are not counted.
    overlaps : bool
        Whether another cell touches or overlaps it.
    measures : CellMeasures or None
        None until measured.
    machine_class : CellClass or None
        The model's call where a person gave the cell another class; else None.
    """

    cell_class: CellClass
    score: float
    red_cell_score: float
    x: int
    y: int
    mask: NDArray[np.bool_]
    touches_border: bool = False
    overlaps: bool = False
    measures: CellMeasures | None = None
    machine_class: CellClass | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """``(x, y, width, height)`` in pixels."""
        return self.x, self.y, int(self.mask.shape[1]), int(self.mask.shape[0])


@dataclass(frozen=True, slots=True)
class Quality:
    """Whether a field may be counted, and why not."""

    accepted: bool = True
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FieldFindings:
    """The outcome of one analysis: one model bundle over one field.

    Attributes
    ----------
    cells : tuple of Cell
        Every cell above its threshold, those cut by the border included.
    width, height : int
        Of the picture that was analysed, in its pixels: those of places and masks.
    cell_diameter_px : float
        Median cell diameter of the case the scale was set by, in pixels of the field in true proportion.
    passes : int
        Forward passes of the network.
    seconds : float
        Wall time of the whole analysis of the field.
    saturated : bool
        Whether the detector's maximum number of detections was reached in a pass.
    quality : Quality
    """

    cells: tuple[Cell, ...]
    width: int
    height: int
    cell_diameter_px: float
    passes: int
    seconds: float
    saturated: bool = False
    quality: Quality = field(default_factory=Quality)


@dataclass(frozen=True, slots=True)
class Grading:
    """A case's grade, and whether spherocytes are reported as detected; see `sphero_core.grading`.

    Attributes
    ----------
    grade : str
        ``0`` to the scheme's top, such as ``2+``.
    scheme : str
        Name of the scheme.
    possible : tuple of str
        Grades that the 95 % interval reaches, lowest first; more than one where it straddles a cut-off.
    detected : bool
    false_call_percent : float or None
        Share of red cells that the model calls spherocytes on smears without any, in percent; None where it was not measured.
    reason : str
        Why spherocytes are, or are not, reported as detected, in words.
    """

    grade: str
    scheme: str
    possible: tuple[str, ...]
    detected: bool
    false_call_percent: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class CaseStatistics:
    """What stands behind the counts of a case, over its accepted fields.

    Attributes
    ----------
    platelets, wbc : int
        Seen, not cut by the border. No concentrations: nobody counted the volume.
    microcytes : int or None
        Counted red cells narrower than `microcyte_um`; None without a scale.
    microcyte_um : float
        Equivalent diameter in micrometres.
    um_per_pixel : float or None
    border_cells : int
        Red cells cut by a field's edge, which are not counted.
    overlapping_cells : int
        Counted red cells that touch or overlap another cell.
    refused_fields, saturated_fields : int
        Fields that were refused; accepted ones in which the detector's maximum was reached.
    design_effect : float
        Of the fields on the percentage's variance, at least 1.
    effective_cells : float
        Independent cells that would give the same interval.
    field_cells, field_spherocytes : tuple of int
        Counted red cells and spherocytes of every field, refused ones (0) included, in order.
    outlier_fields : tuple of int
        Numbers, from 1, of the fields whose percentage does not fit the others.
    """

    platelets: int
    wbc: int
    microcytes: int | None
    microcyte_um: float
    um_per_pixel: float | None
    border_cells: int
    overlapping_cells: int
    refused_fields: int
    saturated_fields: int
    design_effect: float
    effective_cells: float
    field_cells: tuple[int, ...]
    field_spherocytes: tuple[int, ...]
    outlier_fields: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CaseCounts:
    """Counts of a case over its accepted fields; cells cut by the border are not in them.

    Attributes
    ----------
    red_cells : int
        Every red cell, spherocytes included.
    spherocytes : int
    spherocyte_percent : float or None
        100 * spherocytes / red_cells; None without a red cell.
    ci95 : tuple of float or None
        95 % interval of the percentage, in percent.
    fields : int
        Accepted fields that were counted.
    limitations : tuple of str
        What a reader must know, in words.
    grading : Grading or None
        None without a red cell, and in reports of earlier versions.
    statistics : CaseStatistics or None
        None in reports of earlier versions.
    """

    red_cells: int
    spherocytes: int
    spherocyte_percent: float | None
    ci95: tuple[float, float] | None
    fields: int
    limitations: tuple[str, ...] = ()
    grading: Grading | None = None
    statistics: CaseStatistics | None = None


@dataclass(frozen=True, slots=True)
class BundleId:
    """Which model bundle: its name, version and SHA-256 over all of it (hex)."""

    name: str
    version: str
    sha256: str
