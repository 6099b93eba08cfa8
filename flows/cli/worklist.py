"""The worklist: cases with their age, what a person has to do, and what is out; a table with colours on a screen."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows.cli.output import print_rows

if TYPE_CHECKING:
    from db.session import UnitOfWork
    from db.views import CaseView

STYLES = {"held": "bold red", "analysed": "bold yellow", "reported": "yellow", "signed": "green", "rejected": "dim"}


def row_of(work: UnitOfWork, case: CaseView, now: datetime) -> dict[str, Any]:
    """One case as a line of the worklist."""
    reports = work.reports.of_case(case.case_id)
    latest = reports[-1] if reports else None
    counts = latest.counts if latest is not None and latest.tells_result else None
    percent = None if counts is None or counts.spherocyte_percent is None else round(counts.spherocyte_percent, 1)
    graded = latest.act.grade.grade if latest is not None and latest.act is not None and latest.act.grade else None
    return {
        "case": case.case_id,
        "accession": work.identities.get(case.case_id).accession,
        "state": case.state.value,
        "age": age_of(now, case.created_at),
        "to do": to_do(work, case),
        "held for": ", ".join(case.hold_reasons) or None,
        "version": case.revision,
        "out": latest.status.value if latest is not None else None,
        "percent": percent,
        "grade": graded or (counts.grading.grade if counts is not None and counts.grading is not None else None),
        "fields": case.fields,
        "refused": case.fields_quarantined + case.files_quarantined,
        "created": case.created_at,
    }


def to_do(work: UnitOfWork, case: CaseView) -> str | None:
    """What a person has to do about a case; None where it waits for nobody."""
    from db.release_moves import Standing
    from db.states import CaseState

    if case.state is CaseState.HELD:
        return "look into it"
    if case.state is CaseState.REPORTED:
        return "sign" if work.reports.standing(case.case_id) is Standing.PRELIMINARY else None
    if case.state is CaseState.ANALYSED:
        return "sign the correction" if work.reports.standing(case.case_id) is Standing.FINAL else "sign"
    if case.state is CaseState.SIGNED and case.case_id in work.reviews.unsigned():
        return "sign the correction"
    return None


def age_of(now: datetime, since: datetime) -> str:
    """How long ago, in the largest unit that says something."""
    seconds = max(0, int((now - since).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def print_worklist(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print the worklist: JSON, plain columns for programs, or a table on a screen."""
    if as_json or not rows or not sys.stdout.isatty():
        print_rows(rows, as_json=as_json, empty="no cases")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [name for name in rows[0] if name not in ("created", "version")]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column(name, overflow="fold", no_wrap=name in ("age", "state"))
    for row in rows:
        # Text, not markup: an accession number may hold brackets.
        cells = [Text("-" if row[name] is None else str(row[name])) for name in shown]
        cells[shown.index("state")].stylize(STYLES.get(str(row["state"]), ""))
        table.add_row(*cells)
    Console().print(table)
