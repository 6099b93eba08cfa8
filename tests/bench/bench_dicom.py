"""Receiving DICOM durably, beside dcmtk's `storescp +B`, which writes files as they come and makes nothing durable."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from db.session import Database
from tests.bench.table import Row
from tests.dicom_objects import make_object, write_object
from tests.dicom_peers import StoreScp, dcmtk

FILES = 100
WIDTH, HEIGHT = 1600, 1200  # 5.76 MB a file
ROUNDS = 3
SECONDS = 300.0


def measure() -> list[Row]:
    """Send the files to each, on one association and on four at once, in turns; the median of the rounds."""
    with tempfile.TemporaryDirectory(prefix="sphero-bench-") as name:
        folder = Path(name)
        seconds: dict[tuple[str, int], list[float]] = {}
        for turn in range(ROUNDS):
            files = write_files(folder / "sent", turn)
            for associations in (1, 4):
                with receiver(folder / f"ours-{turn}-{associations}") as port:
                    seconds.setdefault(("ours", associations), []).append(send(files, port, "SPHERO", associations))
                with StoreScp("--fork", "-pdu", "131072") as theirs:
                    took = send(files, theirs.port, theirs.ae_title, associations)
                    seconds.setdefault(("theirs", associations), []).append(took)
        size = sum(file.stat().st_size for file in files) / 1e6
    return [
        Row(
            f"receive {FILES} files of {size / FILES:.1f} MB on {associations} association{'s' if associations > 1 else ''} "
            f"({size / statistics.median(seconds['ours', associations]):.0f} MB/s)",
            statistics.median(seconds["ours", associations]),
            "s",
            f"dcmtk storescp +B ({size / statistics.median(seconds['theirs', associations]):.0f} MB/s)",
            statistics.median(seconds["theirs", associations]),
            1.0,
        )
        for associations in (1, 4)
    ]


def write_files(folder: Path, turn: int) -> list[Path]:
    """Write the objects anew, of other content in each turn: what is known already would be quicker."""
    noise = np.random.default_rng(turn).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return [
        write_object(folder / f"{number}.dcm", make_object(np.roll(noise, number, axis=0), number=1000 * turn + number))
        for number in range(1, FILES + 1)
    ]


@contextmanager
def receiver(folder: Path) -> Iterator[int]:
    """Run our receiver as a process of its own, as the service does, on SQLite; gives its port."""
    folder.mkdir()
    url = f"sqlite:///{folder / 'sphero.db'}"
    with Database(url) as database:
        database.upgrade()
    command = [sys.executable, "-m", "tests.reliability.dicom_child", url, str(folder / "store"), "never", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the receiver was started without its pipes")
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(30)
    with Database(url) as database, database.reading() as work:
        if len(work.instances.waiting(limit=FILES + 1)) != FILES:
            raise RuntimeError("not everything that was sent is recorded")


def send(files: list[Path], port: int, title: str, associations: int) -> float:
    """Send by dcmtk's `storescu`, shared among so many at once; gives the seconds."""
    begun = time.perf_counter()
    senders = [
        subprocess.Popen(
            [dcmtk("storescu"), "-pdu", "131072", "-aec", title, "127.0.0.1", str(port), *files[start::associations]],
            stdout=subprocess.DEVNULL,
        )
        for start in range(associations)
    ]
    codes = [sender.wait(SECONDS) for sender in senders]
    if any(codes):
        raise RuntimeError(f"storescu ended with {codes}")
    return time.perf_counter() - begun
