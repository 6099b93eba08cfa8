"""Fetching from a real Orthanc, over DICOMweb and by C-FIND with C-GET: everything that is wanted, and all of it once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from db.session import Database
from flows.dicom_receiver import DicomReceiver
from integrations.dicom.part10 import split_file
from integrations.errors import PeerRefused, PeerUnavailable, StoreFull
from tests.database_template import give_tables
from tests.dicom_objects import Kind, Specimen, write_study
from tests.dicom_peers import OUR_AE_TITLE, PASSWORD, USER, Modality, Orthanc
from tests.dicom_stores import TODAY, Site, dimse_store, web_store
from tests.support import free_port

WAYS = {"wado": web_store, "c-get": dimse_store}
RECENT = Specimen(taken=TODAY)
OLD = Specimen(accession="24H-OLD", taken=TODAY - timedelta(days=30))


@pytest.fixture
def database(tmp_path: Path) -> Any:
    give_tables(tmp_path / "sphero.db")
    with Database(f"sqlite:///{tmp_path / 'sphero.db'}") as database:
        yield database


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    return WAYS[request.param]


def uids_of(files: list[Path]) -> list[str]:
    return [str(dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files]


def test_what_a_store_has_is_taken_once_as_it_is_stored(
    orthanc: Orthanc, database: Database, tmp_path: Path, way: Callable[..., dict[str, Any]]
) -> None:
    files = write_study(tmp_path / "a", specimen=RECENT, objects=3)
    other = write_study(tmp_path / "b", specimen=RECENT, objects=1, kind=Kind.SECONDARY_CAPTURE)
    orthanc.put(*files, *other)
    site = Site(tmp_path, database, {"store": [way(orthanc)]})
    assert site.poll().fetched == 3
    assert sorted(site.uids) == sorted(uids_of(files))
    with database.reading() as work:
        for instance in work.instances.list():
            kept = split_file((site.files / instance.stored_name).read_bytes())
            assert bytes(kept.data_set) == bytes(split_file(orthanc.file(instance.sop_instance_uid)).data_set)
            assert (instance.source, instance.study_uid) == ("pacs", RECENT.study_uid)
    again = site.poll()
    assert (again.fetched, again.studies) == (0, 0)  # the store's count says that nothing is new


def test_what_arrives_later_is_found_wherever_it_belongs(
    orthanc: Orthanc, database: Database, tmp_path: Path, way: Callable[..., dict[str, Any]]
) -> None:
    orthanc.put(*write_study(tmp_path / "before", specimen=OLD, objects=1))
    site = Site(tmp_path, database, {"store": [way(orthanc, sweep_hours=24)]})
    assert site.poll().fetched == 0  # older than days_back, and there before us: passed over
    into_the_study = write_study(tmp_path / "a", specimen=RECENT, objects=2)
    orthanc.put(into_the_study[0])
    assert site.poll().fetched == 1
    orthanc.put(into_the_study[1])
    assert site.poll().fetched == 1
    late = write_study(tmp_path / "late", specimen=replace(OLD, accession="24H-LATE"), objects=1)
    orthanc.put(*late)
    assert site.poll().fetched == 0  # its date is not within days_back,
    site.pass_days(2)
    assert site.poll().fetched == 1  # but the sweep sees it, and only it
    assert sorted(site.uids) == sorted(uids_of(into_the_study + late))


def test_after_a_long_outage_nothing_is_missed(
    database: Database, tmp_path: Path, way: Callable[..., dict[str, Any]]
) -> None:
    with Orthanc([Modality("sphero", OUR_AE_TITLE, free_port())]) as server:
        site = Site(tmp_path, database, {"store": [way(server, sweep_hours=720)]})
        site.poll()
        server.stop(kill=True)
        site.pass_days(10)
        with pytest.raises(PeerUnavailable):
            site.poll()
        server.start()
        files = write_study(tmp_path / "a", specimen=RECENT.on(TODAY + timedelta(days=1)), objects=2)
        server.put(*files)
        assert site.poll().fetched == 2  # nine days old by now: the window begins at the last complete question


def test_a_poll_that_ends_in_the_middle_goes_on_where_it_was(
    orthanc: Orthanc,
    database: Database,
    tmp_path: Path,
    way: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = write_study(tmp_path / "a", specimen=RECENT, objects=4)
    orthanc.put(*files)
    site = Site(tmp_path, database, {"store": [way(orthanc)]})
    accept = site.desk.accept
    accepted: list[int] = []

    def accept_two(*values: Any, **named: Any) -> Any:
        if len(accepted) == 2:
            raise StoreFull("no space is left")
        accepted.append(1)
        return accept(*values, **named)

    monkeypatch.setattr(site.desk, "accept", accept_two)
    with pytest.raises(StoreFull):
        site.poll()
    assert len(site.uids) == 2
    monkeypatch.undo()
    assert site.poll().fetched == 2
    assert sorted(site.uids) == sorted(uids_of(files))


def test_pages_and_instances_that_are_too_large(
    orthanc: Orthanc, database: Database, tmp_path: Path, way: Callable[..., dict[str, Any]]
) -> None:
    studies = [
        write_study(tmp_path / f"{n}", specimen=replace(RECENT, accession=f"24H-{n}"), objects=1) for n in range(5)
    ]
    large = write_study(tmp_path / "large", specimen=RECENT, objects=1, width=800, height=600)
    orthanc.put(*(file for study in studies for file in study), *large)
    site = Site(tmp_path, database, {"store": [way(orthanc, page_size=2, max_object_mib=1)]})
    done = site.poll()
    assert (done.fetched, done.failed) == (5, 1)
    with database.reading() as work:
        (failure,) = work.cursors.failures("pacs")
    assert (failure.sop_instance_uid, failure.attempts) == (uids_of(large)[0], 1)
    assert "see max_object_mib" in failure.reason
    assert site.poll().failed == 0  # it is not due yet, and the others do not wait for it


def test_a_wrong_password_is_told_plainly_and_the_right_one_is_taken_up(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Orthanc(password=True) as server:
        server.put(*write_study(tmp_path / "a", specimen=RECENT, objects=1))
        secret = tmp_path / "secret"
        secret.write_text("wrong\n")
        store = web_store(server, user=USER, password_file=str(secret))
        site = Site(tmp_path, database, {"store": [store]})
        with pytest.raises(PeerRefused, match="HTTP status 401: it does not accept who we are; see user"):
            site.poll()
        secret.write_text(PASSWORD + "\n")
        assert site.poll().fetched == 1
        assert PASSWORD not in repr(site.settings)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"own_ae_title": "NOBODY"}, "ended the association at C-FIND: does it allow that to NOBODY"),
        ({"port": 1}, "cannot be reached"),
    ],
)
def test_why_a_store_does_not_let_us_in_is_told(
    orthanc: Orthanc, database: Database, tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    site = Site(tmp_path, database, {"store": [dimse_store(orthanc, **wrong)]})
    with pytest.raises(PeerUnavailable, match=told):
        site.poll()


def test_images_are_moved_to_our_receiver(database: Database, tmp_path: Path) -> None:
    ours = free_port()
    with Orthanc([Modality("sphero", OUR_AE_TITLE, ours)]) as server:
        files = write_study(tmp_path / "a", specimen=RECENT, objects=3)
        server.put(*files)
        receiver = {"enabled": True, "port": ours}
        site = Site(tmp_path, database, {"store": [dimse_store(server, retrieve="c-move")], "receiver": receiver})
        taking = DicomReceiver(site.dicom.receiver, database, site.files)
        taking.start()
        try:
            assert site.poll().fetched == 3
        finally:
            taking.stop()
        assert sorted(site.uids) == sorted(uids_of(files))
        assert site.poll().studies == 0
        server.put(*write_study(tmp_path / "b", specimen=RECENT, objects=4)[3:])
        with pytest.raises(PeerRefused, match="0xC000: it cannot do it; does it know our receiver"):
            site.poll()  # our receiver is away
        with database.reading() as work:
            assert work.cursors.failures("pacs")[0].attempts == 1


@pytest.mark.parametrize("step", ["partial", "filed", "recorded"])
def test_a_killed_poll_is_taken_up_without_gaps_and_doubles(
    orthanc: Orthanc, database: Database, tmp_path: Path, step: str
) -> None:
    files = write_study(tmp_path / "a", specimen=RECENT, objects=4)
    orthanc.put(*files)
    site = Site(tmp_path, database, {"store": [web_store(orthanc)]})
    child = os.fork()
    if child == 0:  # the process that is killed at its second instance
        database.close()
        site.die_at(step, 2)
        site.poll()
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert len(site.uids) == (2 if step == "recorded" else 1)
    site.poll()
    assert sorted(site.uids) == sorted(uids_of(files))
    assert len(list(site.files.rglob("*.dcm"))) == 4
