"""Runs of cases that ended before their case did: they are executed once more, and end as it did. Nothing is sent twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import AwaitingRetry

from flows.log import tell
from flows.services import services

log = logging.getLogger(__name__)

WAITING = "Waiting"
"""How the run of a case ends whose message could not leave yet."""


async def show_parked(case_ids: Sequence[str]) -> None:
    """Let the runs of cases whose message was refused meanwhile show it; what fails here, `reconcile` does later."""
    if not case_ids:
        return
    run_ids = await asyncio.to_thread(_run_ids, case_ids)
    try:
        async with get_client() as client:
            for run_id in run_ids:
                with suppress(ObjectNotFound):  # a person deleted it
                    run = await client.read_flow_run(UUID(run_id))
                    if run.state_name == WAITING:
                        why: State[Any] = AwaitingRetry(message="its message was refused meanwhile")
                        await client.set_flow_run_state(run.id, why, force=True)
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("runs do not show yet that messages were refused: %s", tell(error))


def _run_ids(case_ids: Sequence[str]) -> list[str]:
    with services().database.reading() as work:
        found = [work.cases.get(case_id).flow_run_id for case_id in case_ids]
    return [run_id for run_id in found if run_id is not None]
