"""Runs in Prefect that nobody looks up any more: our own database is what is kept.

Prefect's own vacuum forgets runs on the embedded server; another server may have none, and none knows that a run that
watched is worth less than that of a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

PAGE = 200
MOST = 5000  # in one housekeeping; the next goes on
DEPLOYMENT = "sphero"
WATCHING = ("watch-folder", "poll-store", "deliver", "reconcile")
OTHERS = ("process-case", "housekeeping", "verify-audit")
ENDED = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]


async def remove_old_runs(*, every: timedelta, watching: timedelta) -> int:
    """Remove runs of our deployments that ended so long ago; gives how many.

    Parameters
    ----------
    every : timedelta
        How long runs are kept.
    watching : timedelta
        How long those are that only watched, and of deliveries, which our database has too.
    """
    now = datetime.now(UTC)
    async with get_client() as client:
        count = await _remove(client, WATCHING, now - min(watching, every))
        return count + await _remove(client, OTHERS, now - every)


async def _remove(client: PrefectClient, flows: Sequence[str], before: datetime) -> int:
    removed = 0
    while removed < MOST and (found := await _ended(client, flows, before)):
        for run_id in found:
            with suppress(ObjectNotFound):
                await client.delete_flow_run(run_id)
        removed += len(found)
    return removed


async def _ended(client: PrefectClient, flows: Sequence[str], before: datetime) -> list[UUID]:
    runs = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[DEPLOYMENT])),
        flow_run_filter=FlowRunFilter(
            end_time=FlowRunFilterEndTime(before_=before),  # type: ignore[arg-type]  # any aware time will do
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ENDED)),
        ),
        limit=PAGE,
    )
    return [run.id for run in runs]
