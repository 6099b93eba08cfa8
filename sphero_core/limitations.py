"""What a reader of a case's numbers must know, in words; plain ASCII, since they travel in HL7 messages of any character set."""

from __future__ import annotations

from sphero_core.grading import straddling
from sphero_core.types import CaseStatistics, Grading

ADEQUATE_RED_CELLS = 1000
"""Red cells below which a percentage is called limited (ICSH asks as many for schistocytes)."""

NOTABLE_OVERLAP = 0.15
"""Share of counted red cells that touch or overlap another, above which the reader is told."""

NOTABLE_EFFECT = 1.5
"""Design effect above which the spread between fields is told."""


def limitations_of(
    red_cells: int, accepted: int, statistics: CaseStatistics, grading: Grading | None
) -> tuple[str, ...]:
    """Say what limits a case's numbers, the weightiest first.

    Parameters
    ----------
    red_cells : int
        Counted.
    accepted : int
        Accepted fields.
    statistics : CaseStatistics
    grading : Grading or None
    """
    said: list[str] = []
    if not red_cells:
        said.append("No red cell was counted: no percentage can be given.")
    elif red_cells < ADEQUATE_RED_CELLS:
        said.append(
            f"Only {red_cells} red cells were counted; {ADEQUATE_RED_CELLS:,} are needed for a reliable percentage."
        )
    if grading is not None:
        if (text := straddling(grading)) is not None:
            said.append(text)
        if grading.false_call_percent is None:
            said.append("The model's share of false spherocytes is not known: nothing is reported as detected.")
    said += _of_fields(accepted, statistics)
    said += _of_cells(red_cells, statistics)
    if red_cells:
        said.append(_of_interval(statistics))
    return tuple(said)


def _of_fields(accepted: int, statistics: CaseStatistics) -> list[str]:
    said = []
    if statistics.refused_fields:
        fields = accepted + statistics.refused_fields
        said.append(f"{statistics.refused_fields} of {fields} fields refused for their quality and not counted.")
    if statistics.saturated_fields:
        where = _some(statistics.saturated_fields, "field")
        said.append(f"The detector's maximum was reached in {where}: cells may be missing.")
    for number in statistics.outlier_fields:
        cells, found = statistics.field_cells[number - 1], statistics.field_spherocytes[number - 1]
        said.append(
            f"Field {number} does not fit the others: {found} spherocytes of {cells} red cells ({100 * found / cells:.1f} %)."
        )
    if statistics.design_effect > NOTABLE_EFFECT:
        said.append(
            f"The percentage differs between fields by more than chance (design effect {statistics.design_effect:.1f}):"
            f" the interval is that of {statistics.effective_cells:.0f} independent cells."
        )
    return said


def _of_cells(red_cells: int, statistics: CaseStatistics) -> list[str]:
    said = []
    if statistics.border_cells:
        share = statistics.border_cells / (statistics.border_cells + red_cells)
        said.append(
            f"{_some(statistics.border_cells, 'red cell')} ({share:.0%}) cut by a field's edge and not counted."
        )
    if red_cells and statistics.overlapping_cells / red_cells > NOTABLE_OVERLAP:
        share = statistics.overlapping_cells / red_cells
        said.append(f"{share:.0%} of the counted red cells touch or overlap another: shape and density are less sure.")
    if statistics.um_per_pixel is None:
        said.append(
            "No scale in micrometres is known: sizes are relative to the median cell of the case, microcytes not counted."
        )
    return said


def _of_interval(statistics: CaseStatistics) -> str:
    said = "The 95 % interval covers counting only, not the model's errors"
    if sum(count > 0 for count in statistics.field_cells) > 1:
        return f"{said}."
    return f"{said}, and rests on one field: variation between fields is not in it."


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
