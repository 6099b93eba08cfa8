"""`sphero housekeeping`: what the retention policy takes away."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.output import AsJson, print_rows
from flows.cli.records import open_database


def housekeeping(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say of which cases something is due, and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take away originals, cells and reports for people of closed cases that are older than [retention] says.

    Results, messages and audit stay; each removal is audited. What two cases share stays until both are due.
    """
    from flows.config import load_settings
    from flows.places import places_of
    from flows.retention import apply_policy, due_cases, policy_of

    settings, database = load_settings(), open_database()
    empty = "nothing is due" if policy_of(settings) else "[retention] keeps everything"
    if dry_run:
        due = [
            {"case": case_id, "kind": kind, "after days": days}
            for kind, days in policy_of(settings).items()
            for case_id in due_cases(database, kind, days)
        ]
        print_rows(due, as_json=as_json, empty=empty)
        return
    rows = [
        {"case": each.case_id, "kind": each.kind, "items": each.items, "bytes": each.size}
        for each in apply_policy(settings, database, places_of(settings))
    ]
    print_rows(rows, as_json=as_json, empty=empty)
