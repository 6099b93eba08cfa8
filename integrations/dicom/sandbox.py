"""DICOM files read in a child process with limits on memory, processor time and wall time.

The child is kept warm and begun anew when it died, was killed, or has read `_FILES_A_CHILD` files; one whose memory ran
out ends by itself. A file that ended it is tried once more by a new child, since something else may have ended it;
the second time it is refused. What the child answers is checked like anything that comes from outside.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from integrations.dicom.header import Header
from integrations.dicom.limits import DEFAULT_LIMITS
from integrations.errors import SandboxFailed, StoreError, StoreFull
from sphero_core.errors import DamagedImage, ImageError, ImageTooLarge, UnreadableImage, UnsupportedImage

log = logging.getLogger(__name__)

_FILES_A_CHILD = 200
_MAIN = "import sys; from integrations.dicom.sandbox_child import main; sys.exit(main())"
_LONGEST_LINE = 4 << 20
_REFUSALS: dict[str, type[ImageError]] = {
    kind.__name__: kind for kind in (DamagedImage, ImageTooLarge, UnsupportedImage)
}
_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Time that a child may take; memory and sizes stand in `integrations.dicom.sandbox_child`.

    Attributes
    ----------
    start_seconds : float
        Until a new child is ready.
    step_seconds : float
        Until the header, or the next frame, is read.
    cpu_seconds : int
        Processor time for one file.
    """

    start_seconds: float = 60.0
    step_seconds: float = 60.0
    cpu_seconds: int = 300


class Sandbox:
    """Reads DICOM files in a child process; for any number of threads, one file at a time.

    Parameters
    ----------
    limits : SandboxLimits
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, limits: SandboxLimits = SandboxLimits(), clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._child: _Child | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child; the next file begins a new one."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Of the child, while there is one."""
        return self._child.process.pid if self._child is not None else None

    def header(self, path: Path) -> Header:
        """Read everything but the pixels.

        Raises
        ------
        ImageError
            The file is no object that is read; says what, where and what to do.
        SandboxFailed
            The child cannot be started; nothing is known about the file.
        """
        return self._ask(path, None)[0]

    def frames(self, path: Path, prefix: Path) -> Header:
        """Decode every frame into a PNG ``<prefix>.<frame>``, frames counted from 0.

        Raises
        ------
        ImageError, SandboxFailed
            As `header`; files that were written are removed.
        StoreError
            The PNG cannot be written.
        """
        header, written = None, 0
        try:
            header, written = self._ask(path, prefix)
        finally:
            if header is None:
                for leftover in prefix.parent.glob(f"{prefix.name}.*"):
                    leftover.unlink(missing_ok=True)
        if written != header.pixels.frames:
            raise SandboxFailed("the DICOM reader gave another number of frames than it announced")
        return header

    # ------------------------------------------------------------------------------------------------------------ inside
    def _ask(self, path: Path, prefix: Path | None) -> tuple[Header, int]:
        _check_readable(path)
        request: dict[str, Any] = {"path": os.fspath(path), "cpu_seconds": self._limits.cpu_seconds}
        if prefix is not None:
            request["prefix"] = os.fspath(prefix)
        with self._lock:
            try:
                return self._ask_once(request)
            except _ChildEnded:
                log.warning("the process that reads DICOM files ended; the file is tried once more by a new one")
            try:
                return self._ask_once(request)
            except _ChildEnded as ended:
                raise _refusal_of(ended) from None

    def _ask_once(self, request: dict[str, Any]) -> tuple[Header, int]:
        child = self._warm()
        try:
            child.send(request)
            answers = child.answers(self._clock, self._limits.step_seconds)
            answered = _follow(answers, with_frames="prefix" in request)
        except (ImageError, StoreError):
            self._count(child)
            raise
        except BaseException:
            self._end()  # it died, or may be in the middle of a file
            raise
        self._count(child)
        return answered

    def _count(self, child: _Child) -> None:
        child.files += 1
        if child.files >= _FILES_A_CHILD:
            self._end()

    def _warm(self) -> _Child:
        if self._child is not None and self._child.process.poll() is None:
            return self._child
        self._end()
        self._child = child = _Child()
        try:
            ready = "ready" in next(child.answers(self._clock, self._limits.start_seconds))
        except _ChildEnded:
            ready = False
        if not ready:
            self._end()
            raise SandboxFailed("the process that reads DICOM files does not start: is the extra `service` installed?")
        return child

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _ChildEnded(Exception):
    """The child died (with its exit status) or was too slow (None)."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class _Child:
    """One process and the pipes to it."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _MAIN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries quote what they read
            env=environment,
            start_new_session=True,  # a signal to our group is for us to act on
        )
        self.files = 0
        self._rest = b""

    def send(self, request: dict[str, Any]) -> None:
        """Ask."""
        assert self.process.stdin is not None  # noqa: S101  # we asked for a pipe
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise _ChildEnded(self.process.poll()) from None

    def answers(self, clock: Callable[[], float], seconds: float) -> Iterator[dict[str, Any]]:
        """Give answers as they come, each within `seconds` of the one before.

        Raises
        ------
        _ChildEnded
        """
        assert self.process.stdout is not None  # noqa: S101
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            end = clock() + seconds
            while True:
                line, separator, rest = self._rest.partition(b"\n")
                if separator:
                    self._rest = rest
                    yield _parsed(line)
                    end = clock() + seconds
                    continue
                if len(self._rest) > _LONGEST_LINE or not selector.select(max(0.0, end - clock())):
                    raise _ChildEnded(None)
                chunk = os.read(self.process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise _ChildEnded(self.process.wait())
                self._rest += chunk

    def end(self) -> None:
        """Kill it and wait for its end."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was still to be written to it
                    pipe.close()


def _follow(answers: Iterator[dict[str, Any]], *, with_frames: bool) -> tuple[Header, int]:
    """Header and number of frames written, as the child tells them.

    Raises
    ------
    ImageError, StoreError, SandboxFailed, _ChildEnded
    """
    header: Header | None = None
    for answer in answers:
        if "refused" in answer:
            raise _REFUSALS.get(str(answer["refused"]), DamagedImage)(str(answer.get("why", "")))
        if "failed" in answer:
            kind = StoreFull if answer["failed"] in _NO_SPACE else StoreError
            raise kind("The decoded image cannot be written: check the disk and the rights on [paths] data.")
        if "header" in answer:
            header = _header_of(answer["header"])
        if header is not None and not with_frames:
            return header, 0
        if header is not None and "done" in answer:
            return header, int(answer["done"])
    raise SandboxFailed("the DICOM reader ended without an answer")


def _refusal_of(ended: _ChildEnded) -> ImageError:
    what = "takes too long" if ended.status is None else "ends the program that reads it"
    log.warning("a DICOM object %s (status %s), twice", what, ended.status)
    return DamagedImage(f"The DICOM object is an unreadable image, it {what}: send it again, or export it as TIFF.")


def _header_of(values: Any) -> Header:
    try:
        return Header.from_json(values)
    except (TypeError, KeyError, AttributeError):
        raise SandboxFailed("the DICOM reader gave an answer that cannot be used") from None


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise SandboxFailed("the DICOM reader gave an answer that cannot be used")
    return answer


def _check_readable(path: Path) -> None:
    reason = ""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if reason:
        raise UnreadableImage(f"The DICOM file cannot be opened ({reason}): check that it exists and may be read.")
    if size > DEFAULT_LIMITS.max_bytes:
        raise ImageTooLarge(
            f"The DICOM file has {size:,} bytes, more than the {DEFAULT_LIMITS.max_bytes:,} that are read: "
            "export single fields of view."
        )
