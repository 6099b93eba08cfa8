"""A process that takes files in and is killed by itself at a named step: `folder_child ROOT STEP NUMBER`."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from integrations.folder.scanner import Scanner
from integrations.folder.staging import Staging
from sphero_core.errors import ImageError
from sphero_core.image import probe_image


def take_in(root: Path, checkpoint: Callable[[str], None]) -> None:
    """Take all files in as the service does: durable copy, row, and only then out of the incoming folder."""
    incoming = root / "incoming"
    staging = Staging(
        incoming=incoming,
        store=root / "store",
        quarantine=root / "quarantine",
        inspect=probe_image,
        max_bytes=10_000_000,
        checkpoint=checkpoint,
    )
    staging.prepare()
    with sqlite3.connect(root / "rows.db") as rows:
        rows.execute("PRAGMA synchronous = FULL")
        rows.execute("CREATE TABLE IF NOT EXISTS taken (name TEXT PRIMARY KEY, sha256 TEXT, refused TEXT)")
        scan = Scanner(incoming, stable_seconds=0, clock=lambda: 0.0).scan()
        for file in (file for case in scan.cases for file in case.ready):
            row: tuple[str, str | None, str | None]
            try:
                staged = staging.accept(file)
                row = (staged.stored_name, staged.sha256, None)
            except ImageError as error:
                kept = staging.quarantine(file, str(error))
                row = (kept.stored_name, kept.sha256, str(error))
            rows.execute("INSERT OR IGNORE INTO taken VALUES (?, ?, ?)", row)
            rows.commit()
            checkpoint("row")
            staging.move_to_done(file)
    rows.close()


def killing(step: str, number: int) -> Callable[[str], None]:
    """Give a checkpoint that ends this process without warning at the `number`-th `step`."""
    left = number

    def checkpoint(name: str) -> None:
        nonlocal left
        if name == step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return checkpoint


if __name__ == "__main__":
    take_in(Path(sys.argv[1]), killing(sys.argv[2], int(sys.argv[3])))
