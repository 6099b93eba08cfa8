"""The watermark: intake stops once, tells it once, and goes on with some room to spare."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flows.config import check_settings
from flows.disk import DiskGuard, watched_folders
from flows.errors import SettingsError
from flows.places import places_of
from flows.watch_settings import MIB
from integrations.errors import StoreFull


class Disk:
    def __init__(self) -> None:
        self.free, self.now = 200 * MIB, 0.0
        folders = {"images": Path("/images"), "gone": Path("/gone")}
        self.guard = DiskGuard(folders, 100 * MIB, free_bytes=self.free_bytes, clock=lambda: self.now)

    def free_bytes(self, folder: Path) -> int:
        if folder.name == "gone":
            raise FileNotFoundError
        return self.free

    def becomes(self, free_mib: int) -> None:
        self.free, self.now = free_mib * MIB, self.now + 10


def test_it_stops_below_the_watermark_and_goes_on_with_room_to_spare(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    monkeypatch.setattr(logging.getLogger("flows"), "propagate", True)
    with caplog.at_level(logging.INFO, "flows.disk"):
        disk.guard.check()
        disk.becomes(99)
        for _ in range(3):
            with pytest.raises(StoreFull, match="less than 100 MiB are free for: images"):
                disk.guard.check()
            disk.becomes(105)  # above the watermark, by less than what keeps it from going to and fro
        disk.becomes(111)
        disk.guard.check()
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "nothing is taken in",
        "there is room on the disk again",
    ]
    assert disk.guard.free() == {"images": 111 * MIB}


def test_without_a_watermark_it_never_stops() -> None:
    DiskGuard({"images": Path("/")}, 0, free_bytes=lambda _: 0).check()


def test_every_folder_that_is_written_to_is_watched(tmp_path: Path) -> None:
    settings = check_settings({"database": {"url": "sqlite:///elsewhere/sphero.db"}}, tmp_path)
    places = places_of(settings)
    folders = watched_folders(settings, places)
    assert folders["database"] == tmp_path / "elsewhere"
    places.make()
    assert {path for path in settings.data.iterdir() if path.is_dir()} - {places.incoming} <= set(folders.values())
    remote = {"database": {"url": "postgresql+psycopg://u@h/n"}}
    assert "database" not in watched_folders(check_settings(remote, tmp_path), places)


def test_a_warning_comes_before_the_stop(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[disk\] warn_below_mib: must not be less than stop_below_mib"):
        check_settings({"disk": {"stop_below_mib": 200, "warn_below_mib": 100}}, tmp_path)
