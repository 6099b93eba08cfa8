"""What people read in Prefect: tables and summaries of a case. Ids and numbers only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from db.states import MessageState, ReportStatus
from db.views import MessageView, PictureView, ReportView
from flows.analyse import CaseResult
from flows.taken import Taken
from sphero_core.types import CaseCounts, CellClass, FieldFindings

_STATUS = {
    ReportStatus.PRELIMINARY: "preliminary",
    ReportStatus.FINAL: "final",
    ReportStatus.CORRECTED: "corrected",
    ReportStatus.NOT_OBTAINED: "no result",
    ReportStatus.WRONG_PATIENT: "withdrawn: wrong patient",
}
_WORDS = {
    MessageState.DELIVERED: "accepted",
    MessageState.WAITING: "waits",
    MessageState.RETRY: "waits for the next attempt",
    MessageState.UNKNOWN: "no valid answer; the same bytes go out again",
    MessageState.SENDING: "is being sent",
    MessageState.PARKED: "refused",
    MessageState.SKIPPED: "skipped by a person",
}


def field_line(findings: FieldFindings) -> str:
    """One field in one line."""
    if not findings.quality.accepted:
        return "not counted: " + "; ".join(findings.quality.reasons)
    found = _found(findings)
    spherocytes = found[CellClass.SPHEROCYTE]
    passes = "1 pass" if findings.passes == 1 else f"{findings.passes} passes"
    return (
        f"{found[CellClass.RBC] + spherocytes} red cells, {spherocytes} of them spherocytes; "
        f"{passes}, {findings.seconds:.1f} s"
    )


def counts_table(result: CaseResult, pictures: Mapping[str, PictureView], picture_url: str) -> list[dict[str, Any]]:
    """Counts by field, cells cut by the edge left out, and the whole case."""
    rows: list[dict[str, Any]] = []
    for number, field in enumerate(result.fields, start=1):
        found, accepted = _found(field.findings), field.findings.quality.accepted
        picture = pictures.get(field.field.field_id)
        rows.append(
            {
                "field": number,
                "red cells": found[CellClass.RBC] + found[CellClass.SPHEROCYTE] if accepted else "",
                "spherocytes": found[CellClass.SPHEROCYTE] if accepted else "",
                "platelets": found[CellClass.PLATELET] if accepted else "",
                "white cells": found[CellClass.WBC] if accepted else "",
                "remark": "; ".join(field.findings.quality.reasons),
                "picture": f"{picture_url}/{picture.picture_id}" if picture else "",
            }
        )
    rows += [{"field": "refused", "remark": field.reason or ""} for field in result.refused]
    counts = result.report.counts
    rows.append({"field": "case", "red cells": counts.red_cells, "spherocytes": counts.spherocytes})
    columns = ("field", "red cells", "spherocytes", "platelets", "white cells", "remark", "picture")
    return [{column: row.get(column, "") for column in columns} for row in rows]


def summary_markdown(
    result: CaseResult,
    messages: Sequence[MessageView],
    pictures: Mapping[str, PictureView],
    picture_url: str,
    *,
    most_pictures: int,
) -> str:
    """The case on one page, with so many of its pictures."""
    report = result.report
    lines = [
        f"## Case {report.case_id}, version {report.revision} ({_STATUS[report.status]})",
        "",
        f"**{report_line(report)}**",
        "",
        f"{report.counts.red_cells} red cells in {report.counts.fields} fields.",
        f"Model {report.bundle.name} {report.bundle.version}." if report.bundle else "No field was analysed.",
        "",
        *(f"- {limitation}" for limitation in report.counts.limitations),
        "",
        "### Delivery",
        "",
        *(delivery_line(message) for message in messages),
        *(["- no destination is set: the result stays here"] if not messages else []),
        "",
        "### Fields",
        "",
    ]
    for number, field in enumerate(result.fields, start=1):
        picture = pictures.get(field.field.field_id)
        link = f" [picture]({picture_url}/{picture.picture_id})" if picture else ""
        lines.append(f"- {number}: {field_line(field.findings)}{link}")
    for number, field in enumerate(result.fields[:most_pictures], start=1):
        if picture := pictures.get(field.field.field_id):
            lines += ["", f"![field {number}]({picture_url}/{picture.picture_id})"]
    return "\n".join(lines)


def gallery_markdown(
    result: CaseResult, pictures: Mapping[str, PictureView], picture_url: str, *, most: int, columns: int = 3
) -> str:
    """Small pictures of the fields side by side, each with its spherocytes of its red cells and a link to the large one."""
    shown = [
        (number, field.findings, pictures[field.field.field_id])
        for number, field in enumerate(result.fields, start=1)
        if field.field.field_id in pictures
    ]
    lines = [f"## Case {result.report.case_id}, version {result.report.revision}: {len(result.fields)} fields", ""]
    lines += ["|" + " |" * columns, "|" + " :-: |" * columns]
    for first in range(0, min(len(shown), most), columns):
        row = shown[first : min(first + columns, most)]
        cells = []
        for number, findings, picture in row:
            url = f"{picture_url}/{picture.picture_id}"
            cells.append(f"![field {number}]({url}/small) [{number}: {_short(findings)}]({url})")
        lines.append("| " + " | ".join([*cells, *[""] * (columns - len(row))]) + " |")
    if len(shown) > most:
        lines += ["", f"{len(shown) - most} more are linked on the case's page."]
    return "\n".join(lines)


def _short(findings: FieldFindings) -> str:
    if not findings.quality.accepted:
        return "not counted"
    found = _found(findings)
    return f"{found[CellClass.SPHEROCYTE]} of {found[CellClass.RBC] + found[CellClass.SPHEROCYTE]}"


def report_line(report: ReportView) -> str:
    """A report in one line."""
    if report.not_obtained is not None:
        return "No result: " + "; ".join(report.not_obtained.splitlines())
    return percentage(report.counts)


def counts_line(counts: CaseCounts) -> str:
    """The case's counts in words."""
    return f"{counts.red_cells} red cells, {counts.spherocytes} of them spherocytes, in {counts.fields} fields"


def percentage(counts: CaseCounts) -> str:
    """The result in words."""
    if counts.spherocyte_percent is None or counts.ci95 is None:
        return "No red cell was counted"
    low, high = counts.ci95
    graded = f", grade {counts.grading.grade} by the scheme {counts.grading.scheme}" if counts.grading else ""
    return f"{counts.spherocyte_percent:.1f} % spherocytes (95 % interval {low:.1f} to {high:.1f} %){graded}"


def delivery_line(message: MessageView) -> str:
    """One message in one line."""
    answer = f" with {message.ack_code}" if message.ack_code else ""
    why = f" ({message.reason})" if message.reason and message.state is not MessageState.DELIVERED else ""
    why += "; a person must look" if message.state is MessageState.PARKED else ""
    return f"- {message.destination}: {_WORDS[message.state]}{answer}, control id {message.control_id}{why}"


def messages_table(messages: Sequence[MessageView]) -> list[dict[str, Any]]:
    """Messages with their fate."""
    return [
        {
            "case": message.case_id,
            "version": message.revision,
            "control id": message.control_id,
            "state": _WORDS[message.state],
            "answer": message.ack_code or "",
            "attempts": message.attempts,
            "why": message.reason or "",
        }
        for message in messages
    ]


def taken_row(taken: Taken) -> dict[str, Any]:
    """What came in for one case in one look."""
    return {
        "case": taken.case_id or "none",
        "new fields": taken.fields,
        "known before": taken.known,
        "refused": "; ".join(taken.refused),
    }


def _found(findings: FieldFindings) -> Counter[CellClass]:
    return Counter(cell.cell_class for cell in findings.cells if not cell.touches_border)
