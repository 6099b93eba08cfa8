"""The definitions of measures are those of the cells, and their page is current."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from sphero_core.exports import CSV_COLUMNS
from sphero_core.measures import DEFINITIONS, measures_page
from sphero_core.types import CellMeasures

PAGE = Path(__file__).resolve().parents[2] / "deploy" / "docs" / "measures.md"


def test_every_measure_is_defined_once() -> None:
    assert sorted(each.name for each in DEFINITIONS) == sorted(each.name for each in fields(CellMeasures))


def test_every_measure_is_exported_with_its_unit() -> None:
    columns = [name for each in DEFINITIONS for name in (each.column, each.micrometre_column) if name]
    assert len(set(columns)) == len(columns)
    assert set(columns) <= set(CSV_COLUMNS)
    assert {each.micrometre_column for each in DEFINITIONS} == {
        "",
        "area_um2",
        "equivalent_diameter_um",
        "perimeter_um",
    }


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == measures_page(), (
        "run: python -m sphero_core.measures > deploy/docs/measures.md"
    )
