"""`sphero up` with the fake detector: the process that tests start, kill and stop.

The engine is handed over here, at the start of the process; a user has no setting for it.
"""

from __future__ import annotations

import sys

from flows.cli.up import run_service
from flows.config import load_settings
from flows.log import set_up_logging
from flows.service import Service
from flows.wiring import EngineChoice
from tests.fakes import FACTORY

if __name__ == "__main__":
    settings = load_settings()
    set_up_logging(as_json=settings.log.format == "json", level=settings.log.level.upper())
    run_service(Service(settings, engine=EngineChoice(FACTORY, sys.argv[1])))
