"""The child's side of the receiver process: `flows.receiver_process` starts it.

It reads one line of JSON from standard input (`ReceiverOrder`), says ``ready`` or ``failed <reason>`` in a line on standard
output, and serves until standard input ends: the service closes it to stop the receiver, and the kernel does where the
service was killed.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from pathlib import Path

from pydantic import BaseModel

from db.session import Database
from flows.dicom_settings import ReceiverSettings
from flows.disk import DiskGuard
from flows.log import OUR_ERRORS, set_up_logging, tell

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
LOOK_SECONDS = 1.0
READY, FAILED = "ready", "failed"


class ReceiverOrder(BaseModel):
    """What the receiver works with.

    Attributes
    ----------
    database_url : str
        May hold a password, and is therefore never an argument of the process.
    store : Path
    settings : ReceiverSettings
    folders : dict of str to Path
        Whose disks are looked at before an instance is taken.
    stop_bytes : int
        With less room nothing is taken.
    """

    database_url: str
    store: Path
    settings: ReceiverSettings
    folders: dict[str, Path] = {}
    stop_bytes: int = 0


def main() -> int:
    """Serve; gives the exit status."""
    from flows.dicom_receiver import DicomReceiver  # here: the parent reads this module too, and needs no pynetdicom

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the service ends us when it is time
    set_up_logging(as_json=False)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # its tracebacks may quote what was sent
    order = ReceiverOrder.model_validate_json(sys.stdin.buffer.readline())
    with Database(order.database_url) as database:
        try:
            guard = DiskGuard(order.folders, order.stop_bytes)
            receiver = DicomReceiver(order.settings, database, order.store, check_room=guard.check)
            receiver.start()
        except OUR_ERRORS as error:
            return _fail(tell(error))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return _fail(f"{order.settings.host}:{order.settings.port} cannot be listened on ({reason})")
        _say(READY)
        while receiver.is_listening and not _is_over():
            pass
        listening = receiver.is_listening
        receiver.stop(STOP_SECONDS)
    return 0 if listening else 1


def _is_over() -> bool:
    """Wait a moment; True when standard input has ended."""
    readable, _, _ = select.select([sys.stdin], [], [], LOOK_SECONDS)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


def _fail(reason: str) -> int:
    log.error("the DICOM receiver does not start: %s", reason)
    _say(f"{FAILED} {reason}")
    return 1


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
