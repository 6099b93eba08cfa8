"""What a release is held to, and which figure is held against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sphero_core.evaluation.point_figures import POINT_FIGURES


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure must reach.

    Attributes
    ----------
    figure : str
    text : str
        What it is, for people.
    bar : float
    at_most : bool
        Whether the figure is an error, which must not exceed the bar.
    of_each : bool
        Whether every patient must reach it, and not only their mean.
    """

    figure: str
    text: str
    bar: float
    at_most: bool = False
    of_each: bool = False

    def reached_by(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value <= self.bar if self.at_most else value >= self.bar


#: What a release is held to, as the project's issue on the model has it.
BARS = (
    Bar("red_cells_box_ap50", "red cells, box AP50", 0.97),
    Bar("red_cells_mask_ap50", "red cells, mask AP50", 0.97),
    Bar("red_cells_box_ap", "red cells, box AP over IoU 0.5 to 0.95", 0.80),
    Bar("red_cells_mask_ap", "red cells, mask AP over IoU 0.5 to 0.95", 0.82),
    Bar("mask_pixel_accuracy", "mask pixel accuracy on separate cells", 0.97),
    Bar("spherocyte_f1", "spherocyte F1 at the operating point", 0.88),
    Bar("spherocyte_ap50", "spherocyte AP50", 0.90),
    Bar("spherocyte_percent_error", "spherocyte percentage, error in points (every patient)", 1.5, True, True),
    Bar("overlapping_pairs_separated", "overlapping pairs separated", 0.90),
    Bar("red_cell_count_error", "red-cell count of a field, median relative error", 0.05, True),
    Bar("points_red_cell_recall", "points: recall of all labelled red cells", 0.97),
    Bar("points_spherocyte_f1", "points: spherocyte F1", 0.87),
    Bar("points_false_spherocytes", "points: false spherocytes in images without one", 0.02, True),
)


def bars_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each bar with the figure that is held against it: the labelled-only mean, or that of the worst patient."""
    held = []
    for bar in BARS:
        part = "points" if bar.figure in POINT_FIGURES else "labelled_only"
        entry = document["mean"][part][bar.figure]
        value = entry["value"]
        each = [patient[part][bar.figure]["value"] for patient in document["patients"].values()]
        if bar.of_each and value is not None and None not in each:
            value = max(each) if bar.at_most else min(each)
        strict = document["mean"]["strict"].get(bar.figure, {}).get("value")
        reached = None if value is None else bar.reached_by(value)
        held.append({**asdict(bar), "value": value, "ci95": entry["ci95"], "strict": strict, "reached": reached})
    return held
