"""What the flows work with.

A run of a flow gets parameters only, as Prefect keeps them. Whatever else it needs is handed over by the worker that
executes it, through the context of the run: `using` there, `services` in the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from db.session import Database
from flows.analyse import CaseWork
from flows.completion import Completion
from flows.deliver import Sender
from flows.dicom_assembly import Assembly
from flows.dicom_stores import StoreLoop
from flows.disk import DiskGuard
from flows.duties import Duties
from flows.errors import ServiceError
from flows.intake import Intake
from flows.model_process import ModelProcess
from flows.places import Places
from flows.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a flow needs beyond its parameters.

    Attributes
    ----------
    disk : DiskGuard
        Says whether there is room to take something in.
    settings : Settings
    places : Places
    stores : mapping of str to StoreLoop
        Those that are asked for images, by name.
    owner : str
        Under which this process takes leases; its beginning is the same after every restart.
    duties : Duties
        What this machine does of what only one does.
    picture_url : str
        Where overlays are served, without the id at the end.
    scan_seconds : float
        Between two looks into the folder.
    stopping : Event
        Set when the service ends.
    nudge : callable
        Says that cases may need a run; from any thread.
    """

    settings: Settings
    places: Places
    database: Database
    intake: Intake
    assembly: Assembly
    completion: Completion
    work: CaseWork
    model: ModelProcess
    senders: Mapping[str, Sender]
    disk: DiskGuard
    stores: Mapping[str, StoreLoop]
    owner: str
    duties: Duties
    picture_url: str
    scan_seconds: float
    stopping: asyncio.Event
    nudge: Callable[[], None]


_SERVICES: ContextVar[Services] = ContextVar("services")


@contextmanager
def using(services: Services) -> Iterator[None]:
    """Hand services to the flows that are run within."""
    token = _SERVICES.set(services)
    try:
        yield
    finally:
        _SERVICES.reset(token)


def services() -> Services:
    """The services of the worker that executes this run.

    Raises
    ------
    ServiceError
        The flow is not executed by our worker.
    """
    try:
        return _SERVICES.get()
    except LookupError:
        raise ServiceError(
            "this flow is executed by the worker of `sphero up` only; start a run of its deployment"
        ) from None
