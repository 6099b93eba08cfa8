"""A database, our store and pollers of real stores, for tests of fetching."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from db.session import Database
from flows.config import check_settings
from flows.dicom_accept import InstanceDesk
from flows.dicom_poll import Polled, StorePoller
from flows.dicom_settings import StoreSettings
from flows.dicom_wiring import make_store, make_wanted
from integrations.dicom.part10 import InstanceStore
from tests.dicom_peers import Orthanc

TODAY = date(2026, 11, 25)


class Site:
    """Our side: a database, our store of files and the poller of one store.

    Parameters
    ----------
    folder : Path
    database : Database
    dicom : dict
        The section of the settings; its first store is asked.
    """

    def __init__(self, folder: Path, database: Database, dicom: dict[str, Any]) -> None:
        self.database = database
        self.dicom = check_settings({"dicom": dicom}, folder).dicom
        self.files = folder / "store"
        store = InstanceStore(self.files, "fetch")
        store.prepare()
        self.desk = InstanceDesk(database, store)
        self.now = datetime(TODAY.year, TODAY.month, TODAY.day, 12).astimezone()

    @property
    def settings(self) -> StoreSettings:
        """Of the store that is asked."""
        return self.dicom.store[0]

    def poller(self, stopped: Callable[[], bool] = lambda: False) -> StorePoller:
        """A poller as a process that was begun anew has it."""
        return StorePoller(
            self.settings.name,
            database=self.database,
            desk=self.desk,
            wanted=make_wanted(self.settings),
            now=lambda: self.now,
            stopped=stopped,
        )

    def poll(self) -> Polled:
        """Ask once."""
        done = Polled()
        with closing(make_store(self.settings, self.dicom.receiver)) as store:
            self.poller().poll(store, done)
        return done

    def die_at(self, step: str, times: int) -> None:
        """Kill this process when an instance comes to a step of being accepted for the so-many-th time."""
        passed = 0

        def checkpoint(reached: str) -> None:
            nonlocal passed
            passed += reached == step
            if passed == times:
                os.kill(os.getpid(), signal.SIGKILL)

        self.desk = InstanceDesk(
            self.database, InstanceStore(self.files, "fetch", checkpoint=checkpoint), checkpoint=checkpoint
        )

    def pass_days(self, days: int) -> None:
        """Let time pass."""
        self.now += timedelta(days=days)

    @property
    def uids(self) -> list[str]:
        """SOP Instance UIDs of everything that is ours, in the order it came."""
        with self.database.reading() as work:
            return [instance.sop_instance_uid for instance in reversed(work.instances.list())]


def web_store(server: Orthanc, **more: Any) -> dict[str, Any]:
    """The settings of an Orthanc that is asked over DICOMweb."""
    return {"name": "pacs", "kind": "dicomweb", "url": server.dicomweb_url, "timeout_seconds": 20, **more}


def dimse_store(server: Orthanc, **more: Any) -> dict[str, Any]:
    """The settings of an Orthanc that is asked by C-FIND."""
    address = {"host": server.host, "port": server.port, "ae_title": server.ae_title}
    return {"name": "pacs", "kind": "dimse", **address, "timeout_seconds": 20, **more}
