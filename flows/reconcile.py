"""The flow `reconcile`: our database is the truth, and Prefect is brought to show it.

The worker sees to it every few seconds that each case has a run. What this flow adds is the look back: runs that ended
otherwise than their case did, since Prefect was away, a person sent a message again, or the case was closed elsewhere. Such
a run is executed once more: it finds its case done, sends nothing, and ends as it should have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas import FlowRun, State
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry, Completed

from db.errors import NotFound
from db.session import UnitOfWork
from db.states import DONE_MESSAGES, CaseState, MessageState
from flows.case_runs import WAITING
from flows.hold_words import hold_words
from flows.run_support import interruptible, shown_safely
from flows.services import services

LOOK_BACK = timedelta(days=7)
PAGE = 200
MOST_LISTED = 200
#: How runs end that may end otherwise later. "NoResult" stays what it is.
MAY_CHANGE = ["Failed", "Crashed", "TimedOut", "Held", "Parked", "Waiting", "AwaitsSignature"]


@flow(name="reconcile", flow_run_name="reconcile", persist_result=False)
async def reconcile() -> State[Any]:
    """Bring what Prefect shows of cases in line with our database, and list what waits for a person."""
    async with interruptible(), shown_safely():
        services().nudge()
        async with get_client() as client:
            righted = await asyncio.to_thread(_ended_otherwise, await _ended(client))
            for run in righted:
                get_run_logger().info("%s ended as %s, its case did not", run.name, run.state_name)
                again: State[Any] = AwaitingRetry(message="its case came to another end; the run is to show it")
                await client.set_flow_run_state(run.id, again, force=True)
        waits = await asyncio.to_thread(_waits_for_a_person)
        if waits:
            await acreate_table_artifact(
                table=waits, key="waits-for-a-person", description="Cases and messages that wait for a person"
            )
    return Completed(message=f"{len(righted)} runs were put right; {len(waits)} cases and messages wait for a person")


async def _ended(client: PrefectClient) -> list[FlowRun]:
    """Runs of cases whose end may no longer be that of their case."""
    return await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["process-case"])),
        flow_run_filter=FlowRunFilter(
            end_time=FlowRunFilterEndTime(after_=datetime.now(UTC) - LOOK_BACK),  # type: ignore[arg-type]  # aware will do
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=MAY_CHANGE)),
        ),
        sort=FlowRunSort.END_TIME_DESC,
        limit=PAGE,
    )


def _ended_otherwise(runs: Iterable[FlowRun]) -> list[FlowRun]:
    with services().database.reading() as work:
        return [run for run in runs if _is_settled(work, run)]


def _is_settled(work: UnitOfWork, run: FlowRun) -> bool:
    """Whether the version of the case that a run is about waits for nothing any more."""
    case_id, revision = run.parameters.get("case_id"), run.parameters.get("revision", 1)
    try:
        case = work.cases.get(str(case_id))
    except NotFound:
        return False
    if case.state is CaseState.REJECTED:
        return True
    reported = case.state in (CaseState.REPORTED, CaseState.SIGNED) or case.revision > revision
    messages = [message for message in work.outbox.of_case(case.case_id) if message.revision == revision]
    open_ = {message.state for message in messages} - DONE_MESSAGES
    if open_ == {MessageState.PARKED}:  # it waits for a person, and is to say so
        return reported and run.state_name == WAITING
    return reported and not open_


def _waits_for_a_person() -> list[dict[str, Any]]:
    """Held cases and refused messages, the oldest first; by our own ids."""
    with services().database.reading() as work:
        held = work.cases.list([CaseState.HELD], limit=MOST_LISTED)
        parked = work.outbox.list(MessageState.PARKED, limit=MOST_LISTED)
    rows = [
        {
            "since": f"{case.last_arrival_at:%Y-%m-%d %H:%M} UTC",
            "case": case.case_id,
            "what": "held",
            "why": "; ".join(hold_words(reason) for reason in case.hold_reasons),
            "look with": f"sphero case show {case.case_id}",
        }
        for case in held
    ]
    rows += [
        {
            "since": f"{message.created_at:%Y-%m-%d %H:%M} UTC",
            "case": message.case_id,
            "what": f"refused by {message.destination}",
            "why": message.reason or "",
            "look with": f"sphero message show {message.control_id}",
        }
        for message in parked
    ]
    return sorted(rows, key=lambda row: row["since"])
