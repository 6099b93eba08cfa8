"""The parent's side of the DICOM receiver: a process of its own, begun anew whenever it ends.

What it accepts is durable before it says so, so nothing is lost whenever it dies; senders come again.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO

from flows.backoff import Backoff
from flows.disk import watched_folders
from flows.errors import ServiceError
from flows.places import Places
from flows.receiver_child import FAILED, READY, STOP_SECONDS, ReceiverOrder
from flows.settings import Settings

log = logging.getLogger(__name__)

START_SECONDS = 180.0  # a busy machine takes its time; one that was ended too early would never begin
STEADY_SECONDS = 30.0  # served for so long, a receiver that ends is begun anew at once
KILL_SECONDS = STOP_SECONDS + 3.0
_TICK = 0.2
_MAIN = "import sys; from flows.receiver_child import main; sys.exit(main())"


class ReceiverProcess:
    """The DICOM receiver, if the settings want one; for any number of threads.

    Parameters
    ----------
    settings : Settings
    places : Places
    clock : callable
        Monotonic seconds.

    Attributes
    ----------
    starts : int
        How often a process was started.
    """

    def __init__(self, settings: Settings, places: Places, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings.dicom.receiver
        self._order = ReceiverOrder(
            database_url=settings.database.url,
            store=places.store,
            settings=self._settings,
            folders=watched_folders(settings, places),
            stop_bytes=settings.disk.stop_bytes,
        )
        self._output = places.logs / "receiver.log"
        self._inherit: Sequence[int] = ()
        self._clock = clock
        self._backoff = Backoff(first=1.0, longest=30.0)
        self._failures = 0
        self.starts = 0
        self._stopping = threading.Event()
        self._state = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._problem: str | None = "is being started"
        self._thread: threading.Thread | None = None

    @property
    def enabled(self) -> bool:
        """Whether there is to be one."""
        return self._settings.enabled

    @property
    def address(self) -> str:
        """Where it listens, for people."""
        return f"{self._settings.ae_title} at {self._settings.host}:{self._settings.port}"

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def problem(self) -> str | None:
        """What is wrong with it; None while it serves."""
        with self._state:
            return self._problem

    def start(self, inherit: Sequence[int] = ()) -> None:
        """Start it, if there is to be one; returns at once.

        Parameters
        ----------
        inherit : sequence of int
            Descriptors that the process keeps open as long as it lives.
        """
        if self.enabled:
            self._inherit = tuple(inherit)
            self._thread = threading.Thread(target=self._run, name="dicom receiver", daemon=True)
            self._thread.start()

    def is_ready_or_fails(self, seconds: float) -> bool:
        """Wait so long; True when it serves, or none is to.

        Raises
        ------
        ServiceError
            It cannot serve.
        """
        if not self.enabled:
            return True
        with self._state:
            self._state.wait_for(lambda: self._problem is None or self._failures > 0, seconds)
            if self._problem is not None and self._failures:
                raise ServiceError(f"the DICOM receiver: {self._problem}; see [dicom.receiver] and {self._output}")
            return self._problem is None

    def stop(self) -> None:
        """End it; an instance in hand is still answered."""
        self._stopping.set()
        self._hang_up()
        if self._thread is not None:
            self._thread.join()

    # ---------------------------------------------------------------------------------------------------------- inside
    def _run(self) -> None:
        while not self._stopping.is_set():
            begun = self._clock()
            reason = self._serve()
            if self._stopping.is_set():
                return
            steady = self._clock() - begun >= STEADY_SECONDS
            with self._state:
                self._failures = 1 if steady else self._failures + 1
                self._problem = reason
                self._state.notify_all()
            log.warning("the DICOM receiver %s; it is begun anew", reason)
            self._stopping.wait(self._backoff.seconds(self._failures, 1.0))

    def _serve(self) -> str:
        """Run one process to its end; gives what is wrong then."""
        try:
            process = self._spawn()
        except OSError as error:
            return f"cannot be started ({error.strerror or type(error).__name__})"
        too_late = threading.Timer(START_SECONDS, process.kill)
        too_late.start()
        try:
            word = self._hear(process)
        finally:
            too_late.cancel()
        if word == READY:
            with self._state:
                self._problem = None
                self._state.notify_all()
        self._await_end(process)
        return word.removeprefix(FAILED).strip() if word.startswith(FAILED) else "ended"

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", _MAIN],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                pass_fds=tuple(self._inherit),
            )
        self._process = process
        self.starts += 1
        with suppress(OSError):  # it has ended already: `_hear` finds out
            _pipe(process.stdin).write(self._order.model_dump_json().encode() + b"\n")
            _pipe(process.stdin).flush()
        if self._stopping.is_set():
            self._hang_up()
        return process

    def _hear(self, process: subprocess.Popen[bytes]) -> str:
        return _pipe(process.stdout).readline().decode(errors="replace").strip()

    def _await_end(self, process: subprocess.Popen[bytes]) -> None:
        kill_at: float | None = None
        while process.poll() is None:
            if self._stopping.is_set() and kill_at is None:
                kill_at = self._clock() + KILL_SECONDS
            if kill_at is not None and self._clock() >= kill_at:
                process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_TICK)
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                _pipe(pipe).close()

    def _hang_up(self) -> None:
        process = self._process
        if process is not None:
            with suppress(OSError, ValueError):  # it has ended meanwhile
                _pipe(process.stdin).close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ServiceError("the DICOM receiver was started without its pipes")
    return stream
