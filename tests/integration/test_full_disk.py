"""A disk that runs full under each folder: nothing is said to be done that was not, and it goes on once there is room."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from db.errors import DatabaseUnavailable
from flows.analyse import record_findings
from flows.pictures import DrawsHere, Pictures
from flows.taken import Taken
from integrations.errors import StoreFull
from sphero_core.image import read_image
from tests.dicom_receiving import receiving, write_small
from tests.fakes import BUNDLE, made_up_findings
from tests.folder_site import Site
from tests.running import picture
from tests.small_disks import KIB, filled, small_disk


def noise(seed: int) -> bytes:
    """A picture that cannot be compressed to nothing."""
    pixels = np.random.default_rng(seed).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def take(site: Site) -> list[Taken]:
    return site.look()[0]


def test_under_the_store_the_folder_keeps_its_files_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "store", 512 * KIB):
        site = Site(tmp_path)
        site.put("26-1", "one.png", noise(1))
        with filled(tmp_path / "store", left=8 * KIB), pytest.raises(StoreFull):
            take(site)
        assert (tmp_path / "incoming" / "26-1" / "one.png").exists()
        assert list((tmp_path / "store" / ".partial").iterdir()) == []
        (taken,) = take(site)
        assert (taken.fields, site.case("26-1").fields) == (1, 1)


def test_under_quarantine_a_refused_file_waits_and_is_kept_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "quarantine", 256 * KIB):
        site = Site(tmp_path)
        site.put("26-1", "one.png", b"no picture " * 5000)
        with filled(tmp_path / "quarantine", left=8 * KIB), pytest.raises(StoreFull):
            take(site)
        assert (tmp_path / "incoming" / "26-1" / "one.png").exists()
        (taken,) = take(site)
        assert len(taken.refused) == 1


def test_under_the_database_nothing_is_half_recorded(tmp_path: Path) -> None:
    with small_disk(tmp_path / "database", 4096 * KIB):
        site = Site(tmp_path, url=f"sqlite:///{tmp_path / 'database' / 'sphero.db'}")
        site.put("26-1", "one.png", picture(1))
        with filled(tmp_path / "database"), pytest.raises(DatabaseUnavailable, match="the disk is full"):
            take(site)
        assert (tmp_path / "incoming" / "26-1" / "one.png").exists()
        with site.database.reading() as work:
            assert work.identities.find("26-1") is None
            assert work.audit.verify().intact
        (taken,) = take(site)
        assert taken.fields == 1
        with site.database.reading() as work:
            assert work.audit.verify().intact
        site.database.close()


def test_a_dicom_sender_is_told_to_try_again_and_then_taken(tmp_path: Path) -> None:
    file = write_small(tmp_path, 1, side=256)
    with small_disk(tmp_path / "store", 512 * KIB), receiving(tmp_path) as ours:
        with filled(tmp_path / "store", left=8 * KIB):
            done = ours.send(file)
            assert done.returncode != 0
            assert "OutOfResources" in done.stderr + done.stdout
            assert ours.uids == []
        assert ours.send(file).returncode == 0
        assert len(ours.uids) == 1


def test_below_the_watermark_a_dicom_sender_is_told_so_before_the_disk_is_full(tmp_path: Path) -> None:
    file = write_small(tmp_path, 1)
    room = [StoreFull("nothing is taken in")]

    def check_room() -> None:
        if room:
            raise room[0]

    with receiving(tmp_path, check_room=check_room) as ours:
        done = ours.send(file)
        assert "OutOfResources" in done.stderr + done.stdout
        assert (ours.uids, ours.files) == ([], [])
        room.clear()
        assert ours.send(file).returncode == 0


def test_under_the_pictures_one_that_cannot_be_kept_leaves_nothing_and_is_drawn_later(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    with small_disk(folder, 512 * KIB):
        site = Site(tmp_path)
        site.put("26-1", "one.png", picture(1))
        take(site)
        case_id = site.case("26-1").case_id
        with site.database.transaction("test") as work:
            (field,) = work.fields.of_case(case_id)
            stored = read_image(tmp_path / "store" / field.stored_name)
            record_findings(work, field, BUNDLE, made_up_findings(stored, 40.0))
            (shown,) = work.reports.pictures_of(case_id)
        pictures = Pictures(
            database=site.database, model=DrawsHere(), store=tmp_path / "store", folder=folder, pixel_aspect=1.0
        )
        with filled(folder, left=4 * KIB), pytest.raises(StoreFull):
            pictures.file(shown.picture_id)
        assert list(folder.iterdir()) == []
        assert pictures.file(shown.picture_id).read_bytes().startswith(b"\xff\xd8")
