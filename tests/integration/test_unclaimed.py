"""Files that a killed process left without a row are set aside, and nothing else is."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, VLMicroscopicImageStorage

from db.session import Database
from flows.dicom_accept import InstanceDesk
from flows.unclaimed import SHARED_SECONDS, set_unclaimed_aside
from integrations.dicom.part10 import EncodedInstance, InstanceStore
from tests.database_template import give_tables
from tests.dicom_receiving import small_object


@pytest.fixture
def database(tmp_path: Path) -> Database:
    give_tables(tmp_path / "sphero.db")
    return Database(f"sqlite:///{tmp_path / 'sphero.db'}")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    InstanceStore(tmp_path / "store", "test").prepare()
    return tmp_path / "store"


def left(store: Path, content: bytes, *, age_s: float = 0.0, suffix: str = "dcm") -> Path:
    name = hashlib.sha256(content).hexdigest()
    path = store / name[:2] / f"{name}.{suffix}"
    path.write_bytes(content)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def files(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file() and not path.name.startswith(".look"))


def accepted(database: Database, store: Path) -> Path:
    from pynetdicom.dsutils import encode

    sent = small_object()
    content = encode(sent, False, True)
    assert content is not None
    instance = EncodedInstance(VLMicroscopicImageStorage, sent.SOPInstanceUID, ExplicitVRLittleEndian, content)
    received = InstanceDesk(database, InstanceStore(store, "test")).accept(instance, source="test")
    return store / received.instance.stored_name


def test_what_is_recorded_stays_and_what_is_not_is_moved(database: Database, store: Path) -> None:
    kept = accepted(database, store)
    frame = kept.with_suffix(".0.png")  # of an instance: drawn anew where it is missing
    frame.write_bytes(b"frame")
    lost = [left(store, b"one"), left(store, b"two", suffix="jpg", age_s=1e7)]
    assert set_unclaimed_aside(database, store, shared=False) == 2
    assert files(store) == sorted([kept, frame, *(store / ".unclaimed" / path.name for path in lost)])
    assert (store / ".unclaimed" / lost[0].name).read_bytes() == b"one"
    with database.reading() as work:
        assert [event.action for event in work.audit.list()][-1] == "unclaimed files set aside"
        assert not work.audit.verify().problems
    assert set_unclaimed_aside(database, store, shared=False) == 0


def test_the_latest_files_of_a_shared_store_are_let_be_and_found_later(database: Database, store: Path) -> None:
    young, old = left(store, b"young"), left(store, b"old", age_s=SHARED_SECONDS + 60)
    assert set_unclaimed_aside(database, store, shared=True) == 1
    assert files(store) == sorted([young, store / ".unclaimed" / old.name])
    os.utime(store / ".looked", (time.time() - 120,) * 2)
    os.utime(young, (time.time() - SHARED_SECONDS - 60,) * 2)  # as if the time had gone by
    assert set_unclaimed_aside(database, store, shared=True) == 1


def test_what_was_looked_at_is_not_looked_at_again(database: Database, store: Path) -> None:
    assert set_unclaimed_aside(database, store, shared=False) == 0
    left(store, b"restored from a backup", age_s=2 * SHARED_SECONDS)
    assert set_unclaimed_aside(database, store, shared=False) == 0
    (store / ".looked").unlink()
    assert set_unclaimed_aside(database, store, shared=False) == 1
