"""A cross-validation from its first network to the files that people read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sphero_core.training.crossval import Fold, Work, final_bundle, folds, networks_of
from sphero_core.training.gallery import draw_failures
from sphero_core.training.plots import draw_plots
from sphero_core.training.predict import write_whole
from sphero_core.training.report import report_of
from sphero_core.training.report_text import report_text

REPORT_JSON, REPORT = "report.json", "report.md"


def run_all(work: Work, only: Sequence[str] = (), *, final: bool = False) -> list[Path]:
    """Run every fold, or those named, and write the report anew after each; then the bundle, if it is asked for.

    Returns
    -------
    list of Path
        What was written for people.
    """
    work.networks = len(networks_of(work.run.groups, only, final=final))
    done: list[Fold] = []
    written: list[Path] = []
    for fold in folds(work, only):
        done.append(fold)
        work.tell(f"{fold.patient}: figures and their intervals")
        document = report_of(work.run, done)
        written = write_report(document, done, work.out)
    if final:
        figures = {
            name: json.loads((work.out / REPORT_JSON).read_text())[name] for name in ("mean", "bars", "left_out")
        }
        final_bundle(work, figures)
        written.append(work.out / "bundle")
    return written


def write_report(document: dict[str, Any], done: Sequence[Fold], folder: Path) -> list[Path]:
    """Write ``report.json``, ``report.md``, the plots and a gallery of failures for each fold."""
    write_whole(folder / REPORT_JSON, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
    draw_plots(document, folder)
    for fold in done:
        picture = folder / f"failures-{fold.patient}.png"
        draw_failures(fold.fields, fold.decisions[fold.kept], fold.patient, picture)
    write_whole(folder / REPORT, report_text(document).encode())
    return [folder / REPORT, folder / REPORT_JSON]
