"""The files of objects that we made: named by their content, never changed, never sent damaged."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from integrations.dicom.object_store import ObjectStore
from integrations.errors import ObjectDamaged
from tests.dicom_results import objects

MADE = objects()


def test_an_object_is_kept_once_under_its_hash(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "objects")
    kept = store.keep(MADE[0])
    path = store.checked(kept.name, kept.sha256)
    before = path.stat()
    assert store.keep(MADE[0]) == kept
    assert path.read_bytes() == MADE[0].body
    assert kept.sha256 == hashlib.sha256(MADE[0].body).hexdigest()
    assert kept.size_bytes == len(MADE[0].body)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [each.suffix for each in path.parent.iterdir()] == [".dcm"]


def test_a_file_that_is_gone_or_another_is_told(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    kept = store.keep(MADE[0])
    path = tmp_path / kept.name
    path.write_bytes(MADE[0].body[:-1] + b"\xff")
    with pytest.raises(ObjectDamaged, match="not what was frozen"):
        store.checked(kept.name, kept.sha256)
    path.unlink()
    with pytest.raises(ObjectDamaged, match="cannot be read"):
        store.checked(kept.name, kept.sha256)
    with pytest.raises(ObjectDamaged, match="none of ours"):
        store.checked("../elsewhere.dcm", kept.sha256)


def test_only_old_files_that_no_row_names_are_removed(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    named, unnamed, young = (store.keep(each) for each in MADE[:3])
    broken_off = (tmp_path / unnamed.name).with_name("00ff.partial")
    broken_off.write_bytes(b"half")
    now = time.time()
    for each in (tmp_path / named.name, tmp_path / unnamed.name, broken_off):
        os.utime(each, (now - 100, now - 100))
    assert store.sweep({named.name}, before=now - 50) == 2
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*")) == sorted(
        (named.name, young.name)
    )
