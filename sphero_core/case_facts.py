"""The numbers behind a case's finding, each with its label: for the report, the command line and messages alike."""

from __future__ import annotations

from sphero_core.limitations import ADEQUATE_RED_CELLS
from sphero_core.types import CaseCounts, CaseStatistics


def case_facts(counts: CaseCounts) -> tuple[tuple[str, str], ...]:
    """The statistics of a case as rows of label and value; none in reports of versions that kept none."""
    statistics, red = counts.statistics, counts.red_cells
    if statistics is None or not red:
        return ()
    adequate = "adequate" if red >= ADEQUATE_RED_CELLS else "limited"
    cut = statistics.border_cells
    rows = [
        ("Red cells counted", f"{red}, {adequate} (from {ADEQUATE_RED_CELLS:,})"),
        ("Platelets, white cells seen", f"{statistics.platelets}, {statistics.wbc}"),
        ("Red cells cut by an edge", f"{cut} ({100 * cut / (cut + red):.0f} %), not counted"),
        ("Touching or overlapping", f"{100 * statistics.overlapping_cells / red:.0f} % of the red cells"),
    ]
    if statistics.microcytes is not None:
        rows.insert(1, (_microcyte_label(statistics), f"{_microcyte_percent(statistics, red):.1f} %"))
    if sum(cells > 0 for cells in statistics.field_cells) > 1:
        rows.append(("Spread between fields", f"design effect {statistics.design_effect:.1f}"))
    if statistics.outlier_fields:
        rows.append(("Fields that do not fit", ", ".join(map(str, statistics.outlier_fields))))
    return tuple(rows)


def seen_beside(counts: CaseCounts) -> tuple[str, ...]:
    """What was seen beside spherocytes, in sentences of plain ASCII; what limits the numbers is told elsewhere."""
    statistics, red = counts.statistics, counts.red_cells
    if statistics is None or not red:
        return ()
    said = []
    if statistics.microcytes is not None:
        share = _microcyte_percent(statistics, red)
        said.append(f"{_microcyte_label(statistics)}: {statistics.microcytes} of {red} red cells ({share:.1f} %).")
    seen = f"{_some(statistics.platelets, 'platelet')}, {_some(statistics.wbc, 'white cell')}"
    said.append(f"Seen in the same fields: {seen}; these are no concentrations.")
    return tuple(said)


def _microcyte_label(statistics: CaseStatistics) -> str:
    return f"Microcytes (below {statistics.microcyte_um:g} um)"


def _microcyte_percent(statistics: CaseStatistics, red_cells: int) -> float:
    return 100 * (statistics.microcytes or 0) / red_cells


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
