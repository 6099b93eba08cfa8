"""`sphero audit`: who did what to which case."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.output import AsJson, fail, print_json, print_rows
from flows.cli.records import open_database

app = typer.Typer(help="The audit log.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_events(
    case: Annotated[str | None, typer.Option(help="Only events of this case, by our id of it.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List audit events in order."""
    with open_database().reading() as work:
        events = work.audit.list(case, after=after, limit=limit)
    rows = [
        {
            "number": event.sequence,
            "at": event.at,
            "who": event.actor,
            "what": event.action,
            "case": event.case_id,
            "detail": event.detail,
        }
        for event in events
    ]
    print_rows(rows, as_json=as_json, empty="no events")


@app.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Say whether the chain of audit events is whole; exit code 1 where it is not."""
    with open_database().reading() as work:
        verdict = work.audit.verify()
    if as_json:
        print_json(
            {
                "intact": verdict.intact,
                "events": verdict.events,
                "head": {"number": verdict.head.sequence, "hash": verdict.head.hash},
                "problems": verdict.problems,
            }
        )
    else:
        for problem in verdict.problems:
            print(problem)
        print(f"{verdict.events} events, head {verdict.head.sequence} {verdict.head.hash}")
    if not verdict.intact:
        fail(
            f"the audit chain is broken in {len(verdict.problems)} places; keep the database as it is and call a person"
        )
    if not as_json:
        print("the chain is whole")
