"""Files of DICOM Part 10 as they are kept: readable by others, the same for the same, durable, and nothing left behind."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, VLMicroscopicImageStorage

from integrations.dicom.part10 import STEPS, EncodedInstance, InstanceStore, file_head, split_file
from integrations.errors import InstanceRefused, StoreError
from integrations.folder.durable import partial_name

DATA_SET = b"\x10\x00\x20\x00LO\x04\x00P-1 "  # (0010,0020) Patient ID
INSTANCE = EncodedInstance(VLMicroscopicImageStorage, "1.2.3", ExplicitVRLittleEndian, DATA_SET)


def test_pydicom_reads_what_is_written() -> None:
    data_set = dcmread(io.BytesIO(file_head(INSTANCE) + DATA_SET))
    assert data_set.PatientID == "P-1"
    assert data_set.file_meta.MediaStorageSOPClassUID == VLMicroscopicImageStorage
    assert data_set.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert data_set.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert data_set.file_meta.ImplementationClassUID.startswith("2.25.")
    assert data_set.file_meta.FileMetaInformationGroupLength == len(file_head(INSTANCE)) - 144


def test_the_head_of_a_file_never_changes() -> None:
    """Its hash tells a repeated instance from another one: another program version must write the same."""
    assert hashlib.sha256(file_head(INSTANCE)).hexdigest() == (
        "3c897f48bdd17e8a816d3a0b653591d66404ea4ae9f16a1793240adee717f188"
    )


def test_a_file_is_taken_apart_again() -> None:
    again = split_file(file_head(INSTANCE) + DATA_SET)
    assert (again.sop_class_uid, again.sop_instance_uid) == (VLMicroscopicImageStorage, "1.2.3")
    assert again.transfer_syntax_uid == ExplicitVRLittleEndian
    assert bytes(again.data_set) == DATA_SET


def test_a_file_of_another_writer_is_taken_apart(tmp_path: Path) -> None:
    data_set = dcmread(io.BytesIO(file_head(INSTANCE) + DATA_SET))
    data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data_set.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    data_set.file_meta.PrivateInformationCreatorUID = UID("1.2.9")
    data_set.file_meta.PrivateInformation = bytes(70_000)
    file = io.BytesIO()
    data_set.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=True)
    instance = split_file(file.getvalue())
    assert instance.transfer_syntax_uid == ImplicitVRLittleEndian
    assert bytes(instance.data_set) == b"\x10\x00\x20\x00\x04\x00\x00\x00P-1 "


WHOLE = file_head(INSTANCE) + DATA_SET


@pytest.mark.parametrize(
    "end", [0, 100, 131, 132, 140, 144, 150, len(file_head(INSTANCE)) - 1, len(file_head(INSTANCE))]
)
def test_a_cut_file_is_refused(end: int) -> None:
    with pytest.raises(InstanceRefused):
        split_file(WHOLE[:end])


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        (128, b"DICX"),
        (132, b"\x08"),  # another group first
        (140, b"\xff\xff\xff\xff"),  # the group is longer than the file
        (140, b"\x04\x00\x00\x00"),  # ends within an element
        (144, b"\x03"),  # another group within
        (152, b"\xff\xff\xff\x7f"),  # an element longer than the group
    ],
)
def test_a_damaged_file_is_refused(place: int, changed: bytes) -> None:
    with pytest.raises(InstanceRefused):
        split_file(WHOLE[:place] + changed + WHOLE[place + len(changed) :])


@pytest.mark.parametrize("uid", ["", "1", "1.", ".1", "1.02", "1..2", "1.a", "1.2\n", "1." + "2" * 63, "1.2/../3"])
def test_what_is_no_uid_is_refused(uid: str) -> None:
    with pytest.raises(InstanceRefused, match="sop instance UID"):
        EncodedInstance(VLMicroscopicImageStorage, uid, ExplicitVRLittleEndian, DATA_SET)


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(InstanceRefused, match="without its data set"):
        EncodedInstance(VLMicroscopicImageStorage, "1.2", ExplicitVRLittleEndian, b"")


def test_an_instance_is_kept_under_its_content(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, "test")
    store.prepare()
    first, again = store.keep(INSTANCE), store.keep(INSTANCE)
    assert first == again
    assert (tmp_path / first.stored_name).read_bytes() == WHOLE
    assert first.sha256 == hashlib.sha256(WHOLE).hexdigest()
    assert first.size == len(WHOLE)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / first.stored_name]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_leaves_no_partial_copy(tmp_path: Path, step: str) -> None:
    def fail(at: str) -> None:
        if at == step:
            raise KeyError

    InstanceStore(tmp_path, "test").prepare()
    with pytest.raises(KeyError):
        InstanceStore(tmp_path, "test", checkpoint=fail).keep(INSTANCE)
    assert list((tmp_path / ".partial").iterdir()) == []
    assert (tmp_path / InstanceStore(tmp_path, "test").keep(INSTANCE).stored_name).read_bytes() == WHOLE


def test_a_store_that_another_process_prepared_is_enough(tmp_path: Path) -> None:
    (tmp_path / ".partial").mkdir()
    assert (tmp_path / InstanceStore(tmp_path, "test").keep(INSTANCE).stored_name).read_bytes() == WHOLE


def test_only_what_the_owner_left_is_removed(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, "receiver")
    store.prepare()
    kept = {partial_name("4711-0"), "elsewhere.receiver-1-0"}
    for name in (partial_name("receiver-1-0"), partial_name("receiver-2-7"), *kept):
        (tmp_path / ".partial" / name).write_bytes(b"half")
    assert store.prepare() == 2
    assert {path.name for path in (tmp_path / ".partial").iterdir()} == kept


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path / "store", "test")
    with pytest.raises(StoreError):
        store.keep(INSTANCE)
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError):
        store.prepare()
    assert list(tmp_path.iterdir()) == [tmp_path / "store"]
