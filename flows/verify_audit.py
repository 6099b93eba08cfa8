"""The flow `verify-audit`: is the audit log whole? A failed run says where it is not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas import State
from prefect.states import Completed, Failed

from db.anchors import AnchorFile
from db.views import AuditVerdict
from flows.run_support import interruptible, shown_safely
from flows.services import services

MOST_TOLD = 3  # problems in the run's message; the others stand in its table


@flow(name="verify-audit", flow_run_name="verify audit log", persist_result=False)
async def verify_audit() -> State[Any]:
    """Read the audit log from its first event to its last, and say whether its chain is whole and ends where it should."""
    async with interruptible(), shown_safely():
        verdict = await asyncio.to_thread(_verdict)
        for problem in verdict.problems:
            get_run_logger().error("%s", problem)
        if verdict.problems:
            await acreate_table_artifact(
                table=[{"place": problem} for problem in verdict.problems],
                key="audit-log-is-broken",
                description="Where the audit log is broken",
            )
    if verdict.intact:
        return Completed(message=f"{verdict.events} events, the chain is whole")
    places = "; ".join(verdict.problems[:MOST_TOLD])
    more = len(verdict.problems) - MOST_TOLD
    said = f"{places}{f'; and {more} more' if more > 0 else ''}"
    return Failed(
        name="Broken", message=f"the audit log is broken: {said}; keep the database as it is and call a person"
    )


def _verdict() -> AuditVerdict:
    kept = AnchorFile(Path(services().settings.audit.anchor_folder)).read()
    with services().database.reading() as work:
        return work.audit.verify(kept.heads)
