"""The codes that objects carry: SNOMED CT and DICOM where they were verified, else a private scheme that a site may map.

Verified against PS3.16 (context groups 218, 8112, 8103 and annex D) as pydicom carries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from integrations.errors import ObjectRefused
from sphero_core.types import CellClass

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

PRIVATE_SCHEME = "99SPHERO"
"""Our own coding scheme; scheme designators that begin with 99 are private (PS3.16, 8)."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A code value of at most 16 characters, its scheme, and its meaning of at most 64."""

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        for name, text, most in (("value", self.value, 16), ("scheme", self.scheme, 16), ("meaning", self.meaning, 64)):
            if not text.strip() or len(text) > most or "\\" in text or not text.isprintable():
                raise ObjectRefused(f"a code's {name} must have 1 to {most} printable characters, without a backslash")

    @property
    def coded(self) -> CodedConcept:
        """As highdicom takes it."""
        from highdicom.sr import CodedConcept  # takes seconds, and most who know codes make no objects

        return CodedConcept(self.value, self.scheme, self.meaning)


def _own(value: str, meaning: str) -> Concept:
    return Concept(value, PRIVATE_SCHEME, meaning)


_DEFAULTS: Mapping[str, Concept] = MappingProxyType(
    {
        "red_cell": _own("RBC", "Red blood cell, not a spherocyte"),
        "spherocyte": _own("SPHEROCYTE", "Spherocyte"),
        "platelet": _own("PLATELET", "Platelet"),
        "white_cell": _own("WBC", "White blood cell"),
        "red_cells": _own("RED_CELLS", "Red blood cells counted, spherocytes included"),
        "spherocytes": _own("SPHEROCYTES", "Spherocytes counted"),
        "spherocyte_percent": _own("SPHERO_PERCENT", "Spherocytes per red blood cells"),
        "interval_low": _own("SPHERO_CI95_LOW", "Spherocytes per red cells, 95 % interval, lower limit"),
        "interval_high": _own("SPHERO_CI95_HIGH", "Spherocytes per red cells, 95 % interval, upper limit"),
        "fields": _own("FIELDS", "Microscope fields counted"),
        "grade": _own("SPHERO_GRADE", "Grade of spherocytes"),
        "procedure": _own("SMEAR_ANALYSIS", "Analysis of blood smear images by software"),
    }
)
"""What a site may map: by these names, in `[dicom.codes]`."""

CODE_NAMES = tuple(_DEFAULTS)

_OF_CLASS = {
    CellClass.RBC: "red_cell",
    CellClass.SPHEROCYTE: "spherocyte",
    CellClass.PLATELET: "platelet",
    CellClass.WBC: "white_cell",
}

CELL = Concept("4421005", "SCT", "Cell")
BLOOD = Concept("87612001", "SCT", "Blood")
SMEAR = Concept("258433009", "SCT", "Smear sample")

# Units: UCUM, where braces hold an annotation that does not change the unit, which is then 1.
NO_UNIT = Concept("1", "UCUM", "no units")
PERCENT = Concept("%", "UCUM", "percent")
CELLS = Concept("{cells}", "UCUM", "cells")
FIELDS = Concept("{fields}", "UCUM", "fields")
PIXELS = Concept("{pixels}", "UCUM", "pixels")
SQUARE_PIXELS = Concept("{SQUAREPIXELS}", "UCUM", "square pixels")
MICROMETRES = Concept("um", "UCUM", "micrometer")
SQUARE_MICROMETRES = Concept("um2", "UCUM", "square micrometer")


@dataclass(frozen=True, slots=True)
class Measure:
    """How a measure of a cell is written.

    Attributes
    ----------
    attribute : str
        Of `CellMeasures`.
    concept : Concept
    power : int or None
        Of micrometres per pixel by which it is multiplied; None where it has no unit.
    """

    attribute: str
    concept: Concept
    power: int | None = None


SCORE = _own("SCORE", "Probability of the class, by the network")
RED_CELL_SCORE = _own("RED_CELL_SCORE", "Probability of a red blood cell, by the network")
MEASURES: tuple[Measure, ...] = (
    Measure("area_px", Concept("42798000", "SCT", "Area"), 2),
    Measure("equivalent_diameter_px", _own("EQUIV_DIAMETER", "Diameter of the disc of equal area"), 1),
    Measure("perimeter_px", Concept("131191004", "SCT", "Perimeter"), 1),
    Measure("circularity", _own("CIRCULARITY", "Circularity, 4 pi A / P^2")),
    Measure("eccentricity", _own("ECCENTRICITY", "Eccentricity of the ellipse of equal moments")),
    Measure("axis_ratio", _own("AXIS_RATIO", "Minor over major axis of that ellipse")),
    Measure("solidity", _own("SOLIDITY", "Area over area of the convex hull")),
    Measure("pallor_index", _own("PALLOR_INDEX", "Pallor of the centre, (I_centre - I_rim) / I_rim")),
    Measure("relative_density", _own("REL_DENSITY", "Optical density over the case's median red cell")),
    Measure("relative_diameter", _own("REL_DIAMETER", "Diameter over the case's median red cell")),
)


@dataclass(frozen=True, slots=True)
class CodeBook:
    """Our codes with those that a site put in their place.

    Attributes
    ----------
    mapped : mapping of str to Concept
        By the names of `CODE_NAMES`.
    """

    mapped: Mapping[str, Concept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.mapped) - set(_DEFAULTS))
        if unknown:
            raise ObjectRefused(f"no code has the name {unknown[0]}; names are {', '.join(CODE_NAMES)}")

    def __getitem__(self, name: str) -> Concept:
        return self.mapped.get(name) or _DEFAULTS[name]

    def called_by_model(self, cell_class: CellClass) -> Concept:
        """The code of a cell that the model took for this, where a person said otherwise."""
        return Concept(
            f"MODEL_{_OF_CLASS[cell_class].upper()}", PRIVATE_SCHEME, f"The model called it {cell_class.value}"
        )

    def of_class(self, cell_class: CellClass) -> Concept:
        """The code of a kind of cell."""
        return self[_OF_CLASS[cell_class]]
