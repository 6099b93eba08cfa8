"""What lies where in the data folder."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from flows.errors import AlreadyRunning, ServiceError
from flows.settings import Settings
from integrations.folder.durable import write_durably

LOCK_SECONDS = 15.0
STORE_ID = "store-id"


@dataclass(frozen=True, slots=True)
class Places:
    """The folders and files of one machine; nothing here is named after a patient or an order.

    `shared` is the same on every machine that works on the database; where there is one machine it is the data folder.
    """

    data: Path
    incoming: Path
    shared: Path

    @property
    def store(self) -> Path:
        """Accepted images, named by their content."""
        return self.shared / "store"

    @property
    def objects(self) -> Path:
        """DICOM objects that we made, named by their content; they name the patient."""
        return self.shared / "objects"

    @property
    def quarantine(self) -> Path:
        """Refused files with the reason."""
        return self.shared / "quarantine"

    @property
    def pictures(self) -> Path:
        """Overlays; they can be drawn anew."""
        return self.data / "pictures"

    @property
    def reports(self) -> Path:
        """Reports for people, by opaque names; they name the patient."""
        return self.shared / "reports"

    @property
    def prefect(self) -> Path:
        """Prefect's home."""
        return self.data / "prefect"

    @property
    def logs(self) -> Path:
        """What the child processes print."""
        return self.data / "logs"

    @property
    def taken(self) -> Path:
        """What was taken from a share where nothing can be moved."""
        return self.shared / "taken.jsonl"

    @property
    def ours(self) -> dict[str, Path]:
        """Every folder that only we write to, by the name under which people know it."""
        return {
            "images": self.store,
            "DICOM objects": self.objects,
            "quarantine": self.quarantine,
            "pictures": self.pictures,
            "reports": self.reports,
            "Prefect": self.prefect,
            "logs": self.logs,
        }

    def make(self) -> None:
        """Make the folders, for the service's user only.

        Raises
        ------
        ServiceError
        """
        try:
            self.data.mkdir(mode=0o750, parents=True, exist_ok=True)
            self.shared.mkdir(mode=0o750, parents=True, exist_ok=True)
            for folder in self.ours.values():
                folder.mkdir(mode=0o700, exist_ok=True)
            self.incoming.mkdir(mode=0o770, parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ServiceError(
                f"the data folder cannot be made ({reason}); see [paths] data, [paths] shared and [folder] path"
            ) from None

    def store_id(self) -> str:
        """Id of the store, made with it: machines that see the same store see the same id.

        Raises
        ------
        ServiceError
        """
        file = self.shared / STORE_ID
        try:
            if not file.exists():
                fresh = self.shared / f"{STORE_ID}.{secrets.token_hex(4)}.part"
                write_durably(fresh, f"{secrets.token_hex(8)}\n".encode())
                with suppress(FileExistsError):  # another machine was first
                    os.link(fresh, file)
                fresh.unlink()
            return file.read_text(encoding="ascii").strip()[:32]
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ServiceError(f"the store of images cannot be used ({reason}); see [paths] shared") from None

    @property
    def has_store(self) -> bool:
        """Whether a store can be seen now; a share may be away."""
        return (self.shared / STORE_ID).exists()

    def sees(self, store_id: str) -> bool:
        """Whether this very store can be seen now: where a share is away, what lies below it shows."""
        try:
            return (self.shared / STORE_ID).read_text(encoding="ascii").strip() == store_id
        except (OSError, ValueError):
            return False

    def worker_name(self) -> str:
        """Name of the worker on this data folder, the same after every restart, different on every machine."""
        file = self.data / "worker"
        if not file.exists():
            fresh = file.with_suffix(".part")
            fresh.write_text(f"{socket.gethostname().split('.')[0][:40]}-{secrets.token_hex(3)}\n", encoding="utf-8")
            fresh.replace(file)
        return file.read_text(encoding="utf-8").strip()


def places_of(settings: Settings) -> Places:
    """Places of these settings."""
    return Places(settings.data, settings.incoming, settings.shared)


class DataLock:
    """One service a data folder.

    The children inherit the descriptor: as long as one of a killed service still lives, the next service waits, so that
    it never meets the old one's processes or ports.
    """

    def __init__(self, data: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = data / "service.lock"
        self._clock = clock
        self.descriptor = -1

    def acquire(self, seconds: float = LOCK_SECONDS) -> None:
        """Wait for the lock.

        Raises
        ------
        AlreadyRunning
        """
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        end = self._clock() + seconds
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if self._clock() >= end:
                    self.release()
                    raise AlreadyRunning(
                        "another `sphero up` works on this data folder; stop it first, or set [paths] data to another one"
                    ) from None
            time.sleep(0.1)

    def release(self) -> None:
        """Give the lock back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
