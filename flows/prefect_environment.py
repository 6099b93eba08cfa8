"""Environment variables by which Prefect is told what it shall do; Prefect reads them when it is imported.

Everything of Prefect lies in our data folder, it sends nothing to anybody, and it forgets: events after two days, runs
after ninety, for our own database is what is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flows.errors import SettingsError
from flows.secret_files import read_secret

if TYPE_CHECKING:  # the server's process needs no settings
    from flows.settings import Settings

SERVER_HOST = "127.0.0.1"

_COMMON = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}

_SERVER = {
    "PREFECT_SERVER_API_HOST": SERVER_HOST,
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P2D",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 24 * 3600),
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
}

_CLIENT = {
    # A server that is begun anew is away for 20 s or more; with fewer retries runs end as failed though their work was done.
    "PREFECT_CLIENT_MAX_RETRIES": "8",
    "PREFECT_LOGGING_LEVEL": "INFO",
    # What runs say goes to Prefect; our own log has its own lines.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FLOW_RUNS_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


def auth_string(settings: Settings) -> str:
    """User and password of Prefect's API, with a colon between; empty where there is none.

    Raises
    ------
    SettingsError
    """
    file = settings.prefect.auth_file
    if file is None:
        return ""
    secret = read_secret(file, "[prefect] auth_file")
    if ":" not in secret:
        raise SettingsError(f"[prefect] auth_file: the first line of {file} must be user:password")
    return secret


def server_environment(settings: Settings) -> dict[str, str]:
    """The whole environment of the embedded server."""
    home = settings.data / "prefect"
    auth = auth_string(settings)
    return {
        **_without_prefect(os.environ),
        **_COMMON,
        **_SERVER,
        **({"PREFECT_SERVER_API_AUTH_STRING": auth, "PREFECT_API_AUTH_STRING": auth} if auth else {}),
        **({"PREFECT_SERVER_UI_API_URL": f"{settings.prefect_ui_url}/api"} if settings.prefect.public_url else {}),
        "PREFECT_UI_URL": settings.prefect_ui_url,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_PORT": str(settings.prefect.port),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
    }


def client_environment(settings: Settings) -> dict[str, str]:
    """What to set in the process that executes flows, before Prefect is imported there."""
    auth = auth_string(settings)
    values = {
        **_COMMON,
        **_CLIENT,
        **({"PREFECT_API_AUTH_STRING": auth} if auth else {}),
        "PREFECT_HOME": str(settings.data / "prefect"),
        "PREFECT_API_URL": settings.prefect_api_url,
    }
    if settings.embedded_prefect:
        direct = [part for part in os.environ.get("NO_PROXY", "").split(",") if part]
        values["NO_PROXY"] = values["no_proxy"] = ",".join(dict.fromkeys([*direct, SERVER_HOST, "localhost"]))
    return values


def _without_prefect(environment: Mapping[str, str]) -> dict[str, str]:
    """A user's own settings for another Prefect server are not meant for this one."""
    return {name: value for name, value in environment.items() if not name.startswith("PREFECT_")}
