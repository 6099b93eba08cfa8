"""`sphero case`: the cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.lineage import as_text, lineage_rows
from flows.cli.output import AsJson, fail, print_facts, print_json, print_rows
from flows.cli.records import one_case, one_order, open_database, person

if TYPE_CHECKING:
    from db.session import UnitOfWork
    from db.views import CaseView, ReportView

app = typer.Typer(help="The cases.", no_args_is_help=True, rich_markup_mode=None)


WAITING = ("held", "analysed", "reported")


@app.command("list")
def list_cases(
    state: Annotated[str, typer.Option(help="Only cases in this state, such as held.")] = "",
    waiting: Annotated[bool, typer.Option("--waiting", help="Only cases that wait for a person.")] = False,
    older: Annotated[str, typer.Option(help="Only cases older than this, such as 30m, 4h or 2d.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the cases, the latest first: how old they are, what is out, and what a person has to do."""
    from db.context import utc_now
    from db.states import CaseState
    from flows.cli.message_list import duration
    from flows.cli.worklist import print_worklist, row_of

    if state and state not in list(CaseState):
        raise typer.BadParameter(f"states are {', '.join(CaseState)}", param_hint="--state")
    now = utc_now()
    before = now - duration(older) if older else now
    with open_database().reading() as work:
        states = [CaseState(state)] if state else [CaseState(each) for each in WAITING] if waiting else None
        cases = list(work.cases.list(states, created_before=before, limit=limit))
        if waiting and not state:  # signed ones in which a cell got another class since
            cases += [case for case in map(work.cases.get, work.reviews.unsigned()) if case.created_at <= before]
        rows = [row_of(work, case, now) for case in cases]
    print_worklist([row for row in rows if row["to do"] or not waiting], as_json=as_json)


@app.command("show")
def show_case(
    case: Annotated[str, typer.Argument(help="Our id of the case, or its accession number.")],
    as_json: AsJson = False,
) -> None:
    """Show one case: its fields, what was refused, its reports, and each message from its source to the answer."""
    with open_database().reading() as work:
        shown = _details(work, one_case(work, case))
    if as_json:
        print_json(shown)
        return
    shown["lineage"] = as_text(shown["lineage"])
    print_facts({name: value for name, value in shown.items() if not isinstance(value, list)})
    for name in ("statistics", "limitations", "fields", "refused files", "reports", "messages", "lineage"):
        if shown[name]:
            print(f"\n{name}")
            print_rows(shown[name], as_json=False, empty="")


@app.command("link")
def link_case(
    case: Annotated[str, typer.Argument(help="Our id of the case, or its accession number.")],
    order: Annotated[
        str, typer.Argument(metavar="[ORDER]", help="The order's id, accession, placer or filler number.")
    ] = "",
    no_order: Annotated[
        bool, typer.Option("--no-order", help="The case has no order and goes on without one.")
    ] = False,
    by: Annotated[str, typer.Option(help="Who says so, for the audit; the login by default.")] = "",
) -> None:
    """Say to which order a case belongs; it takes patient and numbers from it and is held no longer for want of it."""
    from db.errors import IllegalMove

    if bool(order) == no_order:
        raise typer.BadParameter("give an order, or --no-order", param_hint="ORDER")
    database = open_database()
    try:
        with database.transaction(person(by)) as work:
            case_id = one_case(work, case).case_id
            work.matching.link(case_id, one_order(work, order).order_id if order else None)
            view = work.cases.get(case_id)
    except IllegalMove as error:
        fail(error)
    held = f", still held for {', '.join(view.hold_reasons)}" if view.hold_reasons else ""
    print(f"case {case_id} is linked {'to its order' if order else 'to no order'}{held}")


def _details(work: UnitOfWork, case: CaseView) -> dict[str, Any]:
    from db.context import utc_now
    from flows.cli.worklist import row_of

    sources = work.objects.sources_of(case.case_id)
    return {
        **row_of(work, case, utc_now()),
        "last arrival": case.last_arrival_at,
        "attempts": case.attempts,
        "worker": case.lease_owner,
        "flow run": case.flow_run_id,
        "relabelled cells": work.reviews.relabelled(case.case_id),
        "order": order.order_id if (order := work.orders.of_case(case.case_id)) is not None else None,
        **_counted(work, case),
        "fields": [
            {
                "number": field.number,
                "field": field.field_id,
                "state": field.state.value,
                "pixels": f"{field.width} x {field.height}",
                "source SOP UID": sources[field.field_id].sop_instance_uid if field.field_id in sources else None,
                "source hash": field.sha256,
                "stored as": field.stored_name,
                "reason": field.reason,
            }
            for field in work.fields.of_case(case.case_id)
        ],
        "refused files": [
            {"kept as": file.stored_name, "bytes": file.size_bytes, "reason": file.reason}
            for file in work.fields.quarantined_files(case.case_id)
        ],
        "reports": [
            {
                "version": report.revision,
                "status": report.status.value,
                "red cells": report.counts.red_cells,
                "spherocytes": report.counts.spherocytes,
                "percent": None
                if report.counts.spherocyte_percent is None
                else round(report.counts.spherocyte_percent, 2),
                "grade": _grade(report),
                "by": report.act.actor.shown if report.act else "the program",
                "no result": report.not_obtained,
                "at": report.created_at,
            }
            for report in work.reports.of_case(case.case_id)
        ],
        "messages": [
            {
                "message": message.message_id,
                "to": message.destination,
                "state": message.state.value,
                "answer": message.ack_code,
                "control id": message.control_id,
            }
            for message in work.outbox.of_case(case.case_id)
        ],
        "lineage": lineage_rows(work, case.case_id),
    }


def _counted(work: UnitOfWork, case: CaseView) -> dict[str, Any]:
    """What stands behind the numbers of the latest version."""
    from sphero_core.case_facts import case_facts

    reports = work.reports.of_case(case.case_id)
    if not reports or reports[-1].not_obtained is not None:
        return {"statistics": [], "limitations": []}
    counts = reports[-1].counts
    interval = [] if counts.ci95 is None else [("95 % interval", f"{counts.ci95[0]:.1f} to {counts.ci95[1]:.1f} %")]
    detected = [counts.grading.reason] if counts.grading else []
    return {
        "statistics": [{"what": name, "value": value} for name, value in (*interval, *case_facts(counts))],
        "limitations": [{"limitation": text} for text in (*detected, *counts.limitations)],
    }


def _grade(report: ReportView) -> str | None:
    if report.act is not None and report.act.grade is not None:
        return f"{report.act.grade.grade} (was {report.act.grade.machine_grade})"
    return report.counts.grading.grade if report.counts.grading else None
