"""The model card: what a bundle is for, what it was made of, what it reaches and where it fails. Every number comes from a file.

Source of the headings: Mitchell et al. 2019, "Model cards for model reporting", arXiv:1810.03993.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sphero_core.evaluation.robustness import robustness_text
from sphero_core.training.report_text import bars_table, decisions_table, patients_table, shown, table

_INTENDED = """\
## Intended use
Finding and counting spherocytes among the red cells of May-Grünwald-Giemsa stained blood smears, in fields of a microscope's camera at 100x oil. A
technologist or haematologist sees each call on an overlay and decides; results leave as preliminary. It supports a decision and takes none.
"""

_NOT_FOR = """\
## What it must not be used for
- A diagnosis, or ruling one out: spherocytes are seen in hereditary spherocytosis, immune haemolysis, after burns and transfusion, and elsewhere.
- Results that become final without a person.
- Other stains, thick films, bone marrow, other species, whole slides, fields out of focus.
- Counts of platelets or white cells, and their classes: few of them are labelled in the training data.
- Patients unlike those below, before it was measured on them: age, disease, transfusion, stain and camera all matter.
- It is not a cleared medical device.
"""

_SCOPE = """\
Intervals are over fields, not over patients, slides or laboratories. Labels were drawn by people and are not complete; figures for labelled cells
only leave out what was found on cells without a label, strict ones count it as false.
"""


def card_text(
    bundle: Mapping[str, Any],
    sha256: str,
    report: Mapping[str, Any] | None,
    robustness: Sequence[Mapping[str, Any]] = (),
    pictures: Sequence[str] = (),
) -> str:
    """The card of a bundle as Markdown.

    Parameters
    ----------
    bundle : mapping
        Its ``bundle.json``.
    sha256 : str
    report : mapping or None
        ``report.json`` of the cross-validation by the same recipe.
    robustness : sequence of mapping
        ``robustness.json`` of this bundle, one for each labelled set.
    pictures : sequence of str
        Galleries of failures, as they are to be named.
    """
    parts = [
        [f"# Model card: {bundle['name']} {bundle['version']}", ""],
        _facts(bundle, sha256),
        [_INTENDED],
        [_NOT_FOR],
        _data(bundle),
        _operating_point(bundle),
        _figures(bundle, report),
        _robustness(robustness),
        _failures(report, pictures),
    ]
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _facts(bundle: Mapping[str, Any], sha256: str) -> list[str]:
    size = bundle["input"]
    return [
        *table(
            ["", ""],
            [
                ["SHA-256 of the bundle", f"`{sha256}`"],
                ["network", "Mask R-CNN, MobileNetV2 and FPN, of the TensorFlow Model Garden"],
                ["input", f"{size['width']} x {size['height']}, median cell {size['cell_diameter']:g} pixels across"],
                ["classes", ", ".join(bundle["classes"])],
                ["TensorFlow / Model Garden", f"{bundle['tensorflow']} / {bundle['model_garden']}"],
                ["source", f"git {bundle['git_revision']}"],
            ],
        )
    ]


def _data(bundle: Mapping[str, Any]) -> list[str]:
    lines = ["## Training data and licences", ""]
    for part in ("training_data", "training_points"):
        if part not in bundle:
            continue
        told = bundle[part]
        lines += [f"- {told.get('name', part)}. {told.get('source', '')}. Licence: {told.get('licence', 'not named')}."]
        if told.get("groups"):
            lines += [f"  Patients: {', '.join(told['groups'])}."]
        lines += [f"  {told['images']} images, SHA-256 over images and labels `{told['sha256']}`."]
        if told.get("note"):
            lines += [f"  {told['note']}."]
    run = bundle.get("run", {})
    if run.get("synthetic_share"):
        drawn = f"- {run['synthetic_fields']} smears drawn by the program, {run['synthetic_share']:.0%} of the samples."
        lines += [drawn]
    return [*lines, ""]


def _operating_point(bundle: Mapping[str, Any]) -> list[str]:
    thresholds = ", ".join(f"{name} {value:g}" for name, value in bundle["thresholds"].items())
    judge = "network and measures of the cell" if bundle.get("spherocyte_judge") else "network alone"
    calibration = bundle.get("calibration")
    return [
        "## Operating point",
        "",
        f"Thresholds: {thresholds}. Spherocytes are decided by: {judge}. Calibration: {calibration['kind'] if calibration else 'none'}.",
        f"Stopped at {bundle['inner_folds']['stop']}; all of these were chosen on inner folds.",
        "",
    ]


def _figures(bundle: Mapping[str, Any], report: Mapping[str, Any] | None) -> list[str]:
    if report is None:
        return ["## Figures", "", "No report of patients left out was given; this bundle is not to be released.", ""]
    trained = set(bundle.get("training_data", {}).get("groups", []))
    seen = sorted(trained & set(report["left_out"]))
    lines = ["## Figures on patients left out", ""]
    if seen:
        lines += [
            f"These are figures of the recipe, not of this bundle: it was trained on {', '.join(seen)} as well.",
            "Each patient is reported by a network, and by choices, that never saw it.",
            "",
        ]
    return [*lines, *bars_table(report), *patients_table(report, "labelled_only"), *decisions_table(report), _SCOPE]


def _robustness(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["## Degraded pictures", ""] if documents else []
    for document in documents:
        lines += [f"{document['images']} images; in brackets the change.", "", robustness_text(document)]
    return lines


def _failures(report: Mapping[str, Any] | None, pictures: Sequence[str]) -> list[str]:
    lines = ["## Known failures", ""]
    for bar in report["bars"] if report else ():
        if bar["reached"] is False:
            at = "at most " if bar["at_most"] else ""
            lines.append(f"- Short of the bar: {bar['text']}, {shown(bar['value'])} for {at}{bar['bar']:g}.")
    if report:
        tables = [np.array(patient["confusion"]) for patient in report["patients"].values()]
        rbc, spherocyte = np.sum(tables, axis=0)[:2].tolist()
        lines += [
            f"- Of {sum(rbc)} cells labelled RBC, {rbc[1]} were called spherocytes; {rbc[4]} were not found.",
            f"- Of {sum(spherocyte)} cells labelled Spherocyte, {spherocyte[0]} were called RBC; {spherocyte[4]} were not found.",
        ]
    return [*lines, "", *(line for name in pictures for line in (f"![Failures]({name})", ""))]
