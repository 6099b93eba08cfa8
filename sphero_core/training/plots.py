"""Plots of a cross-validation, drawn from its document of numbers. Colours: Okabe and Ito 2008."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: File of each plot.
PLOTS = {
    "precision_recall": "precision-recall.png",
    "reliability": "reliability.png",
    "agreement": "agreement.png",
    "percentage": "percentage.png",
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}


def draw_plots(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every plot of a report into a folder; gives their files."""
    makers = {
        "precision_recall": _precision_recall,
        "reliability": _reliability,
        "agreement": _agreement,
        "percentage": _percentage,
    }
    written = []
    with mpl.rc_context(_STYLE):
        for name, make in makers.items():
            figure = make(document["patients"])
            figure.savefig(folder / PLOTS[name], dpi=120, bbox_inches="tight")
            written.append(folder / PLOTS[name])
    return written


def _axes(columns: int, width: float = 4.2) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * columns, 3.8), layout="constrained")
    return figure, [figure.add_subplot(1, columns, i + 1) for i in range(columns)]


def _precision_recall(patients: Mapping[str, Any]) -> Figure:
    figure, axes = _axes(2)
    for ax, (kind, title) in zip(axes, (("red_cells", "Red cells"), ("spherocytes", "Spherocytes")), strict=True):
        for colour, (name, patient) in zip(COLOURS, patients.items(), strict=False):
            line = [np.nan if v is None else v for v in patient["precision_at_recalls"][kind]]
            ax.plot(np.linspace(0, 1, len(line)), line, color=colour, label=name, lw=1.4)
        ax.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.02), title=f"{title}, IoU 0.5")
    axes[0].legend(loc="lower left")
    return figure


def _reliability(patients: Mapping[str, Any]) -> Figure:
    figure, axes = _axes(3, 3.6)
    titles = {"network": "The network's", "before_calibration": "Before calibration", "served": "As served"}
    for ax, (stage, title) in zip(axes, titles.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="#999999", lw=0.8, ls="--")
        for colour, (name, patient) in zip(COLOURS, patients.items(), strict=False):
            told = patient["reliability"][stage]
            seen = [i for i, cells in enumerate(told["cells"]) if cells]
            ax.plot(
                [told["given"][i] for i in seen], [told["happened"][i] for i in seen], color=colour, lw=1, label=name
            )
            ax.scatter(
                [told["given"][i] for i in seen],
                [told["happened"][i] for i in seen],
                s=[6 + 3 * np.sqrt(told["cells"][i]) for i in seen],
                color=colour,
            )
        ax.set(xlabel="P(Spherocyte | red cell)", xlim=(0, 1), ylim=(0, 1), title=title)
    axes[0].set_ylabel("Share labelled Spherocyte")
    axes[0].legend(loc="upper left")
    return figure


def _agreement(patients: Mapping[str, Any]) -> Figure:
    figure, axes = _axes(2)
    for ax, (kind, title) in zip(axes, (("red_cells", "Red cells"), ("spherocytes", "Spherocytes")), strict=True):
        pooled = []
        for colour, (name, patient) in zip(COLOURS, patients.items(), strict=False):
            pairs = np.array([field[kind] for field in patient["counts"]], float).reshape(-1, 2)
            ax.scatter(pairs.mean(axis=1), pairs[:, 0] - pairs[:, 1], s=12, color=colour, alpha=0.7, label=name)
            pooled += (pairs[:, 0] - pairs[:, 1]).tolist()
        if len(pooled) > 1:
            bias, spread = float(np.mean(pooled)), float(np.std(pooled, ddof=1))
            for level, style in ((bias, "-"), (bias - 1.96 * spread, "--"), (bias + 1.96 * spread, "--")):
                ax.axhline(level, color="#555555", lw=0.9, ls=style)
                ax.annotate(f"{level:+.1f}", (1.0, level), xycoords=("axes fraction", "data"), va="bottom", ha="right")
        ax.set(xlabel="Mean of found and labelled, cells a field", title=f"{title}: found less labelled")
    axes[0].set_ylabel("Difference, cells a field")
    axes[0].legend(loc="best")
    return figure


def _percentage(patients: Mapping[str, Any]) -> Figure:
    figure, (ax,) = _axes(1)
    both = [(p["percent"]["labelled"], p["percent"]["found"]) for p in patients.values()]
    known = [pair for pair in both if None not in pair]
    top = max([*(v for pair in known for v in pair), 1.0]) * 1.15
    ax.fill_between([0, top], [-1.5, top - 1.5], [1.5, top + 1.5], color="#DDDDDD", lw=0, label="within 1.5 points")
    ax.plot([0, top], [0, top], color="#777777", lw=0.8)
    for colour, name, pair in zip(COLOURS, patients, both, strict=False):
        if None not in pair:
            ax.scatter([pair[0]], [pair[1]], color=colour, label=name, zorder=3)
    ax.set(xlabel="Labelled, %", ylabel="Found, %", xlim=(0, top), ylim=(0, top), title="Spherocytes in 100 red cells")
    ax.legend(loc="upper left")
    return figure
