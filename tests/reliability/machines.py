"""What several machines share (PostgreSQL, a Prefect server, a LIS, a folder), and `sphero up` on one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from db.session import Database
from tests.lis_process import lis_process, received
from tests.postgresql import PostgresqlServer, find_binaries
from tests.reliability.invariants import Expected
from tests.running import READY_SECONDS, ROOT, STOP_SECONDS, case_files, manifest
from tests.support import free_port, wait_for

_TOML = """\
[paths]
data = "{data}"
shared = "{shared}"

[host]
lease_seconds = {lease}

[folder]
path = "{incoming}"
scan_seconds = 0.5
stable_seconds = 0.4
quiet_seconds = 600

[database]
url = "{database}"

[prefect]
api_url = "http://{host}:{prefect}/api"

[http]
port = {http}

[[hl7.destination]]
name = "lis"
host = "{host}"
port = {lis}
ack_timeout_seconds = 5
"""


class PrefectService:
    """A Prefect server of its own, as a site with several machines runs it; it can be killed and started again."""

    def __init__(self, folder: Path, host: str, port: int, database_url: str) -> None:
        self.port = port
        self._host = host
        self._log = folder / "prefect.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_DATABASE_CONNECTION_URL": database_url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = str(Path(sys.executable).with_name("prefect"))
        command = [program, "server", "start", "--host", self._host, "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(lambda: _answers(self._host, self.port), READY_SECONDS, what="the Prefect server", every_s=0.2)

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@dataclass(frozen=True, slots=True)
class Common:
    """What the machines share, at `host`."""

    folder: Path
    host: str
    database_url: str
    prefect: PrefectService
    lis_port: int
    lease_seconds: float

    @property
    def shared(self) -> Path:
        """The share."""
        return self.folder / "shared"

    @property
    def incoming(self) -> Path:
        """The watched folder."""
        return self.folder / "incoming"

    def database(self) -> Database:
        """Our database."""
        return Database(self.database_url)

    def received(self) -> list[bytes]:
        """What the LIS received."""
        return received(self.folder / "received")

    def drop(self, expected: Expected, accession: str, fields: int) -> None:
        """Put a case into the watched folder, as a move would."""
        number = len(expected.fields) + 1
        patient = f"PATIENT{number:05d}"
        expected.fields[accession] = fields
        expected.secrets |= {patient, accession}
        fresh = self.folder / f"fresh-{number}"
        fresh.mkdir()
        for name, content in case_files(number, fields).items():
            (fresh / name).write_bytes(content)
        (fresh / "case.json").write_text(json.dumps(manifest(patient, fields)))
        fresh.rename(self.incoming / accession)

    def runs(self) -> list[dict[str, str]]:
        """Every run of a case as Prefect shows it."""
        body = {"flows": {"name": {"any_": ["process-case"]}}, "limit": 200}
        with httpx.Client(base_url=f"http://{self.host}:{self.prefect.port}/api", trust_env=False) as client:
            found: list[dict[str, str]] = client.post("/flow_runs/filter", json=body, timeout=60).json()
        return found


@contextmanager
def common(folder: Path, host: str, networks: Sequence[str] = (), *, lease_seconds: float = 10.0) -> Iterator[Common]:
    """Start what the machines share, and end it."""
    for name in ("shared", "incoming"):
        (folder / name).mkdir()
    kept = folder / "received"
    kept.touch()
    addresses = ",".join(dict.fromkeys(["127.0.0.1", host]))
    server = PostgresqlServer(find_binaries(), settings={"listen_addresses": addresses}, networks=networks)
    with server, lis_process(kept, host=host) as lis:
        urls = [server.create_database()[1].replace("127.0.0.1", host) for _ in range(2)]
        prefect = PrefectService(folder, host, free_port(host), urls[1].replace("+psycopg", "+asyncpg"))
        try:
            prefect.start()
            yield Common(folder, host, urls[0], prefect, lis, lease_seconds)
        finally:
            prefect.kill()


def _answers(host: str, port: int) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{host}:{port}/api/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


class Machine:
    """`sphero up` with a fake detector on one machine.

    Parameters
    ----------
    name : str
    site : Common
    inside : sequence of str
        What its command begins with.
    field_seconds : float
        What the fake detector takes for a field.
    more : mapping
        Further environment variables.
    """

    def __init__(
        self,
        name: str,
        site: Common,
        inside: Sequence[str] = (),
        *,
        field_seconds: float = 0.3,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.data = site.folder / name
        self.output = site.folder / f"{name}.log"
        self._config = site.folder / f"{name}.toml"
        self._config.write_text(
            _TOML.format(
                data=self.data,
                shared=site.shared,
                incoming=site.incoming,
                lease=site.lease_seconds,
                database=site.database_url,
                host=site.host,
                prefect=site.prefect.port,
                http=free_port(),
                lis=site.lis_port,
            )
        )
        fake = json.dumps({"seconds": field_seconds})
        self._command = [*inside, sys.executable, "-m", "tests.run_service", fake]
        self._more = dict(more or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._told = 0

    def begin(self) -> None:
        """Start it; returns at once."""
        self._told = self.output.stat().st_size if self.output.exists() else 0
        environment = {"SPHERO_CONFIG": str(self._config), "PYTHONPATH": str(ROOT), "NO_PROXY": "*", "no_proxy": "*"}
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**os.environ, **environment, **self._more},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until it says that it is ready."""
        wait_for(self._is_ready_or_ended, READY_SECONDS, what=f"the ready line of {self.name}", every_s=0.2)
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended:\n{self.said}"

    @property
    def said(self) -> str:
        """What it printed since it was started."""
        return self.output.read_bytes()[self._told :].decode() if self.output.exists() else ""

    @property
    def owner(self) -> str:
        """What the names of its leases begin with."""
        return (self.data / "worker").read_text().strip() + "/"

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(6 * STOP_SECONDS) == 0, self.said

    def _is_ready_or_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or "\nready: " in f"\n{self.said}"
