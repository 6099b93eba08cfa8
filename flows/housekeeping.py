"""The flow `housekeeping`: what is kept no longer goes. What that is stands in `flows.housekeeping_jobs`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas import State
from prefect.states import Completed, Failed

from flows.housekeeping_jobs import JOBS, Job, Removed
from flows.log import OUR_ERRORS, tell
from flows.old_runs import remove_old_runs
from flows.run_support import TASK, interruptible, shown_safely
from flows.services import services


@task(name="remove", task_run_name="{name}", **TASK)
async def do_job(name: str, job: Job) -> Removed:  # noqa: ARG001  # names the task run
    """Do one job."""
    async with shown_safely():
        removed = await asyncio.to_thread(job.run, services())
    get_run_logger().info("%d removed, %.1f MB", removed.count, removed.size / 1e6)
    return removed


@task(name="remove old runs", task_run_name="old runs in Prefect", **TASK)
async def old_runs() -> Removed:
    """Forget runs that nobody looks up any more: those that only watched sooner than others."""
    kept = services().settings.housekeeping
    async with shown_safely():
        count = await remove_old_runs(
            every=timedelta(days=kept.prefect_days), watching=timedelta(days=kept.watching_days)
        )
    get_run_logger().info("%d removed", count)
    return Removed(count)


@flow(name="housekeeping", flow_run_name="housekeeping", persist_result=False)
async def housekeeping() -> State[Any]:
    """Remove what is kept no longer. A job that fails holds up no other."""
    table: list[dict[str, Any]] = []
    async with interruptible(), shown_safely():
        for name, step in [(job.name, do_job(job.name, job)) for job in JOBS] + [("old runs in Prefect", old_runs())]:
            removed, problem = Removed(), ""
            try:
                removed = await step
            except OUR_ERRORS as error:
                problem = tell(error)
            table.append({"what": name, "removed": removed.count, "bytes": removed.size, "problem": problem})
        await acreate_table_artifact(table=table, key="housekeeping", description="What was removed")
    said = ", ".join(f"{row['removed']} {row['what']}" for row in table if row["removed"]) or "nothing was old enough"
    problems = "; ".join(f"{row['what']}: {row['problem']}" for row in table if row["problem"])
    return Failed(message=f"{problems}; removed: {said}") if problems else Completed(message=f"removed: {said}")
