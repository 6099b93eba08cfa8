"""Mutants of good DICOM files through the reader: whatever is changed, nothing but a refusal comes out.

    python -m tests.dicom_mutants --count 1000000 --seed 1

A child with the sandbox's limits makes and reads mutants in batches, and tells after each one. One that ends the child (a
fault in a decoder written in C) is contained, counted, and the next child goes on behind it: in service it costs that
file. What must not happen: an exception beyond the edge, a child that hangs, a frame of another size than was announced.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
SLOWEST_SECONDS = 60.0
_CHILD = "from tests.dicom_mutants import child; child()"


@dataclass(slots=True)
class Tally:
    """What became of mutants.

    Attributes
    ----------
    ended : Counter
        By outcome: ``read``, the kind of refusal, or ``killed`` with the signal.
    faults : list of str
        What must not happen, with seed and number.
    slowest : float
        Seconds of the slowest mutant.
    """

    ended: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0


def seeds() -> list[bytes]:
    """Good files: each way to store pixels, each way to write a data set."""
    from tests import dicom_encodings as made

    picture = made.smear()[:32, :48]
    files = [
        made.written(made.data_set(picture, syntax, PixelSpacing=[0.0001, 0.0001]))
        for syntax in (made.IMPLICIT, made.EXPLICIT, made.DEFLATED, made.BIG_ENDIAN)
    ]
    coded = (made.JPEG, made.JPEG_LS, made.JPEG_2000, made.RLE)
    files += [made.written(made.compressed(np.stack([picture, picture[::-1]]), syntax)) for syntax in coded]
    streams = [(made.STREAMS / "lossless.j2c").read_bytes()]
    files.append(made.written(made.with_streams(made.data_set(made.smear(), made.HTJ2K), streams)))
    files.append(made.written(made.data_set(picture[:, :, 1] // 16, **_palette())))
    return files + lossless_jpegs()


def _palette() -> dict[str, Any]:
    told: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        told[f"{name}PaletteColorLookupTableDescriptor"] = [16, 0, 16]
        told[f"{name}PaletteColorLookupTableData"] = np.arange(16, dtype="<u2").tobytes()
    return told


def lossless_jpegs() -> list[bytes]:
    """Lossless JPEG of pydicom's own test files; nothing that we install writes it."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file("SC_rgb_jpeg_gdcm.dcm", download=False)
    return [Path(path).read_bytes()] if path is not None else []


def mutant(files: list[bytes], seed: int, number: int) -> bytes:
    """The mutant of this number; the same on every machine."""
    rng = np.random.default_rng((seed, number))
    data = bytearray(files[int(rng.integers(len(files)))])
    gentle = rng.random() < 0.6  # single bytes only: lengths mostly hold, and the decoders get to see it
    for _ in range(int(rng.integers(1, 6))):
        # Half of the other changes hit the first kilobyte, where lengths, tags and sizes stand.
        end = len(data) if gentle or rng.random() < 0.5 else min(len(data), 1_024)
        begin = 132 if gentle or rng.random() < 0.9 else 0
        at = int(rng.integers(begin, max(begin + 1, end)))
        kind = 0 if gentle else int(rng.integers(6))
        if kind == 0:
            data[at : at + 1] = bytes([int(rng.integers(256))])
        elif kind == 1:
            data[at : at + 4] = (0, 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)[int(rng.integers(5))].to_bytes(4, "little")
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 64))]
        elif kind == 3:
            data[at:at] = data[at : at + int(rng.integers(1, 64))]
        elif kind == 4:
            data[at:at] = rng.bytes(int(rng.integers(1, 16)))
        else:
            del data[at:]
    return bytes(data)


def child() -> None:
    """Read mutants ``seed first last`` as told on standard input; a line for each."""
    from integrations.dicom.sandbox_child import read, set_limits

    channel = os.dup(1)
    os.dup2(2, 1)
    files = seeds()
    set_limits()
    seed, first, last = (int(word) for word in sys.stdin.readline().split())
    for number in range(first, last):
        os.write(channel, (json.dumps([number, _outcome(read, mutant(files, seed, number))]) + "\n").encode())


def _outcome(read: Callable[..., bool], data: bytes) -> str:
    said: list[Mapping[str, Any]] = []
    shapes: list[tuple[int, ...]] = []

    def write(_: int, pixels: NDArray[np.uint8]) -> None:
        shapes.append((*pixels.shape, pixels.dtype.itemsize))

    try:
        read(data, said.append, write)
    except Exception as error:  # noqa: BLE001  # what must not happen
        return f"fault: {type(error).__name__}"
    last = said[-1]
    if "refused" in last:
        return str(last["refused"])
    told = said[0]["header"]["pixels"]
    right = (told["rows"], told["columns"], 3, 1)
    return "read" if shapes == [right] * told["frames"] and last == {"done": told["frames"]} else "fault: frames"


def run(count: int, seed: int, *, say: Callable[[str], None] = lambda _: None) -> Tally:
    """Read so many mutants."""
    tally, following = Tally(), 0
    while following < count:
        following = _batch(seed, following, count, tally)
        say(f"{following:,} of {count:,}: {dict(tally.ended)}")
    return tally


def _batch(seed: int, first: int, last: int, tally: Tally) -> int:
    """Read mutants with one child until it ends; gives the number of the next mutant."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seed} {first} {last}\n".encode())
    process.stdin.flush()
    following, rest, since = first, b"", time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(SLOWEST_SECONDS):
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            number = first
            for line in lines:
                number, ended = json.loads(line)
                following = number + 1
                tally.ended[ended] += 1
                if ended.startswith("fault"):
                    tally.faults.append(f"seed {seed}, mutant {number}: {ended}")
            if number > first:
                tally.slowest = max(tally.slowest, time.monotonic() - since)
            since = time.monotonic()
        else:
            tally.faults.append(f"seed {seed}, mutant {following}: takes longer than {SLOWEST_SECONDS:g} s")
            process.kill()
    status = process.wait()
    process.stdin.close()
    process.stdout.close()
    if following < last:
        tally.ended[f"killed ({status})"] += 1
        following += 1
    return following


def main() -> int:
    """Read mutants and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    started = time.monotonic()
    tally = run(told.count, told.seed, say=print)
    print(f"{told.count:,} mutants in {time.monotonic() - started:.0f} s, the slowest {tally.slowest:.1f} s")
    for fault in tally.faults:
        print(fault)
    return bool(tally.faults)


if __name__ == "__main__":
    sys.exit(main())
