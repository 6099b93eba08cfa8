"""The parent's side of the model process: starts it, asks it, and begins it anew when it dies or falls silent.

One thread owns the child and all that is known about it; others hand in requests and get futures. No word from the child
for `silence_seconds` while it has work means that it hangs: it is killed. What was in flight then is asked once more, one
request at a time, so that the image that ends the process is found; it is not asked a third time.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from flows.errors import FieldFatal, FieldRefused, FieldUnreadable, ModelUnavailable
from flows.model_child import WORKERS, ImageTask, Word
from sphero_core.types import BundleId, FieldFindings

log = logging.getLogger(__name__)

WINDOW = WORKERS + 1  # one lies ready
MOST_CRASHES = 2
LONGEST_BACKOFF = 30.0
_TICK = 0.5
# Not `-m`: the module would be there twice, and what one of them pickles the other would not know.
_MAIN = "import sys; from flows.model_child import main; sys.exit(main(sys.argv[1:]))"


@dataclass(slots=True, eq=False)
class _Request:
    number: int
    kind: str
    values: tuple[Any, ...]
    future: Future[Any] = field(default_factory=Future)
    crashes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Child:
    process: subprocess.Popen[bytes]
    connection: Connection


class ModelProcess:
    """One warm model in a process of its own; for any number of threads.

    Parameters
    ----------
    factory, argument : str
        What the child loads; see `flows.model_child`.
    output : Path or None
        File for what the child prints; None leaves it on our own standard error.
    inherit : sequence of int
        Descriptors the child keeps open as long as it lives.
    load_seconds, silence_seconds : float
        Until the model must be loaded; longest silence while there is work.
    clock : callable
        Monotonic seconds.

    Attributes
    ----------
    starts : int
        How often a child was started.
    """

    def __init__(
        self,
        factory: str,
        argument: str,
        *,
        output: Path | None = None,
        inherit: Sequence[int] = (),
        load_seconds: float = 180.0,
        silence_seconds: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = (factory, argument)
        self._output = output
        self._inherit = tuple(inherit)
        self._load_seconds = load_seconds
        self._silence_seconds = silence_seconds
        self._clock = clock
        self._numbers = itertools.count(1)
        self._events: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self._waiting: deque[_Request] = deque()
        self._in_flight: dict[int, _Request] = {}
        self._child: _Child | None = None
        self._last_word = 0.0
        self._failures = 0
        self.starts = 0
        self._not_before = 0.0
        self._state = threading.Condition()
        self._bundle: BundleId | None = None
        self._problem: str | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="model process", daemon=True)

    # ------------------------------------------------------------------------------------------------ for other threads
    def start(self) -> None:
        """Begin loading; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the child and fail what is still asked."""
        self._events.put(("stop", None, None))
        if self._thread.is_alive():
            self._thread.join()

    @property
    def pid(self) -> int | None:
        """Of the child, while there is one."""
        child = self._child
        return child.process.pid if child else None

    @property
    def ready(self) -> bool:
        """Whether a model is loaded now."""
        with self._state:
            return self._bundle is not None

    @property
    def problem(self) -> str | None:
        """Why there is no model now, in words."""
        with self._state:
            return self._problem

    def wait_ready(self, timeout: float) -> BundleId:
        """Wait until the model is loaded.

        Raises
        ------
        ModelUnavailable
            It cannot be loaded, or was not within `timeout` seconds.
        """
        with self._state:
            self._state.wait_for(lambda: self._bundle or self._problem or self._stopping, timeout)
            if self._bundle is None:
                raise ModelUnavailable(self._problem or f"the model was not loaded within {timeout:g} s")
            return self._bundle

    def is_ready_or_fails(self, seconds: float) -> bool:
        """Wait so long; True when the model is loaded.

        Raises
        ------
        ModelUnavailable
            It cannot be loaded.
        """
        with self._state:
            self._state.wait_for(lambda: self._bundle or self._problem, seconds)
            if self._problem is not None:
                raise ModelUnavailable(self._problem)
            return self._bundle is not None

    def measure(self, task: ImageTask) -> Future[Any]:
        """Diameters of the field's lone red cells, in pixels of the field."""
        return self._submit("measure", (task,))

    def analyse(self, task: ImageTask, cell_diameter_px: float | None) -> Future[FieldFindings]:
        """Find the cells of a field.

        The future raises `FieldRefused`, `FieldFatal`, `FieldUnreadable`, or `ModelUnavailable`.
        """
        return self._submit("analyse", (task, cell_diameter_px))

    def draw(self, task: ImageTask, findings: FieldFindings) -> Future[bytes]:
        """The findings drawn over their field, as JPEG; goes before what waits, for a person is looking."""
        return self._submit("draw", (task, findings))

    def _submit(self, kind: str, values: tuple[Any, ...]) -> Future[Any]:
        request = _Request(next(self._numbers), kind, values)
        self._events.put(("ask", None, request))
        return request.future

    # ------------------------------------------------------------------------------------------------- the owning thread
    def _run(self) -> None:
        while not self._stopping:
            if self._child is None and self._clock() >= self._not_before:
                self._launch()
            try:
                self._handle(*self._events.get(timeout=_TICK))
            except queue.Empty:
                self._check_silence()
            self._fill()
        self._end_child()
        self._fail_all("the model process is being stopped")
        with self._state:
            self._state.notify_all()

    def _handle(self, event: str, child: _Child | None, value: Any) -> None:
        if event == "stop":
            self._stopping = True
        elif event == "ask":
            if value.kind == "draw":
                self._waiting.appendleft(value)
            else:
                self._waiting.append(value)
        elif child is not self._child:
            return  # the last words of one that is gone
        elif event == "gone":
            self._lost("it ended by itself")
        else:
            self._last_word = self._clock()
            self._hear(*value)

    def _hear(self, number: int | None, word: Word, value: Any) -> None:
        if number is None:
            if word is Word.READY:
                self._failures = 0
                self._tell(value, None)
            elif word is Word.FAILED:
                self._lost(value)
            return
        request = self._in_flight.pop(number, None)
        if request is None or not request.future.set_running_or_notify_cancel():
            return
        if word is Word.DONE:
            request.future.set_result(value)
        elif word is Word.UNREADABLE:
            request.future.set_exception(FieldUnreadable(value))
        else:
            request.future.set_exception(FieldRefused(value))

    def _fill(self) -> None:
        """Hand over what is waiting, as far as the window allows; a suspect goes alone."""
        while self._waiting and self._child is not None and self._bundle is not None:
            request = self._waiting[0]
            suspect = request.crashes > 0 or any(other.crashes for other in self._in_flight.values())
            if len(self._in_flight) >= (1 if suspect else WINDOW):
                return
            self._waiting.popleft()
            if request.future.cancelled():
                continue
            if not self._in_flight:
                self._last_word = self._clock()
            self._in_flight[request.number] = request
            try:
                self._child.connection.send((request.number, request.kind, request.values))
            except OSError:
                self._lost("it ended by itself")

    def _check_silence(self) -> None:
        if self._child is None:
            return
        loading = self._bundle is None
        limit = self._load_seconds if loading else self._silence_seconds
        if (loading or self._in_flight) and self._clock() - self._last_word > limit:
            self._lost(f"it was silent for {limit:g} s")

    def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            process = self._spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            self._lost(f"it cannot be started ({error.strerror})")
            return
        finally:
            theirs.close()
        self.starts += 1
        child = _Child(process, Connection(ours.detach()))
        self._child, self._last_word = child, self._clock()
        threading.Thread(target=self._listen, args=(child,), name="model replies", daemon=True).start()

    def _spawn(self, descriptor: int) -> subprocess.Popen[bytes]:
        output = self._output.open("ab") if self._output else None
        try:
            return subprocess.Popen(
                [sys.executable, "-c", _MAIN, str(descriptor), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output or 2,
                stderr=output or 2,
                pass_fds=(descriptor, *self._inherit),
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"},
            )
        finally:
            if output:
                output.close()

    def _listen(self, child: _Child) -> None:
        """Hand the child's words to the owning thread; blocks in between, so it is a thread of its own."""
        while True:
            try:
                self._events.put(("word", child, child.connection.recv()))
            except (EOFError, OSError):
                child.connection.close()  # here, where nobody reads from the descriptor any more
                self._events.put(("gone", child, None))
                return

    def _lost(self, reason: str) -> None:
        """The child is of no more use: end it, and decide what becomes of what was in flight."""
        was_ready = self._bundle is not None
        self._end_child()
        self._failures += not was_ready
        self._not_before = self._clock() + (min(2.0**self._failures, LONGEST_BACKOFF) if self._failures else 0.0)
        problem = f"the model process failed: {reason}"
        self._tell(None, None if was_ready else problem)
        log.warning("%s; %d fields were in it", problem, len(self._in_flight))
        suspects, self._in_flight = list(self._in_flight.values()), {}
        for request in reversed(suspects):
            request.crashes += 1
            if request.crashes < MOST_CRASHES:
                self._waiting.appendleft(request)
            elif request.future.set_running_or_notify_cancel():
                request.future.set_exception(FieldFatal(f"the analysis of this image failed twice: {reason}"))
        if not was_ready:
            self._fail_all(problem)

    def _fail_all(self, problem: str) -> None:
        pending = [*self._in_flight.values(), *self._waiting]
        self._in_flight.clear()
        self._waiting.clear()
        for request in pending:
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(ModelUnavailable(problem))

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.process.kill()
        child.process.wait()

    def _tell(self, bundle: BundleId | None, problem: str | None) -> None:
        with self._state:
            self._bundle, self._problem = bundle, problem
            self._state.notify_all()
