"""A DICOM archive in a process of its own, at times at fault.

`python -m tests.archive_process KEPT [FAULT ...]` prints its port and takes every class that we send. Each object that came whole is a line of
KEPT, on the disk before it is answered: SOP instance UID, SHA-256 of the data set, status. Faults take turns with successes:

    busy    0xA700, nothing kept
    abort   kept, then the association is aborted instead of an answer
    hang    kept, then no answer for longer than the sender waits
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt

from integrations.dicom.store_scu import EMITTED
from tests.support import free_port

ROOT = Path(__file__).resolve().parent.parent
TITLE = "ARCHIVE"
HANG_SECONDS = 3.0
EVERY = 2  # so many objects are taken between two faults


@contextmanager
def archive_process(kept: Path, *faults: str, port: int = 0) -> Iterator[int]:
    """Run the archive; gives its port."""
    command = [sys.executable, "-m", "tests.archive_process", str(kept), str(port), *faults]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGKILL)


def kept_by(kept: Path) -> list[tuple[str, str]]:
    """UID and hash of each object that came whole, in order."""
    return [(line.split()[0], line.split()[1]) for line in kept.read_text().splitlines()]


def serve(kept: Path, port: int, faults: Sequence[str]) -> None:
    """Take objects until the process ends."""
    turns = (
        itertools.cycle(fault for each in faults for fault in (*["ok"] * EVERY, each))
        if faults
        else itertools.repeat("ok")
    )
    lock = threading.Lock()

    def store(event: Any) -> int:
        with lock:
            turn = next(turns)
            if turn == "busy":
                return 0xA700
            digest = hashlib.sha256(event.request.DataSet.getvalue()).hexdigest()
            with kept.open("a") as file:
                file.write(f"{event.request.AffectedSOPInstanceUID} {digest}\n")
                file.flush()
                os.fsync(file.fileno())
        if turn == "abort":
            event.assoc.abort()
        if turn == "hang":
            time.sleep(HANG_SECONDS)
        return 0

    ae = AE(ae_title=TITLE)
    for sop_class in dict(EMITTED):
        ae.add_supported_context(sop_class, ALL_TRANSFER_SYNTAXES)
    port = port or free_port()
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    print(port, flush=True)  # noqa: T201  # read by whoever began it
    threading.Event().wait()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
