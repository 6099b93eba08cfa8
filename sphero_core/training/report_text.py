"""The report of a cross-validation that a person reads: Markdown of the document of numbers, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sphero_core.evaluation.matching import CLASSES
from sphero_core.training.plots import PLOTS

_NAMES = {
    "red_cells_box_ap50": "red cells, box AP50",
    "red_cells_mask_ap50": "red cells, mask AP50",
    "red_cells_box_ap": "red cells, box AP",
    "red_cells_mask_ap": "red cells, mask AP",
    "mask_pixel_accuracy": "mask pixel accuracy, separate cells",
    "spherocyte_f1": "spherocyte F1",
    "spherocyte_precision": "spherocyte precision",
    "spherocyte_recall": "spherocyte recall",
    "spherocyte_ap50": "spherocyte AP50",
    "spherocyte_percent_error": "spherocyte percentage, error in points",
    "overlapping_pairs_separated": "overlapping pairs separated",
    "red_cell_count_error": "red-cell count, median relative error",
    "points_red_cell_recall": "recall of labelled red cells",
    "points_spherocyte_f1": "spherocyte F1",
    "points_spherocyte_recall": "spherocyte recall",
    "points_spherocyte_precision": "spherocyte precision at points",
    "points_false_spherocytes": "false spherocytes in images without one",
    "drawn_pairs_separated": "touching pairs separated",
    "network_alone": "network alone",
    "measures_alone": "measures alone",
    "with_judge": "both",
}


def report_text(document: Mapping[str, Any]) -> str:
    """The report as Markdown; pictures are named as `sphero_core.training.plots` and `gallery` write them."""
    run, patients = document["run"], document["patients"]
    missing = [group for group in run["groups"] if group not in patients]
    head = [
        f"# {run['name']} {run['version']}: patients left out",
        "",
        (
            f"Left out in turn: {', '.join(patients)}. Everything that is said of a patient comes from networks, stopping, thresholds, judge "
            "and calibration that never saw it. In brackets: 95 % bootstrap intervals over fields "
            f"({document['repetitions']} selections, seed {run['seed']}); those of the mean do not speak of further patients."
        ),
        "",
    ]
    if missing:
        head += [f"**Not done yet: {', '.join(missing)}. Means are over the others.**", ""]
    parts = [
        head,
        ["## What a release is held to", "", *bars_table(document)],
        _patients(document, "labelled_only", "## Labelled cells only"),
        [
            "Detections on cells that nobody labelled are left out; see the module `sphero_core.evaluation.detection`.",
            "",
        ],
        _patients(document, "strict", "## Strict: every detection without a label is false"),
        _percentages(patients),
        _patients(document, "points", "## Blocks of pointed images that no network saw"),
        _decisions(document),
        _reliability(patients),
        _agreement(patients),
        _confusion(patients),
        _patients(document, "drawn", "## Drawn smears: touching cells, truth exactly known"),
        ["What is found on drawn smears is no accuracy on real ones.", ""],
        _pictures(patients),
    ]
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def shown(value: float | None, ci95: Sequence[float] | None = None) -> str:
    """A figure and its interval as text; a dash where there is none."""
    if value is None:
        return "-"
    if ci95 is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({ci95[0]:.3f} to {ci95[1]:.3f})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table and the blank line after it."""
    lines = [header, ["---"] * len(header), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def _entry(entry: Mapping[str, Any]) -> str:
    return shown(entry["value"], entry["ci95"])


def bars_table(document: Mapping[str, Any]) -> list[str]:
    """Each bar, what is held against it, and whether it is reached."""
    words = {True: "yes", False: "**no**", None: "-"}
    rows = [
        [
            bar["text"],
            shown(bar["value"], None if bar["of_each"] else bar["ci95"]),
            shown(bar["strict"]),
            f"{'at most ' if bar['at_most'] else ''}{bar['bar']:g}",
            words[bar["reached"]],
        ]
        for bar in document["bars"]
    ]
    return table(["figure, mean over left-out patients", "labelled-only", "strict", "bar", "reached"], rows)


def _patients(document: Mapping[str, Any], part: str, title: str) -> list[str]:
    if all(entry["value"] is None for entry in document["mean"][part].values()):
        return []
    return [title, "", *patients_table(document, part)]


def patients_table(document: Mapping[str, Any], part: str) -> list[str]:
    """Every figure of a part of the report by patient, and its mean."""
    patients = document["patients"]
    rows = [
        [_NAMES[name], *(_entry(patient[part][name]) for patient in patients.values()), _entry(mean)]
        for name, mean in document["mean"][part].items()
    ]
    return table(["figure", *patients, "mean"], rows)


def _percentages(patients: Mapping[str, Any]) -> list[str]:
    rows = [
        [name, str(p["fields"]), shown(p["percent"]["found"]), shown(p["percent"]["labelled"])]
        for name, p in patients.items()
    ]
    header = ["patient", "fields", "spherocytes in 100 red cells, found", "labelled"]
    return ["## Spherocyte percentage", "", *table(header, rows), f"![Percentages]({PLOTS['percentage']})", ""]


def _decisions(document: Mapping[str, Any]) -> list[str]:
    kept = [
        f"{name}: {_NAMES[p['kept']]}" + (f", {p['calibration']} calibration" if p["calibration"] else "")
        for name, p in document["patients"].items()
    ]
    return [
        "## Network alone, measures alone, both",
        "",
        "Each fold fits judge and calibration on its inner folds and chooses there; labelled cells only, means over the left-out patients.",
        "",
        *decisions_table(document),
        f"Chosen by the inner folds: {'; '.join(kept)}.",
        "",
    ]


def decisions_table(document: Mapping[str, Any]) -> list[str]:
    """Means over the left-out patients by way to decide on spherocytes."""
    rows = [[_NAMES[name], *(shown(value) for value in each.values())] for name, each in document["decisions"].items()]
    return table(["spherocytes decided by", "AP50", "F1", "percentage, error in points", "Brier score"], rows)


def _reliability(patients: Mapping[str, Any]) -> list[str]:
    stages = ("network", "before_calibration", "served")
    rows = [
        [
            name,
            *(f"{shown(p['reliability'][s]['brier'])} / {shown(p['reliability'][s]['error'])}" for s in stages),
        ]
        for name, p in patients.items()
    ]
    return [
        "## Does a probability mean what it says?",
        "",
        "Brier score / expected calibration error of P(Spherocyte | red cell), over the labelled red cells that were found.",
        "",
        *table(["patient", "the network's", "before calibration", "as served"], rows),
        f"![Reliability]({PLOTS['reliability']})",
        "",
    ]


def _agreement(patients: Mapping[str, Any]) -> list[str]:
    def limits(each: Mapping[str, float] | None) -> str:
        return "-" if each is None else f"{each['bias']:+.2f} ({each['low']:+.2f} to {each['high']:+.2f})"

    rows = [
        [name, limits(p["agreement"]["red_cells"]), limits(p["agreement"]["spherocytes"])]
        for name, p in patients.items()
    ]
    return [
        "## Agreement of counts",
        "",
        "Found less labelled, cells a field: bias (95 % limits of agreement), labelled cells only.",
        "",
        *table(["patient", "red cells", "spherocytes"], rows),
        f"![Agreement]({PLOTS['agreement']})",
        "",
    ]


def _confusion(patients: Mapping[str, Any]) -> list[str]:
    names = [str(c) for c in CLASSES]
    total = [[sum(p["confusion"][i][j] for p in patients.values()) for j in range(5)] for i in range(5)]
    rows = [
        [label, *(str(v) for v in row[:4]), str(row[4]) if label != "no label" else "-"]
        for label, row in zip([*names, "no label"], total, strict=True)
    ]
    return [
        "## Confusion",
        "",
        "All left-out patients, labelled class in rows; detections on unlabelled cells are left out.",
        "",
        *table(["labelled", *(f"called {name}" for name in names), "missed"], rows),
        f"![Precision and recall]({PLOTS['precision_recall']})",
        "",
    ]


def _pictures(patients: Mapping[str, Any]) -> list[str]:
    return [
        "## Failures, the most certain first",
        "",
        *(line for name in patients for line in (f"![Failures of {name}](failures-{name}.png)", "")),
    ]
