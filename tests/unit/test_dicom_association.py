"""PDUs as the receiver takes them apart, and what an instance says of itself."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian
from pynetdicom.dsutils import encode
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA

from integrations.dicom.limits import ReaderLimits
from integrations.dicom.outline import check_instance
from integrations.dicom.part10 import EncodedInstance
from integrations.dicom.pdus import fragments_of
from integrations.errors import InstanceMismatch, InstanceRefused
from tests.dicom_receiving import small_object

HEAD = 6  # bytes before the content of a PDU


def pdu(*fragments: tuple[int, bytes]) -> bytearray:
    primitive, whole = P_DATA(), P_DATA_TF()
    primitive.presentation_data_value_list = [list(fragment) for fragment in fragments]
    whole.from_primitive(primitive)
    return bytearray(whole.encode())


def test_fragments_are_those_that_pynetdicom_finds() -> None:
    fragments = [(1, b"\x03command"), (1, b"\x00data"), (3, b"\x02"), (255, b"\x02" + bytes(1000))]
    found = fragments_of(memoryview(pdu(*fragments))[HEAD:])
    assert [(context, bytes(data)) for context, data in found] == fragments


@pytest.mark.parametrize("length", [0, 1, 4, 6, 1000, 0xFFFFFFFF])
def test_fragments_that_do_not_fit_are_refused(length: int) -> None:
    wrong = pdu((1, b"\x02abc"))
    wrong[HEAD : HEAD + 4] = struct.pack(">I", length)
    with pytest.raises((ValueError, struct.error)):
        list(fragments_of(memoryview(wrong)[HEAD:]))


def instance(syntax: str, *, cut: int = 0, uids: Mapping[str, str] | None = None) -> EncodedInstance:
    data_set = small_object()
    content = encode(data_set, False, syntax != ExplicitVRBigEndian)
    assert content is not None
    if syntax == DeflatedExplicitVRLittleEndian:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = deflater.compress(content) + deflater.flush()
    given = {"sop_class_uid": data_set.SOPClassUID, "sop_instance_uid": data_set.SOPInstanceUID, **(uids or {})}
    return EncodedInstance(**given, transfer_syntax_uid=syntax, data_set=content[: len(content) - cut])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_an_instance_is_held_against_what_its_sender_says(syntax: str) -> None:
    sent = small_object()
    outline = check_instance(instance(syntax))
    assert (outline.study_uid, outline.series_uid) == (sent.StudyInstanceUID, sent.SeriesInstanceUID)
    for wrong in ({"sop_class_uid": "1.2.3"}, {"sop_instance_uid": "1.2.3"}):
        with pytest.raises(InstanceMismatch):
            check_instance(instance(syntax, uids=wrong))
    with pytest.raises(InstanceRefused):
        check_instance(instance(syntax, cut=1))


def test_what_grows_too_large_or_is_in_another_syntax_is_refused() -> None:
    with pytest.raises(InstanceRefused, match="grows beyond"):
        check_instance(instance(DeflatedExplicitVRLittleEndian), ReaderLimits(max_bytes=1000))
    with pytest.raises(InstanceRefused, match="not read"):
        check_instance(instance("1.2.840.10008.1.2.4.100"))
