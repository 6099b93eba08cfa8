"""From findings to the numbers of a case: counts, percentage, interval, grade, and what stands behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from sphero_core.grading import DEFAULT_RULE, GradingRule, grade_share
from sphero_core.interval import field_effect, wilson_interval
from sphero_core.limitations import limitations_of
from sphero_core.types import CaseCounts, CaseStatistics, Cell, CellClass, FieldFindings

MICROCYTE_UM = 6.0
"""Diameter in micrometres below which a red cell of a dried film is called a microcyte (lower end of the normal 6.0 to 8.5, Dacie and Lewis)."""

_FEWEST_FIELDS = 4
_FEWEST_CELLS = 20
_OUTLIER_RISK = 0.01


def count_case(
    findings: Sequence[FieldFindings],
    *,
    um_per_pixel: float | None = None,
    rule: GradingRule = DEFAULT_RULE,
    microcyte_um: float = MICROCYTE_UM,
) -> CaseCounts:
    """Count the red cells of a case over its accepted fields, and grade it.

    A red cell is a cell of any red-cell class that the field's edge does not cut, in a field that was accepted.

    Parameters
    ----------
    findings : sequence of FieldFindings
        One per field, refused fields included.
    um_per_pixel : float or None
        Known scale of the case, in true proportion; None is told as a limitation.
    rule : GradingRule
        Scheme, and the share of false calls of the model.
    microcyte_um : float
        Equivalent diameter in micrometres below which a red cell is a microcyte.

    Returns
    -------
    CaseCounts
        The interval is Wilson's on the effective sample size, in percent; see `sphero_core.interval`.
    """
    counted = [[cell for cell in _red_cells(field) if not cell.touches_border] for field in findings]
    cells = tuple(len(field) for field in counted)
    spherocytes = tuple(sum(cell.cell_class is CellClass.SPHEROCYTE for cell in field) for field in counted)
    total, found = sum(cells), sum(spherocytes)
    percent, interval, grading = None, None, None
    effect = None
    if total:
        effect = field_effect(spherocytes, cells)
        low, high = wilson_interval(effect.effective_cells * found / total, effect.effective_cells)
        percent, interval = 100 * found / total, (100 * low, 100 * high)
        grading = grade_share(percent, interval, rule)
    red = [cell for field in counted for cell in field]
    accepted = [field for field in findings if field.quality.accepted]
    statistics = CaseStatistics(
        platelets=_seen(accepted, CellClass.PLATELET),
        wbc=_seen(accepted, CellClass.WBC),
        microcytes=None if um_per_pixel is None else _microcytes(red, microcyte_um / um_per_pixel),
        microcyte_um=microcyte_um,
        um_per_pixel=um_per_pixel,
        border_cells=sum(cell.touches_border for field in findings for cell in _red_cells(field)),
        overlapping_cells=sum(cell.overlaps for cell in red),
        refused_fields=len(findings) - len(accepted),
        saturated_fields=sum(field.saturated for field in accepted),
        design_effect=effect.design_effect if effect else 1.0,
        effective_cells=effect.effective_cells if effect else 0.0,
        field_cells=cells,
        field_spherocytes=spherocytes,
        outlier_fields=outlier_fields(spherocytes, cells),
    )
    return CaseCounts(
        red_cells=total,
        spherocytes=found,
        spherocyte_percent=percent,
        ci95=interval,
        fields=len(accepted),
        limitations=limitations_of(total, len(accepted), statistics, grading),
        grading=grading,
        statistics=statistics,
    )


def outlier_fields(spherocytes: Sequence[int], cells: Sequence[int]) -> tuple[int, ...]:
    """Fields whose share of spherocytes does not fit the others, such as one at the thin end of the film.

    Parameters
    ----------
    spherocytes, cells : sequence of int
        Of each field; refused ones with 0 cells.

    Returns
    -------
    tuple of int
        Numbers from 1. None among fewer than four fields that have at least 20 cells.

    Notes
    -----
    Each field is compared with the pool of the others on the arcsine scale (Anscombe, Biometrika 1948, 35:246-254), on which the variance of a share does
    not depend on it, and with the others' design effect; two-sided at 1 % over all fields (Bonferroni).
    """
    asked = [number for number, count in enumerate(cells) if count >= _FEWEST_CELLS]
    if len(asked) < _FEWEST_FIELDS:
        return ()
    limit = NormalDist().inv_cdf(1 - _OUTLIER_RISK / (2 * len(asked)))
    return tuple(number + 1 for number in asked if _strangeness(number, asked, spherocytes, cells) > limit)


def _strangeness(number: int, asked: Sequence[int], spherocytes: Sequence[int], cells: Sequence[int]) -> float:
    """Standard deviations between a field and the others."""
    others = [other for other in asked if other != number]
    hits, counts = [spherocytes[other] for other in others], [cells[other] for other in others]
    effect = field_effect(hits, counts).design_effect
    between = abs(_arcsine(spherocytes[number], cells[number]) - _arcsine(sum(hits), sum(counts)))
    return 2 * between / math.sqrt(effect * (1 / cells[number] + 1 / sum(counts)))


def _arcsine(hits: int, cells: int) -> float:
    return math.asin(math.sqrt((hits + 3 / 8) / (cells + 3 / 4)))


def _red_cells(field: FieldFindings) -> list[Cell]:
    return [cell for cell in field.cells if cell.cell_class.is_red_cell] if field.quality.accepted else []


def _seen(accepted: Sequence[FieldFindings], cell_class: CellClass) -> int:
    return sum(cell.cell_class is cell_class and not cell.touches_border for field in accepted for cell in field.cells)


def _microcytes(red: Sequence[Cell], below_px: float) -> int:
    return sum(cell.measures is not None and cell.measures.equivalent_diameter_px < below_px for cell in red)
