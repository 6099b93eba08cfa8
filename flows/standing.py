"""What is always under way: the watch of the folder, and the polling of each store. As one run ends the worker begins the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from flows.deployments import POLL_STORE, WATCH_FOLDER
from flows.duties import FOLDER, store_duty
from flows.executor import Executor
from flows.runs import Runs
from flows.services import Services


@dataclass(frozen=True, slots=True)
class Standing:
    """One thing that is always under way: a deployment, the name of its runs, and what tells them from others'."""

    kind: str
    name: str
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def standing_of(services: Services) -> tuple[Standing, ...]:
    """What this machine is to keep under way: what it has the duty for."""
    watch = (Standing(WATCH_FOLDER, "watch folder"),) if services.duties.holds(FOLDER) else ()
    asked = [name for name in services.stores if services.duties.holds(store_duty(name))]
    return (*watch, *(Standing(POLL_STORE, f"poll {name}", {"store": name}) for name in asked))


async def keep_under_way(each: Standing, runs: Runs, executor: Executor, services: Services) -> bool:
    """See to it that a run is under way; True where one was made.

    What polls a store without runs is told that it need not, also while a person has paused the deployment.
    """
    if executor.is_executing(each.kind, each.parameters):
        return False
    made = await runs.standing(each.kind, each.name, each.parameters)
    if each.kind == POLL_STORE:
        services.stores[each.parameters["store"]].leave_to_run()
    return made is not None
