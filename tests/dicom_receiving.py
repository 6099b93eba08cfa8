"""A receiver for tests, and objects that are quick to make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from db.session import Database
from flows.dicom_receiver import DicomReceiver
from flows.dicom_settings import ReceiverSettings
from tests.database_template import give_tables
from tests.dicom_objects import Specimen, make_object, write_object
from tests.dicom_peers import run_dcmtk


def small_object(
    number: int = 1, *, grey: int | None = None, side: int = 64, specimen: Specimen | None = None
) -> Dataset:
    """An object of one colour; another grey under the same number is another picture under the same UID."""
    pixels = np.full((side, side, 3), number % 256 if grey is None else grey, dtype=np.uint8)
    return make_object(pixels, specimen=specimen, number=number)


def write_small(folder: Path, number: int = 1, **choices: Any) -> Path:
    """Write such an object."""
    grey = choices.get("grey")
    return write_object(folder / f"{number}-{grey}.dcm", small_object(number, **choices))


class Receiving:
    """A receiver at work, with what it keeps."""

    def __init__(self, receiver: DicomReceiver, database: Database, store: Path) -> None:
        self.receiver = receiver
        self.database = database
        self.store = store

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.receiver.port

    @property
    def files(self) -> list[Path]:
        """Every file in the store, partial ones included."""
        return sorted(path for path in self.store.rglob("*") if path.is_file())

    @property
    def uids(self) -> list[str]:
        """SOP instance UIDs that were accepted, in their order."""
        with self.database.reading() as work:
            return [view.sop_instance_uid for view in work.instances.waiting(limit=1000)]

    def send(self, *files: Path, options: tuple[str, ...] = (), caller: str = "SCANNER", called: str = "SPHERO") -> Any:
        """Send by dcmtk's `storescu`; what it says is in the result."""
        arguments: list[str | int | Path] = [
            "-v",
            *options,
            "-aet",
            caller,
            "-aec",
            called,
            "127.0.0.1",
            self.port,
            *files,
        ]
        return run_dcmtk("storescu", *arguments, check=False)


@contextmanager
def receiving(
    folder: Path,
    *,
    url: str | None = None,
    checkpoint: Callable[[str], None] = lambda _: None,
    check_room: Callable[[], None] = lambda: None,
    store: Path | None = None,
    **settings: Any,
) -> Iterator[Receiving]:
    """Run a receiver in this process, on any free port."""
    store = store or folder / "store"
    chosen = ReceiverSettings.model_validate({"enabled": True, **settings})
    if url is None:
        give_tables(folder / "sphero.db")
    with Database(url or f"sqlite:///{folder / 'sphero.db'}") as database:
        if url is not None:
            database.upgrade()
        receiver = DicomReceiver(chosen, database, store, port=0, check_room=check_room, checkpoint=checkpoint)
        receiver.start()
        try:
            yield Receiving(receiver, database, store)
        finally:
            receiver.stop(5.0)
