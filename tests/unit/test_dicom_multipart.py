"""Answers of WADO-RS taken apart."""

from __future__ import annotations

import pytest

from integrations.dicom.multipart import only_part
from integrations.errors import InstanceNotFetched

KIND = 'multipart/related; type="application/dicom"; boundary="b"'
PART = b"--b\r\nContent-Type: application/dicom\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "content"),
    [
        (KIND, PART + b"12345\r\n--b--", b"12345"),
        (KIND, b"preamble\r\n" + PART + b"12345\r\n--b--\r\nepilogue", b"12345"),
        (KIND, PART + b"\r\n--\r\n--bc\r\n--\r\n--b--", b"\r\n--\r\n--bc\r\n--"),  # lines that are no delimiters
        (KIND, PART + b"1\n--b--\r\n--b--", b"1\n--b--"),
        ("multipart/related; boundary=b", b"--b\r\n\r\n\r\n\r\n--b--", b"\r\n"),
        ("application/dicom", b"12345", b"12345"),
    ],
)
def test_the_one_part_is_given_whole(kind: str, body: bytes, content: bytes) -> None:
    assert bytes(only_part(kind, body)) == content


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (KIND, PART + b"12345"),
        (KIND, PART + b"12345\r\n--b"),
        (KIND, PART[:-2]),
        (KIND, b""),
        (KIND, b"--b--"),
        (KIND, PART + b"1\r\n" + PART + b"2\r\n--b--"),
        ("multipart/related", PART + b"12345\r\n--b--"),
        ("text/html", b"<html>"),
        ("", b""),
    ],
)
def test_what_is_cut_off_or_something_else_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(InstanceNotFetched):
        only_part(kind, body)
