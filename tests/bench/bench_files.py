"""Reading and staging a file, beside the bare work that each needs."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from pathlib import Path

import numpy as np
import simplejpeg

from integrations.folder.source import SeenFile
from integrations.folder.staging import Staging
from sphero_core.image import probe_image, read_image, read_reduced
from tests.bench.table import Row, side_by_side

WIDTH, HEIGHT = 2400, 1800
MAX_BYTES = 64 << 20


def smear_like_jpeg() -> bytes:
    """Give a JPEG of discs on a light ground with camera noise: about the detail and the size of a smear's field."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disc = (np.hypot(x % 150 - 75, y % 150 - 75) < 60)[..., None]
    pixels = np.where(disc, (200, 140, 150), (235, 228, 232)) + rng.normal(0, 3, (HEIGHT, WIDTH, 1))
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8)), quality=92))


def measure() -> list[Row]:
    """Read whole and reduced beside a bare decode; stage beside a bare durable copy."""
    data = smear_like_jpeg()
    size = f"{WIDTH} x {HEIGHT} JPEG, {len(data) / 2**20:.1f} MiB"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "field.jpg"
        path.write_bytes(data)
        whole = side_by_side(
            lambda: read_image(path), lambda: simplejpeg.decode_jpeg(path.read_bytes(), fastdct=True), rounds=7
        )
        reduced = side_by_side(lambda: read_reduced(path), lambda: read_image(path), rounds=7)
        staged = measure_staging(Path(folder), data)
    return [
        Row(f"read a field ({size})", whole[0] * 1e3, "ms", "bare decode", whole[1] * 1e3, 2.0),
        Row("read it small, to measure its scale", reduced[0] * 1e3, "ms", "read it whole", reduced[1] * 1e3, 1.0),
        Row("stage it durably", staged[0] * 1e3, "ms", "write, fsync, rename, fsync", staged[1] * 1e3, 2.5),
    ]


def measure_staging(folder: Path, data: bytes) -> tuple[float, float]:
    """Time `Staging.accept` and the same bytes written durably by hand; new bytes each time, as new fields are."""
    incoming, bare = folder / "incoming", folder / "bare"
    for each in (incoming / "case", bare):
        each.mkdir(parents=True)
    staging = Staging(
        incoming=incoming,
        store=folder / "store",
        quarantine=folder / "quarantine",
        inspect=probe_image,
        max_bytes=MAX_BYTES,
    )
    staging.prepare()
    rounds = 15
    seen = []
    for number in range(rounds + 1):
        path = incoming / "case" / f"{number}.jpg"
        path.write_bytes(data + number.to_bytes(2))
        state = path.stat()
        seen.append(SeenFile(("case", path.name), state.st_size, state.st_mtime_ns))
    files, numbers = iter(seen), itertools.count()
    return side_by_side(
        lambda: staging.accept(next(files)), functools.partial(write_by_hand, bare, data, numbers), rounds=rounds
    )


def write_by_hand(folder: Path, data: bytes, numbers: itertools.count[int]) -> None:
    """Write one file the shortest durable way."""
    name = folder / str(next(numbers))
    with name.with_suffix(".partial").open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    name.with_suffix(".partial").rename(name)
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
