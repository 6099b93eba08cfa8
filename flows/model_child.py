"""The model process: one warm model, asked over a pipe; everything about a field's pixels happens here.

`main` gets the pipe's descriptor, a factory and its argument. The factory, ``module:name``, is called with the argument
and a callable to be called as a sign of life, and gives an `Engine`. Some requests are worked on at a time: while others
are in the network, one is read or measured, so that a further field costs little beyond its passes.

The process ends with its parent, however that dies: its end of the pipe closes.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from sphero_core.errors import ImageError, SpheroCoreError, UnreadableImage
from sphero_core.types import BundleId, FieldFindings

WORKERS = 3  # two in the network, one reads or measures


@dataclass(frozen=True, slots=True)
class ImageTask:
    """Which pixels: a stored file, the page in it, and the shape of its pixels."""

    path: Path = field(repr=False)
    frame: int
    pixel_aspect: float


class Engine(Protocol):
    """What the process is asked; raises `ImageError` for an image that cannot be used."""

    @property
    def bundle(self) -> BundleId:
        """Whose findings these are."""
        ...

    def measure(self, task: ImageTask) -> Any:
        """Diameters of the field's lone red cells, in pixels of the field, as an array."""
        ...

    def analyse(self, task: ImageTask, cell_diameter_px: float | None) -> FieldFindings:
        """Find and measure the cells of a field."""
        ...

    def draw(self, task: ImageTask, findings: FieldFindings) -> bytes:
        """The findings drawn over their field, as JPEG."""
        ...


Factory = Callable[[str, Callable[[], None]], Engine]


class Word(StrEnum):
    """What the process says."""

    READY = "ready"
    LIFE = "life"
    DONE = "done"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    FAILED = "failed"


def main(arguments: list[str]) -> int:
    """Load the engine and answer until the parent is gone."""
    for caught in (signal.SIGINT, signal.SIGTERM):  # both may reach the whole group; the parent ends us in its order
        signal.signal(caught, signal.SIG_IGN)
    descriptor, factory, argument = arguments
    pipe = Pipe(Connection(int(descriptor)))
    requests = _Requests(pipe)
    try:
        engine = load_factory(factory)(argument, pipe.live)
    except SpheroCoreError as error:
        pipe.say(None, Word.FAILED, str(error))
        return 1
    pipe.say(None, Word.READY, engine.bundle)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="field") as pool:
        for number, kind, values in requests:
            pool.submit(_answer, pipe, engine, number, kind, values)
    return 0


def load_factory(name: str) -> Factory:
    """Import what ``module:name`` names."""
    module, _, attribute = name.partition(":")
    factory: Factory = getattr(importlib.import_module(module), attribute)
    return factory


def _answer(pipe: Pipe, engine: Engine, number: int, kind: str, values: tuple[Any, ...]) -> None:
    pipe.live()
    try:
        pipe.say(number, Word.DONE, _ask(engine, kind, values))
    except UnreadableImage as error:
        pipe.say(number, Word.UNREADABLE, str(error))
    except ImageError as error:
        pipe.say(number, Word.REFUSED, str(error))
    except MemoryError:
        os._exit(3)  # begin anew; the parent finds out whether this image alone needs so much
    except Exception as error:  # the edge of the job: the parent quarantines the field with this reason
        pipe.say(number, Word.FAILED, f"the analysis failed ({type(error).__name__})")
        raise


def _ask(engine: Engine, kind: str, values: tuple[Any, ...]) -> object:
    if kind == "measure":
        return engine.measure(*values)
    if kind == "analyse":
        return engine.analyse(*values)
    return engine.draw(*values)


class Pipe:
    """Our end of the pipe; several threads speak."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._lock = threading.Lock()

    def say(self, number: int | None, word: Word, value: Any = None) -> None:
        """Tell the parent; ends the process when there is none."""
        try:
            with self._lock:
                self.connection.send((number, word, value))
        except OSError:
            os._exit(0)

    def live(self) -> None:
        """A sign of life."""
        self.say(None, Word.LIFE)


class _Requests:
    """What the parent asks, read by a thread of its own so that its end is noticed at once, also while loading."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._items: list[tuple[int, str, tuple[Any, ...]]] = []
        self._arrived = threading.Condition()
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                item = self._pipe.connection.recv()
            except (EOFError, OSError):
                os._exit(0)
            with self._arrived:
                self._items.append(item)
                self._arrived.notify()

    def __iter__(self) -> _Requests:
        return self

    def __next__(self) -> tuple[int, str, tuple[Any, ...]]:
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._items))
            return self._items.pop(0)
