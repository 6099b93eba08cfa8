"""The process in which strangers' DICOM files are read: it can be slow, grow or die, and nothing else suffers.

It answers requests of one line of JSON with lines of JSON, never with pickles: should a hostile file take it over, its
answers still can do nothing but lie. Everything that a file makes a library raise is caught here, once.

    {"do": "header", "path": ...}                  -> {"header": {...}}
    {"do": "frames", "path": ..., "prefix": ...}   -> {"header": {...}}, {"frame": 0}, {"frame": 1}, ..., {"done": n}
    whatever goes wrong                            -> {"refused": kind, "why": text}

Frames are written as PNG, lossless, to ``<prefix>.<frame>``.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from integrations.dicom.limits import DEFAULT_LIMITS, ReaderLimits
from integrations.dicom.reader import open_instance
from sphero_core.errors import DamagedImage, ImageError, ImageTooLarge, UnsupportedImage

MEMORY = 2 << 30
"""Bytes of address space beyond what the idle process has."""

LARGEST_OUTPUT = 512 << 20
"""Bytes of one file that is written."""

KINDS = {kind.__name__: kind for kind in (DamagedImage, ImageTooLarge, UnsupportedImage)}
_PNG_LEVEL = 1  # what compresses better takes several times as long

Say = Callable[[dict[str, Any]], None]


def main() -> int:
    """Answer until standard input ends."""
    channel = os.dup(1)
    os.dup2(2, 1)  # what a C library prints must not look like an answer

    def say(answer: dict[str, Any]) -> None:
        line = memoryview(json.dumps(answer).encode() + b"\n")
        while line:
            line = line[os.write(channel, line) :]

    set_limits()
    say({"ready": os.getpid()})
    for line in sys.stdin.buffer:
        if not answer(json.loads(line), say):
            break
    return 0


def set_limits() -> None:
    """Limit memory, files and noise of this process; what libraries need was taken before."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    cv2.setNumThreads(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + MEMORY
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, LARGEST_OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def answer(request: dict[str, Any], say: Say) -> bool:
    """Answer one request; False where this process must not go on. Never raises for what is in a file."""
    resource.setrlimit(resource.RLIMIT_CPU, (_cpu_used() + int(request["cpu_seconds"]), resource.RLIM_INFINITY))
    try:
        data = _read(Path(request["path"]), DEFAULT_LIMITS)
        prefix = request.get("prefix")
        return read(data, say, None if prefix is None else lambda number, pixels: _write(f"{prefix}.{number}", pixels))
    except _OutputFailed as failed:
        say({"failed": failed.args[0]})
    return True


def read(data: bytes, say: Say, write: Callable[[int, NDArray[np.uint8]], None] | None) -> bool:
    """Read one file; `write` takes its frames, None: the header suffices. False where memory ran out."""
    try:
        instance = open_instance(data)
        say({"header": instance.header.to_json()})
        if write is None:
            return True
        number = -1
        for number, pixels in enumerate(instance.frames()):
            write(number, pixels)
            say({"frame": number})
        say({"done": number + 1})
    except _OutputFailed:
        raise
    except ImageError as refusal:
        say({"refused": type(refusal).__name__, "why": str(refusal)})
    except MemoryError:
        say({"refused": "ImageTooLarge", "why": "The DICOM object needs more memory to be read than it may have: "
             "export single fields of view."})  # fmt: skip
        return False
    except Exception as error:  # noqa: BLE001  # the one edge: hostile files make libraries raise anything
        say({"refused": "DamagedImage", "why": _unreadable(error)})
    return True


class _OutputFailed(Exception):
    """A frame could not be written: our own disk, not the file."""


def _unreadable(error: BaseException) -> str:
    """Say where reading ended; the text of a foreign exception may quote the file and is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = next((frame.name.strip("_") for frame in reversed(frames) if "integrations/dicom" in frame.filename), "?")
    place = f"{type(error).__name__} in {ours.replace('_', ' ')}"
    return f"The DICOM object is an unreadable image ({place}): send it again from the scanner, or export it as TIFF."


def _read(path: Path, limits: ReaderLimits) -> bytes:
    with path.open("rb") as stream:
        return stream.read(limits.max_bytes + 1)


def _write(path: str, pixels: NDArray[np.uint8]) -> None:
    encoded = cv2.imencode(".png", pixels[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])[1]
    try:
        with Path(path).open("wb") as stream:
            stream.write(encoded.tobytes())
    except OSError as error:
        raise _OutputFailed(error.errno) from None


def _cpu_used() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int(used.ru_utime + used.ru_stime) + 1
