"""What the worker asks of Prefect's API about runs: make them, find them, put them right.

Our database is the truth; Prefect shows. A run killed together with its process stays "Running" there for ever, so each
run carries the name of the worker that executes it, and that worker puts its own old runs right when it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import FlowRun, State
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import AwaitingRetry, Cancelled, Crashed

from flows.deployments import DELIVER, PROCESS_CASE

PAGE = 200
CLAIMED = timedelta(seconds=20)  # so long a run may be claimed before its worker's name stands on it
_STANDING = [StateType.SCHEDULED, StateType.RUNNING, StateType.PENDING, StateType.PAUSED]
_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def _is_stuck(state: State) -> bool:
    """Whether a worker claimed a run and was gone before it could write its name on it."""
    return datetime.now(UTC) - state.timestamp > CLAIMED


class Runs:
    """Runs of our deployments.

    Parameters
    ----------
    client : PrefectClient
    deployments : mapping of str to UUID
        Ids by name.
    worker : str
        Name of this worker.
    """

    def __init__(self, client: PrefectClient, deployments: Mapping[str, UUID], worker: str) -> None:
        self._client = client
        self._deployments = deployments
        self._worker = worker

    def name_of(self, run: FlowRun) -> str | None:
        """Which deployment a run belongs to; None for one that is not ours."""
        return next((name for name, id_ in self._deployments.items() if id_ == run.deployment_id), None)

    async def for_case(self, case_id: str, revision: int) -> FlowRun:
        """The one run of a version of a case: made, or found where it was made before."""
        return await self._client.create_flow_run_from_deployment(
            self._deployments[PROCESS_CASE],
            parameters={"case_id": case_id, "revision": revision},
            name=f"case {case_id}, version {revision}",
            idempotency_key=f"{case_id}:{revision}",
        )

    async def deliver(self, destination: str) -> FlowRun:
        """A new run that delivers."""
        return await self._client.create_flow_run_from_deployment(
            self._deployments[DELIVER], parameters={"destination": destination}, name=f"deliver to {destination}"
        )

    async def standing(self, kind: str, name: str, parameters: Mapping[str, Any]) -> FlowRun | None:
        """A new run of what is always under way; None while one is, here or elsewhere, or the deployment is paused."""
        deployment = await self._client.read_deployment(self._deployments[kind])
        if deployment.paused:
            return None
        there = await self._read([kind], _STANDING, limit=PAGE)
        if any(has_parameters(run, parameters) for run in there):
            return None
        return await self._client.create_flow_run_from_deployment(
            self._deployments[kind], parameters=dict(parameters), name=name
        )

    async def claimed(self, run: FlowRun) -> None:
        """Write on a run which worker executes it."""
        await self._client.update_flow_run(run.id, infrastructure_pid=self._worker)

    async def in_state(self, ids: Collection[UUID], *states: StateType) -> list[FlowRun]:
        """Those of these runs that are in one of these states; a person who cancels or suspends one sets its state."""
        chosen = FlowRunFilter(
            id=FlowRunFilterId(any_=list(ids)),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
        )
        return await self._client.read_flow_runs(flow_run_filter=chosen, limit=PAGE)

    async def by_id(self, ids: Sequence[UUID]) -> list[FlowRun]:
        """These runs as they stand; at most a page of them."""
        return await self._client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(ids[:PAGE]))), limit=PAGE
        )

    async def again(self, run_id: UUID, why: str) -> None:
        """Let a run of a case be executed once more: the same run, not another one."""
        await self._set(run_id, AwaitingRetry(message=why))

    async def cancelled(self, run_id: UUID) -> None:
        """End a run that a person cancelled."""
        await self._set(run_id, Cancelled(message="cancelled by a person"))

    async def crashed(self, run_id: UUID, why: str) -> None:
        """End a run that nobody executes any more."""
        await self._set(run_id, Crashed(message=why))

    async def is_ours(self, run_id: UUID) -> bool:
        """Whether this worker is still the one that executes a run: another one may have been given it since."""
        return any(run.infrastructure_pid == self._worker for run in await self.by_id([run_id]))

    async def left_behind(self, living: Collection[str]) -> list[UUID]:
        """Put right what workers executed that live no more; gives the runs of cases that go on.

        Parameters
        ----------
        living : collection of str
            Names of the workers that live. One that was begun anew puts right its own.
        """
        return await self._put_right(lambda worker: worker not in living)

    async def put_right(self) -> list[UUID]:
        """Put right what this worker executed when it was killed; gives the runs of cases that go on."""
        return await self._put_right(lambda worker: worker == self._worker)

    async def _put_right(self, left: Callable[[str], bool]) -> list[UUID]:
        again = []
        for run in await self._read(list(self._deployments), _UNDER_WAY, limit=PAGE):
            if run.state is None or not (
                left(run.infrastructure_pid) if run.infrastructure_pid else _is_stuck(run.state)
            ):
                continue
            if run.state.type is StateType.CANCELLING:
                await self.cancelled(run.id)
            elif self.name_of(run) == PROCESS_CASE:
                await self.again(run.id, "the service that executed it was ended")
                again.append(run.id)
            else:
                await self.crashed(run.id, "the service ended while this run was under way; another one follows")
        return again

    async def _read(self, names: Sequence[str], states: list[StateType], *, limit: int) -> list[FlowRun]:
        chosen = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[self._deployments[each] for each in names]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
        )
        return await self._client.read_flow_runs(flow_run_filter=chosen, limit=limit)

    async def _set(self, run_id: UUID, state: State) -> None:
        await self._client.set_flow_run_state(run_id, state, force=True)


def has_parameters(run: FlowRun, parameters: Mapping[str, Any]) -> bool:
    """Whether a run was begun with these parameters, whatever others it has."""
    return parameters.items() <= run.parameters.items()
