"""From findings to the numbers of a case: counts, percentage, interval, and what limits them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

from sphero_core.types import CaseCounts, CellClass, FieldFindings

ADEQUATE_RED_CELLS = 1000
"""Red cells below which a percentage is called limited (ICSH asks as many for schistocytes)."""

NOTABLE_OVERLAP = 0.15
"""Share of counted red cells that touch or overlap another, above which the reader is told."""


def wilson_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, without continuity correction.

    Parameters
    ----------
    k, n : int
        Hits and trials, 0 <= k <= n, n >= 1.
    confidence : float
        Two-sided, between 0 and 1.

    Returns
    -------
    tuple of float
        Lower and upper bound as shares, 0 to 1.

    Raises
    ------
    ValueError
        If the numbers are not a count of hits in trials or `confidence` is no probability.

    Notes
    -----
    Wilson, E. B. (1927), J. Am. Stat. Assoc. 22:209-212; Newcombe, R. G. (1998), Stat. Med. 17:857-872, method 3.
    """
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"{k} hits in {n} trials are no share; give 0 <= k <= n and n >= 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is no probability; give a number between 0 and 1, such as 0.95")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = k + z * z / 2
    half = z * (k * (n - k) / n + z * z / 4) ** 0.5
    scale = n + z * z
    # Rounding must not push the bounds past what was seen: with no hit the lower bound is 0, not 1e-17.
    lower = 0.0 if k == 0 else (centre - half) / scale
    upper = 1.0 if k == n else (centre + half) / scale
    return lower, upper


def count_case(findings: Sequence[FieldFindings], *, um_per_pixel: float | None = None) -> CaseCounts:
    """Count the red cells of a case over its accepted fields.

    A red cell is a cell of any red-cell class that the field's edge does not cut, in a field that was accepted.

    Parameters
    ----------
    findings : sequence of FieldFindings
        One per field, refused fields included.
    um_per_pixel : float or None
        Known scale of the case; None is told as a limitation.

    Returns
    -------
    CaseCounts
        The interval is the plain Wilson interval over all cells, in percent.
    """
    accepted = [field for field in findings if field.quality.accepted]
    red = [cell for field in accepted for cell in field.cells if cell.cell_class.is_red_cell]
    counted = [cell for cell in red if not cell.touches_border]
    spherocytes = sum(cell.cell_class is CellClass.SPHEROCYTE for cell in counted)
    percent, interval = None, None
    if counted:
        low, high = wilson_interval(spherocytes, len(counted))
        percent, interval = 100 * spherocytes / len(counted), (100 * low, 100 * high)
    overlap = sum(cell.overlaps for cell in counted) / len(counted) if counted else 0.0
    return CaseCounts(
        red_cells=len(counted),
        spherocytes=spherocytes,
        spherocyte_percent=percent,
        ci95=interval,
        fields=len(accepted),
        limitations=_limitations(findings, len(counted), len(red) - len(counted), overlap, um_per_pixel),
    )


def _limitations(
    findings: Sequence[FieldFindings], counted: int, at_border: int, overlap: float, um_per_pixel: float | None
) -> tuple[str, ...]:
    """Say what a reader must know; plain ASCII, since it travels in HL7 messages of any character set."""
    accepted = [field for field in findings if field.quality.accepted]
    refused = len(findings) - len(accepted)
    said: list[str] = []
    if not counted:
        said.append("No red cell was counted: no percentage can be given.")
    elif counted < ADEQUATE_RED_CELLS:
        said.append(
            f"Only {counted} red cells were counted; {ADEQUATE_RED_CELLS:,} are needed for a reliable percentage."
        )
    if refused:
        said.append(f"{refused} of {len(findings)} fields refused for their quality and not counted.")
    saturated = sum(field.saturated for field in accepted)
    if saturated:
        said.append(f"The detector's maximum was reached in {_some(saturated, 'field')}: cells may be missing.")
    if at_border:
        said.append(f"{_some(at_border, 'red cell')} cut by a field's edge and not counted.")
    if overlap > NOTABLE_OVERLAP:
        said.append(
            f"{overlap:.0%} of the counted red cells touch or overlap another: shape and density are less sure."
        )
    if um_per_pixel is None:
        said.append("No scale in micrometres is known: sizes are relative to the median cell of the case.")
    if counted:
        said.append(
            "The 95 % interval covers counting only, not the model's errors, and takes all fields as one sample"
            " (variation between fields is not in it)."
        )
    return tuple(said)


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
