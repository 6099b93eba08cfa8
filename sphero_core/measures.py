"""What each measure of a cell is: its unit, its formula, and where it stands in exports and in the database.

One list, from which ``cells.csv``, the table `cell_measures` and the page of definitions are made. The page is written by

    python -m sphero_core.measures > deploy/docs/measures.md
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """Of a measure as it is kept; of pixels, those of the field in true proportion."""

    PIXEL = "px"
    SQUARE_PIXEL = "px^2"
    RATIO = "ratio"
    DENSITY = "log10 units"
    LEVEL = "level, 0 to 255"
    SQUARE_LEVEL = "level^2"

    @property
    def power(self) -> int:
        """Of the micrometres a pixel that lead from it to micrometres; 0 where nothing does."""
        return {Unit.PIXEL: 1, Unit.SQUARE_PIXEL: 2}.get(self, 0)


@dataclass(frozen=True, slots=True)
class Definition:
    """One measure.

    Attributes
    ----------
    name : str
        Attribute of `CellMeasures`, and column of the table `cell_measures`, but for those `of_case`.
    column : str
        Of ``cells.csv``; lengths and areas have a second one in micrometres, see `micrometre_column`.
    unit : Unit
    formula : str
    notes : str
        What it is good for, and how it is reckoned.
    """

    name: str
    column: str
    unit: Unit
    formula: str
    notes: str = ""

    @property
    def of_case(self) -> bool:
        """Whether it is relative to the case, and so changes with each further field."""
        return self.column.endswith("_per_median")

    @property
    def micrometre_column(self) -> str:
        """Column of ``cells.csv`` with the measure in micrometres; empty where it has none. The value needs a known scale."""
        if not self.unit.power:
            return ""
        return self.column.removesuffix("_px2").removesuffix("_px") + ("_um2" if self.unit.power == 2 else "_um")


DEFINITIONS: tuple[Definition, ...] = (
    Definition("area_px", "area_px2", Unit.SQUARE_PIXEL, "A = pixels of the mask"),
    Definition("equivalent_diameter_px", "equivalent_diameter_px", Unit.PIXEL, "sqrt(4 A / pi)"),
    Definition(
        "perimeter_px",
        "perimeter_px",
        Unit.PIXEL,
        "P = integral of |grad m| over the mask m, blurred by 1.2 working pixels",
        "By the co-area formula the mean length of its level lines; independent of direction. Discs 20 (40) pixels across come out within "
        "1.5 (0.6) %, ellipses of 2:1 with that long axis within 4 (1.2) %. Corners sharper than the blur are rounded: squares come out "
        "2 to 5 % short.",
    ),
    Definition(
        "circularity",
        "circularity_ratio",
        Unit.RATIO,
        "4 pi A / P^2",
        "1 for a disc; noise of the outline may lift it slightly above.",
    ),
    Definition(
        "eccentricity",
        "eccentricity_ratio",
        Unit.RATIO,
        "sqrt(1 - l2 / l1)",
        "l1 >= l2 are the second central moments along the principal axes, each pixel taken as a square (1/12 is added). 0 for a disc.",
    ),
    Definition("axis_ratio", "axis_ratio", Unit.RATIO, "sqrt(l2 / l1)", "Minor over major axis; 1 for a disc."),
    Definition(
        "solidity",
        "solidity_ratio",
        Unit.RATIO,
        "A / area of the convex hull",
        "Both counted in working pixels: 1 for whatever is convex as far as pixels can tell. Falls with bites and with long spicules.",
    ),
    Definition(
        "convexity",
        "convexity_ratio",
        Unit.RATIO,
        "P of the convex hull / P",
        "The hull is that of the pixels' centres, and its length that of the polygon and pi times 0.35 pixels; holes are filled. At most 1, which is a convex "
        "outline; falls with bites, spicules and crenation.",
    ),
    Definition(
        "pallor_index",
        "pallor_index_ratio",
        Unit.RATIO,
        "(I_centre - I_rim) / I_rim",
        "Medians of the green channel. With the depth of a pixel its distance from the outline as a share of the greatest such distance, "
        "the rim is where it is 0.15 to 0.45 and the centre where it is 0.7 or more. Above 0 where the centre is paler; about 0 or below "
        "in a spherocyte.",
    ),
    Definition(
        "pallor_area_share",
        "pallor_area_ratio",
        Unit.RATIO,
        "pixels paler than 0.75 D_rim / A",
        "Paler is a green optical density below three quarters of the rim's median D_rim, at a depth of 0.3 or more, so that the blurred "
        "outline is none. About 0 in a spherocyte.",
    ),
    Definition(
        "optical_density",
        "optical_density_log10",
        Unit.DENSITY,
        "mean over the mask of -log10(I / I_background)",
        "Green channel, where haemoglobin absorbs most; I_background is the clear smear at the cell's place, a smooth surface over the field.",
    ),
    Definition(
        "density_deviation",
        "density_deviation_log10",
        Unit.DENSITY,
        "standard deviation over the mask of the same density",
        "Texture at large: pallor, a target's bull's eye, inclusions.",
    ),
    Definition(
        "texture_contrast",
        "texture_contrast_level2",
        Unit.SQUARE_LEVEL,
        "mean of (I_p - I_q)^2 over neighbours p, q",
        "Green channel; neighbours across and down, both in the mask: the contrast of the grey-level co-occurrence matrix (Haralick et al., "
        "IEEE Trans. Syst. Man Cybern. 1973, 3:610-621) at a distance of one working pixel. Comparable between cells of one scale only.",
    ),
    Definition("mean_red", "mean_red_level", Unit.LEVEL, "mean of the red channel over the mask"),
    Definition("mean_green", "mean_green_level", Unit.LEVEL, "mean of the green channel over the mask"),
    Definition("mean_blue", "mean_blue_level", Unit.LEVEL, "mean of the blue channel over the mask"),
    Definition(
        "relative_density",
        "density_per_median",
        Unit.RATIO,
        "optical density / median of the case",
        "Of the red cells that count: in accepted fields, not cut by the edge. Spherocytes are denser than the median.",
    ),
    Definition(
        "relative_diameter",
        "diameter_per_median",
        Unit.RATIO,
        "equivalent diameter / median of the case",
        "Of the same cells. What is told of size where no scale is known.",
    ),
)
BY_NAME = {definition.name: definition for definition in DEFINITIONS}

_PAGE = """\
# Measures of a cell

Written by `python -m sphero_core.measures`; change `sphero_core/measures.py`, not this file.

Every cell that is found is measured. The measures stand in `cells.csv` (`sphero analyze`, `sphero case export`) and, by cell, in the table
`cell_measures` of the database, which joins `cells` by `analysis_id` and `number`. A measure that cannot be had is empty: shape and pallor
of a mask of fewer than 20 pixels, micrometres without a known scale (DICOM PixelSpacing, a `[[scanner]]` of the settings, `case.json`).

Lengths and areas are those of the field in true proportion, in its pixels, and in micrometres where the scale is known. Shape, light and
texture are measured on a copy of the cell no larger than 72 pixels, reduced by a whole factor: its *working pixels*. The outline comes from a
network that draws 28 x 28 pixels a cell; nothing finer is in it.

| measure | column of `cells.csv` | unit | formula |
| --- | --- | --- | --- |
{rows}

## Remarks

{remarks}

The table `cell_measures` has no columns for `relative_density` and `relative_diameter`: what is relative to the case changes with each further field,
and is reckoned when the case is read. Flags beside the measures: `border`, the field's edge cuts the cell, which is then not counted;
`overlaps`, another cell touches or overlaps it.
"""


def measures_page() -> str:
    """The page of definitions, as Markdown."""
    rows = "\n".join(
        f"| {each.name} | {_columns(each)} | {each.unit.value} | {_cell(each.formula)} |" for each in DEFINITIONS
    )
    remarks = "\n".join(f"- **{each.name}**: {_cell(each.notes)}" for each in DEFINITIONS if each.notes)
    return _PAGE.format(rows=rows, remarks=remarks)


def _columns(definition: Definition) -> str:
    names = (definition.column, definition.micrometre_column)
    return ", ".join(f"`{name}`" for name in names if name)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(measures_page(), end="")
