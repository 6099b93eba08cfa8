"""A receiver that is killed by itself at a named step: `dicom_child DATABASE_URL STORE STEP NUMBER`; prints its port."""

from __future__ import annotations

import sys
from pathlib import Path

from db.session import Database
from flows.dicom_receiver import DicomReceiver
from flows.dicom_settings import ReceiverSettings
from tests.reliability.folder_child import killing

if __name__ == "__main__":
    database_url, store, step, number = sys.argv[1:]
    with Database(database_url) as database:
        settings = ReceiverSettings(enabled=True)
        receiver = DicomReceiver(settings, database, Path(store), port=0, checkpoint=killing(step, int(number)))
        receiver.start()
        sys.stdout.write(f"{receiver.port}\n")
        sys.stdout.flush()
        sys.stdin.read()  # until whoever started us is done, or gone
        receiver.stop(5.0)
