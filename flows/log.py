"""Our log: one line an event, on standard error; for people, or as JSON.

Lines hold case ids and numbers, never names, accession numbers, paths below the incoming folder or contents of messages.
Texts of foreign exceptions may hold any of these, so only their type and place are logged.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from db.errors import DatabaseError
from flows.errors import FlowsError
from integrations.errors import IntegrationError
from sphero_core.errors import SpheroCoreError

OUR_ERRORS = (FlowsError, SpheroCoreError, IntegrationError, DatabaseError)
_OUR_LOGGERS = ("flows", "integrations", "db", "sphero_core")
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def tell(error: BaseException) -> str:
    """An exception in words that may be logged and shown."""
    if isinstance(error, OUR_ERRORS):
        return str(error)
    if isinstance(error, ImportError):
        return f"{error.name or 'a package'} is not installed; install the service with its extra `service`"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{place}"


def set_up_logging(*, as_json: bool, level: int | str = logging.INFO) -> None:
    """Write our log to standard error; other libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Lines())
    for name in _OUR_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return f"{at} {level}{record.getMessage()}{extra}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "from": record.name, "message": record.getMessage()}
        return json.dumps(line | _extra(record), default=str)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _RESERVED}
