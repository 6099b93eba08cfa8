"""The deployments in Prefect: one for each flow, in one work pool. `deploy/prefect.yaml` is written from this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows.deliver_messages import deliver
from flows.housekeeping import housekeeping
from flows.poll_store import poll_store
from flows.process_case import process_case
from flows.reconcile import reconcile
from flows.verify_audit import verify_audit
from flows.watch_folder import watch_folder

WORK_POOL = "sphero"
WORK_POOL_DESCRIPTION = "Runs executed by `sphero up`"
WORKER_TYPE = "sphero"
NAME = "sphero"

WATCH_FOLDER = "watch-folder"
PROCESS_CASE = "process-case"
DELIVER = "deliver"
POLL_STORE = "poll-store"
RECONCILE = "reconcile"
HOUSEKEEPING = "housekeeping"
VERIFY_AUDIT = "verify-audit"


@dataclass(frozen=True, slots=True)
class Deployed:
    """What is deployed.

    Attributes
    ----------
    flow : Flow
    description : str
        For people who look at Prefect.
    tags : tuple of str
    at_a_time : int
        How many of its runs one worker executes at a time.
    limit : int or None
        How many of its runs may be under way on all machines together; a further one is cancelled by Prefect.
    cron : str or None
        When it begins by itself, in the site's time zone. None: somebody begins it.
    """

    flow: Flow[..., Any]
    description: str
    tags: tuple[str, ...]
    at_a_time: int
    limit: int | None = None
    cron: str | None = None


DEPLOYED: Mapping[str, Deployed] = MappingProxyType(
    {
        WATCH_FOLDER: Deployed(
            watch_folder,
            "Watches the incoming folder. One run follows another by itself; to stop the intake pause this deployment "
            "and cancel its run.",
            ("intake",),
            1,
        ),
        POLL_STORE: Deployed(
            poll_store,
            "Asks one DICOM store for new images. One run for each store follows another by itself; to stop asking pause "
            "this deployment and cancel its runs.",
            ("intake", "dicom"),
            16,
        ),
        PROCESS_CASE: Deployed(
            process_case,
            "Analyses one case, records its result and delivers it. Started by itself when a case is complete; a run that "
            "failed or was cancelled can be retried. A case that is held has a failed run that says why.",
            ("case",),
            3,
        ),
        DELIVER: Deployed(
            deliver,
            "Delivers what waits for one destination. Started by itself when a destination answers again, or an attempt "
            "is due.",
            ("delivery",),
            4,
        ),
        RECONCILE: Deployed(
            reconcile,
            "Compares our database with what Prefect shows, puts right what Prefect shows wrongly, and lists what waits "
            "for a person.",
            ("operations",),
            1,
            limit=1,
            cron="10 * * * *",
        ),
        HOUSEKEEPING: Deployed(
            housekeeping,
            "Removes what is kept no longer: old runs in Prefect, old output of child processes, rendered pictures, partial "
            "files, and what [retention] says of closed cases. Never results, messages or the audit log.",
            ("operations",),
            1,
            limit=1,
            cron="30 3 * * *",
        ),
        VERIFY_AUDIT: Deployed(
            verify_audit,
            "Reads the whole audit log and says whether an event was changed, cut out or put in. A failed run names the place.",
            ("operations", "audit"),
            1,
            limit=1,
            cron="50 4 * * *",
        ),
    }
)


def entrypoint(deployed: Deployed) -> str:
    """Where the flow stands, as Prefect writes it."""
    return f"{deployed.flow.fn.__module__}.{deployed.flow.fn.__name__}"


async def apply_deployments(client: PrefectClient, time_zone: str = "UTC") -> dict[str, UUID]:
    """Create or renew work pool and deployments; gives the deployments' ids by name.

    What people changed in Prefect stays: whether a deployment is paused, its schedules, and its concurrency limit.

    Parameters
    ----------
    client : PrefectClient
    time_zone : str
        In which the schedules of new deployments are meant.
    """
    await client.create_work_pool(
        WorkPoolCreate(name=WORK_POOL, type=WORKER_TYPE, description=WORK_POOL_DESCRIPTION), overwrite=True
    )
    return {name: await _apply(client, name, deployed, time_zone) for name, deployed in DEPLOYED.items()}


async def _apply(client: PrefectClient, name: str, deployed: Deployed, time_zone: str) -> UUID:
    try:
        there = _kept(await client.read_deployment_by_name(f"{name}/{NAME}"))
    except ObjectNotFound:
        there = _fresh(deployed, time_zone)
    return await client.create_deployment(
        flow_id=await client.create_flow(deployed.flow),
        name=NAME,
        description=deployed.description,
        tags=list(deployed.tags),
        work_pool_name=WORK_POOL,
        entrypoint=entrypoint(deployed),
        parameter_openapi_schema=parameter_schema(deployed.flow.fn).model_dump_for_openapi(),
        enforce_parameter_schema=True,
        **there,
    )


def _fresh(deployed: Deployed, time_zone: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if deployed.cron is not None:
        schedule = CronSchedule(cron=deployed.cron, timezone=time_zone)
        chosen["schedules"] = [DeploymentScheduleCreate(schedule=schedule, active=True)]
    if deployed.limit is not None:
        chosen["concurrency_limit"] = deployed.limit
        chosen["concurrency_options"] = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    return chosen


def _kept(there: DeploymentResponse) -> dict[str, Any]:
    """Prefect clears what is not said again."""
    limit = there.global_concurrency_limit
    kept: dict[str, Any] = {
        "paused": there.paused,
        "concurrency_limit": limit.limit if limit else None,
        "schedules": [
            DeploymentScheduleCreate(
                schedule=each.schedule, active=each.active, parameters=each.parameters, slug=each.slug
            )
            for each in there.schedules
        ],
    }
    if there.concurrency_options is not None:
        kept["concurrency_options"] = ConcurrencyOptions.model_validate(there.concurrency_options.model_dump())
    return kept
