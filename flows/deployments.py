"""The deployments in Prefect: one for each flow, in one work pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows.deliver_messages import deliver
from flows.process_case import process_case
from flows.watch_folder import watch_folder

WORK_POOL = "sphero"
WORKER_TYPE = "sphero"
NAME = "sphero"

WATCH_FOLDER = "watch-folder"
PROCESS_CASE = "process-case"
DELIVER = "deliver"


@dataclass(frozen=True, slots=True)
class Deployed:
    """What is deployed: the flow, what it is for, and how many of its runs a worker executes at a time."""

    flow: Flow[..., Any]
    description: str
    tags: tuple[str, ...]
    at_a_time: int


DEPLOYED: Mapping[str, Deployed] = MappingProxyType(
    {
        WATCH_FOLDER: Deployed(
            watch_folder,
            "Watches the incoming folder. One run follows another by itself; to stop the intake pause this deployment "
            "and cancel its run.",
            ("intake",),
            1,
        ),
        PROCESS_CASE: Deployed(
            process_case,
            "Analyses one case, records its result and delivers it. Started by itself when a case is complete; a run that "
            "failed or was cancelled can be retried.",
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
    }
)


async def apply_deployments(client: PrefectClient) -> dict[str, UUID]:
    """Create or renew work pool and deployments; gives the deployments' ids by name.

    What people changed in Prefect stays: whether a deployment is paused, and its concurrency limit.
    """
    await client.create_work_pool(
        WorkPoolCreate(name=WORK_POOL, type=WORKER_TYPE, description="Runs executed by `sphero up`"), overwrite=True
    )
    return {name: await _apply(client, name, deployed) for name, deployed in DEPLOYED.items()}


async def _apply(client: PrefectClient, name: str, deployed: Deployed) -> UUID:
    kept: dict[str, Any] = {}
    try:
        there = await client.read_deployment_by_name(f"{name}/{NAME}")
    except ObjectNotFound:
        pass
    else:
        limit = there.global_concurrency_limit
        kept = {"paused": there.paused, "concurrency_limit": limit.limit if limit else None}
        if there.concurrency_options is not None:
            kept["concurrency_options"] = ConcurrencyOptions.model_validate(there.concurrency_options.model_dump())
    module = deployed.flow.fn.__module__
    return await client.create_deployment(
        flow_id=await client.create_flow(deployed.flow),
        name=NAME,
        description=deployed.description,
        tags=list(deployed.tags),
        work_pool_name=WORK_POOL,
        entrypoint=f"{module}.{deployed.flow.fn.__name__}",
        parameter_openapi_schema=parameter_schema(deployed.flow.fn).model_dump_for_openapi(),
        enforce_parameter_schema=True,
        **kept,
    )
