"""`sphero case release`: lets a case go on that is held since a backup was restored."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.output import fail
from flows.cli.records import open_database, person


def release_cases(
    cases: Annotated[
        list[str], typer.Argument(metavar="CASE...", help="Our ids, as `sphero case list --state held` shows.")
    ],
    by: Annotated[str, typer.Option(help="Who does so; your own login by default.")] = "",
) -> None:
    """Let cases go on that are held since a backup was restored, once a person knows what the LIS has of them.

    deploy/docs/runbooks/disaster-recovery.md tells which. Other reasons for which they are held stay.
    """
    from db.states import HoldReason

    database = open_database()
    for case_id in cases:
        with database.transaction(person(by)) as work:
            if HoldReason.RESTORED not in work.cases.get(case_id).hold_reasons:
                fail(f"case {case_id} is not held since a restore; `sphero case show {case_id}` says for what it is")
            work.cases.release(case_id, HoldReason.RESTORED)
            state = work.cases.get(case_id).state
        print(f"case {case_id} is {state}")
