"""The whole service as a process of its own, with a fake detector, and a LIS of another maker for it to deliver to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from asyncio import IncompleteReadError
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import hl7
import hl7.mllp
import httpx
import numpy as np

from db.session import Database, UnitOfWork
from db.states import MessageState
from integrations.hl7.ack import Ack, read_ack
from tests.fakes import WAITS
from tests.prefect_template import give_prefect_database
from tests.support import free_port, peer, wait_for

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = float(os.environ.get("SPHERO_TEST_READY_SECONDS", "240"))  # a minute on a busy machine
STOP_SECONDS = 10.0
STABLE_SECONDS = 0.4
PATIENCE_SECONDS = 180.0  # for what takes a second or two where nobody else uses the machine
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

_TOML = """\
[site]
name = "TEST"

[paths]
data = "data"

[folder]
scan_seconds = 0.2
stable_seconds = {stable}
quiet_seconds = {quiet}

[prefect]
port = {prefect}

[http]
port = {http}

[[hl7.destination]]
name = "lis"
host = "127.0.0.1"
port = {lis}
ack_timeout_seconds = 5
"""


class RunningService:
    """`sphero up`, by default with a fake detector, in a process group of its own.

    Parameters
    ----------
    folder : Path
        Settings, data and output go here.
    lis_port : int
    field_seconds : float or None
        What the fake detector takes for a field; None takes the shipped detector, as a user does.
    quiet_seconds : float
        A case into which nothing came for so long is complete.
    more : mapping
        Further environment variables, such as settings.
    """

    def __init__(
        self,
        folder: Path,
        lis_port: int,
        *,
        field_seconds: float | None = 0.05,
        quiet_seconds: float = 1.5,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.lis_port = lis_port
        self.data = folder / "data"
        self.incoming = self.data / "incoming"
        self.prefect_port, self.http_port = free_port(), free_port()
        self.output = folder / "output.txt"
        self._gate = folder / "gate"
        fake = json.dumps({"seconds": field_seconds, "gate": str(self._gate)})
        self._command = ["-m", "tests.run_service", fake]
        if field_seconds is None:
            self._command = ["-c", "from flows.cli import main; main()", "up"]
        self._config = folder / "sphero.toml"
        self._config.write_text(
            _TOML.format(
                stable=STABLE_SECONDS, quiet=quiet_seconds, prefect=self.prefect_port, http=self.http_port, lis=lis_port
            )
        )
        self._more = dict(more or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._told = 0
        self.database = Database(f"sqlite:///{self.data / 'sphero.db'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.database.close()

    def start(self, seconds: float = READY_SECONDS) -> None:
        """Start it and wait until it says that it is ready."""
        self._told = self.output.stat().st_size if self.output.exists() else 0
        give_prefect_database(self.data / "prefect")
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *self._command],
                cwd=ROOT,
                env={**os.environ, "SPHERO_CONFIG": str(self._config), "PYTHONPATH": str(ROOT), **self._more},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for(self._is_ready_or_ended, seconds, what="the service's ready line")
        assert self._process.poll() is None, f"the service ended:\n{self.said}"

    @property
    def said(self) -> str:
        """What it printed since it was started."""
        return self.output.read_bytes()[self._told :].decode()

    def kill(self) -> None:
        """SIGKILL to the whole process group."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def main(self) -> int:
        """Its main process."""
        assert self._process is not None
        return self._process.pid

    def wait_gone(self) -> None:
        """Wait until it has ended after its main process was killed, and what it started has ended by itself."""
        assert self._process is not None
        self._process.wait()
        wait_for(lambda: not self.processes(), PATIENCE_SECONDS, what="the end of its children", every_s=0.1)

    def stop(self) -> float:
        """SIGTERM; gives the seconds until it had ended."""
        assert self._process is not None
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(3 * STOP_SECONDS) == 0, self.said
        return time.monotonic() - started

    def shut_gate(self) -> None:
        """Let no field that `picture_that_waits` gave get done with, so that its case stays in the middle."""
        self._gate.touch()

    def open_gate(self) -> None:
        """Let them go on."""
        self._gate.unlink()

    def processes(self) -> list[int]:
        """Everything that lives in its session."""
        assert self._process is not None
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if os.getsid(int(entry.name)) == self._process.pid and _is_alive(entry):
                    found.append(int(entry.name))
        return found

    def read(self, question: Callable[[UnitOfWork], Any]) -> Any:
        """Ask our database."""
        with self.database.reading() as work:
            return question(work)

    def case_of(self, accession: str) -> str | None:
        """Our id of a case."""
        found: str | None = self.read(lambda work: work.identities.find(accession))
        return found

    def id_of(self, accession: str) -> str:
        """Our id of a case that is there."""
        found = self.case_of(accession)
        assert found is not None, f"no case under {accession}"
        return found

    def delivered(self) -> int:
        """How many messages are delivered."""
        count: int = self.read(lambda work: work.outbox.summary().counts[MessageState.DELIVERED])
        return count

    def wait_delivered(self, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until so many messages are delivered, whosever; `wait_told` waits for those of one case."""
        try:
            wait_for(lambda: self.delivered() >= count, seconds, what=f"{count} deliveries", every_s=0.1)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.said[-4000:]}") from None

    def wait_told(self, accession: str, messages: int = 1, issuer: str | None = None) -> None:
        """Wait until so many messages of one case are delivered, whatever becomes of others meanwhile."""

        def told() -> bool:
            def count(work: UnitOfWork) -> int:
                case_id = work.identities.find(accession, issuer)
                mine = work.outbox.of_case(case_id) if case_id else ()
                return [message.state for message in mine].count(MessageState.DELIVERED)

            return bool(self.read(count) >= messages)

        try:
            wait_for(told, PATIENCE_SECONDS, what=f"{messages} deliveries of {accession}", every_s=0.1)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.said[-4000:]}") from None

    def drop(self, accession: str, files: Mapping[str, bytes], manifest: Mapping[str, Any] | None = None) -> Path:
        """Put a case into the incoming folder at once, as a move would; gives its folder."""
        fresh = self.folder / f"fresh-{accession}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        if manifest is not None:
            (fresh / "case.json").write_text(json.dumps(manifest))
        target = self.incoming / accession
        fresh.rename(target)
        return target

    def _is_ready_or_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or "\nready: " in f"\n{self.said}"


class Prefect:
    """What a person would find in the Prefect UI, asked over its API.

    Parameters
    ----------
    port : int
    auth : str
        ``user:password`` where the API asks for them.
    """

    def __init__(self, port: int, auth: str = "") -> None:
        user, _, password = auth.partition(":")
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/api",
            trust_env=False,
            timeout=60,
            auth=(user, password) if auth else None,
        )
        me = uuid.uuid4().hex  # a token is valid until the next one is given to the same client
        token = self._client.get("/csrf-token", params={"client": me}).json()["token"]
        self._client.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": me})

    def ask(self, path: str, **body: Any) -> Any:
        """POST; gives the answer."""
        reply = self._client.post(path, json=body)
        reply.raise_for_status()
        return reply.json() if reply.content else None

    def deployment(self, flow: str) -> dict[str, Any]:
        """The deployment of a flow."""
        reply = self._client.get(f"/deployments/name/{flow}/sphero")
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    def change_deployment(self, flow: str, **values: Any) -> None:
        """Change a deployment as the UI does."""
        self._client.patch(f"/deployments/{self.deployment(flow)['id']}", json=values).raise_for_status()

    def run_now(self, flow: str, **parameters: Any) -> dict[str, Any]:
        """Begin a run as the UI's button does, and give it once it has ended."""
        run = self.ask(
            f"/deployments/{self.deployment(flow)['id']}/create_flow_run",
            parameters=parameters,
            state={"type": "SCHEDULED"},
        )
        return self.ended(run)

    def ended(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """A run, once it has ended."""

        def final() -> dict[str, Any]:
            (now,) = self.ask("/flow_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
            return dict(now) if now["state_type"] in _FINAL else {}

        return wait_for(final, PATIENCE_SECONDS, what="the end of the run", every_s=0.1)

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Runs of a flow, the latest first."""
        found: list[dict[str, Any]] = self.ask(
            "/flow_runs/filter", flows={"name": {"any_": [flow]}}, sort="EXPECTED_START_TIME_DESC", limit=200
        )
        return found

    def run_of(self, case_id: str, version: int = 1) -> dict[str, Any]:
        """The run of one version of a case."""
        name = f"case {case_id}, version {version}"
        (run,) = [run for run in self.runs("process-case") if run["name"] == name]
        return dict(run)

    def ended_run_of(self, case_id: str, *, attempts: int = 1) -> dict[str, Any]:
        """The run of a case, once it has ended, at least so many times."""
        run: dict[str, Any] = {}

        def has_ended() -> bool:
            run.update(self.run_of(case_id))
            return run["state_type"] in _FINAL and run["run_count"] >= attempts

        wait_for(has_ended, PATIENCE_SECONDS, what="the end of the run", every_s=0.1)
        return run

    def tasks(self, run: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
        """Task runs of a run, once there are so many: Prefect records them some time after they happened."""

        def recorded() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = self.ask("/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
            return found if len(found) >= count else []

        return wait_for(recorded, PATIENCE_SECONDS, what=f"{count} task runs", every_s=0.1)

    def artifacts(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Artifacts of a run."""
        found: list[dict[str, Any]] = self.ask(
            "/artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}}, limit=200
        )
        return found

    def suspend(self, run: Mapping[str, Any]) -> None:
        """Suspend a run as the UI's button "Pause" does."""
        until = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        details = {"pause_timeout": until, "pause_reschedule": True}
        state = {"type": "PAUSED", "name": "Suspended", "state_details": details}
        self.ask(f"/flow_runs/{run['id']}/set_state", state=state, force=True)

    def set_state(self, run: Mapping[str, Any], kind: str, name: str) -> None:
        """Set the state of a run as the UI's buttons do."""
        self.ask(f"/flow_runs/{run['id']}/set_state", state={"type": kind, "name": name}, force=kind != "CANCELLING")


class ThirdPartyLis:
    """python-hl7's asyncio server on a fixed port, in a thread; keeps the bytes of what it receives.

    Parameters
    ----------
    port : int
    on_message : callable or None
        Called with each message before it is answered.
    answer : callable
        Gives the code (MSA-1) with which a message is answered.
    """

    def __init__(
        self,
        port: int,
        on_message: Callable[[bytes], None] | None = None,
        *,
        answer: Callable[[bytes], str] = lambda _: "AA",
    ) -> None:
        self.port = port
        self._answer = answer
        self.received: list[bytes] = []
        self.on_message = on_message
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._sessions: set[asyncio.Task[None]] = set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    def by_control_id(self) -> dict[str, list[bytes]]:
        """What was received, by MSH-10."""
        found: dict[str, list[bytes]] = {}
        for message in self.received:
            found.setdefault(message.split(b"|")[9].decode(), []).append(message)
        return found

    def accessions(self) -> list[str]:
        """OBR-3 of each message, in order of arrival."""
        parsed = [hl7.parse(message.decode()) for message in self.received]
        return [str(message.segment("OBR")[3]) for message in parsed]

    async def _session(self, reader: Any, writer: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)
        try:
            while True:
                block = await reader.readblock()
                self.received.append(block)
                if self.on_message is not None:
                    self.on_message(block)
                writer.writemessage(hl7.parse(block.decode()).create_ack(self._answer(block)))
                await writer.drain()
        except (IncompleteReadError, ConnectionError):
            pass  # the sender is gone
        finally:
            writer.close()

    async def _serve(self) -> None:
        server = await hl7.mllp.start_hl7_server(
            self._session, "127.0.0.1", self.port, encoding="utf-8", limit=8 * 1024 * 1024
        )
        self._listening.set()
        async with server:
            await self._stop.wait()
            for session in self._sessions:
                session.cancel()
            await asyncio.gather(*self._sessions, return_exceptions=True)


def picture(seed: int, *, suffix: str = ".png", size: tuple[int, int] = (96, 128)) -> bytes:
    """A small picture that differs for every seed."""
    pixels = np.random.default_rng(seed).integers(90, 230, (*size, 3), dtype=np.uint8)
    done, encoded = cv2.imencode(suffix, pixels)
    assert done
    return encoded.tobytes()


def case_files(seed: int, fields: int) -> dict[str, bytes]:
    """Pictures of a case."""
    return {f"field-{number}.png": picture(1000 * seed + number) for number in range(fields)}


def picture_that_waits(seed: int) -> bytes:
    """A picture that the fake detector is not done with while the service's gate is shut; differs for every seed."""
    return picture_of(WAITS, seed)


def picture_of(colour: tuple[int, int, int], seed: int) -> bytes:
    """A picture all of one colour (`tests.fakes` tells what some do to the fake detector) that differs for every seed."""
    pixels = np.full((96, 128, 3), colour[::-1], np.uint8)
    pixels[0, :4] = np.random.default_rng(seed).integers(0, 255, (4, 3))
    done, encoded = cv2.imencode(".png", pixels)
    assert done
    return encoded.tobytes()


def manifest(patient: str, fields: int | None = None, **more: Any) -> dict[str, Any]:
    """A `case.json` that names a patient."""
    known = {"patient": {"id": patient, "issuer": "HOSP", "family": f"Family{patient}", "given": "Zoe"}, **more}
    return known if fields is None else {**known, "expected_fields": fields}


def audit_is_intact(service: RunningService) -> bool:
    """Whether the audit chain verifies."""
    intact: bool = service.read(lambda work: work.audit.verify().intact)
    return intact


def contents_below(folders: Sequence[Path]) -> dict[Path, bytes]:
    """Every file below some folders; one that goes away meanwhile is left out."""
    found = {}
    for path in (path for folder in folders for path in folder.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_file():
                found[path] = path.read_bytes()
    return found


def _is_alive(entry: Path) -> bool:
    return ") Z " not in (entry / "stat").read_text()


def send_loosely(port: int, file: Path, *messages: bytes) -> list[Ack]:
    """Send with python-hl7's `mllp_send --loose` over one connection, as an interface engineer does; gives its answers.

    Parameters
    ----------
    file : Path
        Where the messages are written, one segment a line.
    """
    program = peer("mllp_send", str(Path(sys.executable).with_name("mllp_send")), remedy="pip install hl7")
    file.write_bytes(b"\n".join(body.replace(b"\r", b"\n") for body in messages))
    command = [str(program), "--loose", "--file", str(file), "--port", str(port), "127.0.0.1"]
    said = subprocess.run(command, capture_output=True, timeout=240, check=True).stdout
    blocks = [block.strip(b"\x0b\r\n") for block in said.split(b"\x1c")]
    return [read_ack(block) for block in blocks if block]
