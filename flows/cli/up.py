"""`sphero up`: the service."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.output import fail

if TYPE_CHECKING:
    from flows.service import Service

log = logging.getLogger(__name__)


def up(
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Write the log as JSON, one object a line, whatever [log] format says.")
    ] = False,
) -> None:
    """Run the service: Prefect server, watched folder, analysis and delivery, until it is stopped.

    Prints one line that begins with `ready` when everything listens. Stops cleanly on SIGTERM and Ctrl-C.
    """
    from flows.config import load_settings
    from flows.log import set_up_logging
    from flows.security_checks import AS_ROOT, runs_as_root
    from flows.service import Service

    settings = load_settings()
    set_up_logging(as_json=log_json or settings.log.format == "json", level=settings.log.level.upper())
    if runs_as_root():
        log.warning("the service %s; see `sphero doctor`", AS_ROOT)
    run_service(Service(settings))


def run_service(service: Service) -> None:
    """Run a service until a signal comes, and end the process."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    problem: Exception | None = None
    try:
        service.start(lambda part: log.info("waiting for: %s", part), stop)
        if not stop.is_set():
            print(service.ready_line(), flush=True)
            service.watch(stop)
    except Exception as error:
        problem = error
        if "--debug" in sys.argv:
            raise
    finally:
        service.stop()
    if problem is not None:
        fail(problem)
    log.info("stopped")
    # A thread may still wait for an answer of the LIS, up to its deadline; its message goes out again at the next start.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
