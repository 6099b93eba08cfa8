"""The embedded Prefect server: the server's own program in a child process that ends with us.

Why not ``prefect server start``: it would outlive a parent that is killed, and its SQLite engine takes several
connections, which under parallel clients end in "database is locked" and lost events. Prefect itself uses one connection
where the database lies in memory; here it does so for a file too.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.prefect_environment import SERVER_HOST

log = logging.getLogger(__name__)

GRACE_SECONDS = 4.0
_MAIN = "import sys; from flows.prefect_server import main; sys.exit(main(sys.argv[1:]))"


class PrefectServer:
    """The parent's side: starts the server, asks whether it answers, ends it.

    Parameters
    ----------
    port : int
    environment : mapping
        The child's whole environment.
    output : Path
        File for what it prints.
    inherit : sequence of int
        Descriptors it keeps open as long as it lives.
    """

    def __init__(self, port: int, environment: Mapping[str, str], *, output: Path, inherit: Sequence[int] = ()) -> None:
        self.port = port
        self._environment = dict(environment)
        self._output = output
        self._inherit = tuple(inherit)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1

    def start(self) -> None:
        """Start the child; returns at once."""
        theirs, self._lifeline = os.pipe()
        try:
            with self._output.open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _MAIN, str(self.port), str(theirs)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(theirs, *self._inherit),
                    env=self._environment,
                )
        finally:
            os.close(theirs)

    @property
    def pid(self) -> int | None:
        """Of the child, while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def answers(self) -> bool:
        """Whether its API says that it is well."""
        return answers(f"http://{SERVER_HOST}:{self.port}/api")

    def stop(self) -> None:
        """End it: at first with a word, then by force."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._process is None:
            return
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("the Prefect server did not end within %g s and is killed", GRACE_SECONDS)
            self._process.kill()
            self._process.wait()
        self._process = None


def answers(api_url: str, timeout: float = 2.0) -> bool:
    """Whether a Prefect API says that it is well."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener = direct if SERVER_HOST in api_url else urllib.request.build_opener()
    try:
        with opener.open(f"{api_url.rstrip('/')}/health", timeout=timeout) as reply:
            return bool(reply.status == 200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


# ------------------------------------------------------------------------------------------------------- the child's side
def main(arguments: list[str]) -> int:
    """Serve until the parent closes its end of the pipe, however that comes about."""
    port, lifeline = (int(argument) for argument in arguments)
    for caught in (signal.SIGINT, signal.SIGTERM):  # both may reach the whole group; the parent ends us in its order
        signal.signal(caught, signal.SIG_IGN)
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.server.database import configurations
    from sqlalchemy.ext.asyncio import create_async_engine

    import flows.mail_block  # noqa: F401  # so that automations find the block

    # prefect is pinned to one version; PostgreSQL has its own pool settings and is not touched by this.
    one_connection = functools.partial(create_async_engine, pool_size=1, max_overflow=0, pool_timeout=60)
    configurations.create_async_engine = one_connection  # type: ignore[attr-defined]
    _let_schedules_begin()
    config = uvicorn.Config(
        create_app(final=True),
        host=SERVER_HOST,
        port=port,
        log_level="warning",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # the pipe tells when to end

    server = Server(config)
    threading.Thread(target=_watch, args=(lifeline, server), name="lifeline", daemon=True).start()
    server.run()
    os._exit(0)  # its background threads would keep the process for seconds


def _let_schedules_begin() -> None:
    """Let Prefect's scheduler write its runs: from SQLAlchemy 2.1 on it cannot, and no schedule would ever begin a run.

    It hands over rows with a column `state` that is none but a computed attribute, and writes the states by itself
    afterwards. SQLAlchemy 2.0 passed over it; 2.1 wants to be told that it may.
    """
    from prefect.server.database.orm_models import FlowRun

    vars(FlowRun)["state"].bulk_dml_setter = lambda _class, row, _state: row.pop("state")


def _watch(lifeline: int, server: object) -> None:
    while os.read(lifeline, 1):
        pass
    server.should_exit = True  # type: ignore[attr-defined]
    time.sleep(GRACE_SECONDS - 1)
    os._exit(0)
