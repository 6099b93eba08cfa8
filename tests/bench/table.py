"""Rows of the benchmark table, and how two things are timed side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside the one it is compared with.

    Attributes
    ----------
    what, beside : str
        What was measured and what it is compared with, in words.
    value, reference : float
        Both in `unit`; what is not a comparison has its limit as the reference.
    unit : str
        Such as ``ms``, ``MiB``.
    at_most : float or None
        Largest ratio value / reference that is accepted; None where the row only informs.
    """

    what: str
    value: float
    unit: str
    beside: str
    reference: float
    at_most: float | None = None

    @property
    def ratio(self) -> float:
        """Value over reference."""
        return self.value / self.reference

    @property
    def holds(self) -> bool:
        """Whether the ratio is within its limit."""
        return self.at_most is None or self.ratio <= self.at_most


def side_by_side(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Time two calls in turns, so that a busy moment of the machine strikes both.

    Returns
    -------
    tuple of float
        Median seconds of each, over `rounds` after one round that is not counted.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for call, taken in zip((first, second), seconds, strict=True):
            begin = clock()
            call()
            if turn:
                taken.append(clock() - begin)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def as_text(rows: Iterable[Row]) -> str:
    """Give the rows as one table for a terminal."""
    lines = [("what", "value", "beside", "value", "ratio", "at most", "")]
    for row in rows:
        limit = "" if row.at_most is None else f"{row.at_most:.2f}"
        verdict = "" if row.at_most is None else ("holds" if row.holds else "MISSED")
        values = f"{row.value:,.2f} {row.unit}", f"{row.reference:,.2f} {row.unit}"
        lines.append((row.what, values[0], row.beside, values[1], f"{row.ratio:.2f}", limit, verdict))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    numeric = (1, 3, 4, 5)
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in numeric else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
