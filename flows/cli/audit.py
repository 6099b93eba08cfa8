"""`sphero audit`: who did what to which case."""

from __future__ import annotations

from pathlib import Path
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


WHAT_TO_DO = (
    "keep database, anchors and logs as they are; take a copy; compare with the last backup, restored into an "
    "empty place, from the first event named on; deploy/docs/runbooks/audit.md goes on from here"
)


@app.command("verify")
def verify(
    anchors: Annotated[
        list[Path] | None, typer.Option(help="A copy of the anchor file that was kept elsewhere; may be given again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether the chain of audit events is whole and ends where it should; exit code 1 where not.

    An edit, a cut, a swap or an insertion breaks the chain. That its end was cut, or that it was written anew, is seen by
    the heads that were kept outside the database: those of [audit] anchor_folder, and of every file given.
    """
    from db.anchors import AnchorFile, read_anchors
    from flows.config import load_settings

    database = open_database()
    files = [AnchorFile(Path(load_settings().audit.anchor_folder)).read(), *map(read_anchors, anchors or [])]
    heads = [head for file in files for head in file.heads]
    with database.reading() as work:
        verdict = work.audit.verify(heads)
    problems = [problem for file in files for problem in file.problems] + list(verdict.problems)
    notes = [note for file in files for note in file.notes]
    last = max((head.sequence for head in heads), default=0)
    if as_json:
        print_json(
            {
                "intact": not problems,
                "events": verdict.events,
                "head": {"number": verdict.head.sequence, "hash": verdict.head.hash},
                "anchors": len(heads),
                "anchored": last,
                "notes": notes,
                "problems": problems,
            }
        )
    else:
        for line in (*notes, *problems):
            print(line)
        print(f"{verdict.events} events, head {verdict.head.sequence} {verdict.head.hash}")
        print(f"{len(heads)} heads were kept outside, the last of event {last}")
    if problems:
        fail(f"the audit chain is broken in {len(problems)} places; {WHAT_TO_DO}")
    if not as_json:
        print("the chain is whole" if heads else "the chain is whole, but no head was kept outside: its end may be cut")


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="File to write; it must not be there yet.")],
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
) -> None:
    """Write the events as DICOM audit messages (PS3.15 A.5), one XML document a line; they name no patient."""
    from flows.audit_forwarder import as_message, audit_source, events_after
    from flows.config import load_settings

    source, last, count = audit_source(load_settings()), after, 0
    with open_database() as database, out.open("xb") as file:
        for event in events_after(database, after):
            file.write(as_message(event, source) + b"\n")
            last, count = event.sequence, count + 1
    print(f"{count} events, the last is {last}; go on with --after {last}")
