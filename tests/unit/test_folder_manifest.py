"""`case.json`: everything optional, nothing guessed, no value in an error."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from integrations.errors import ManifestError
from integrations.folder.manifest import MAX_BYTES, accession_from_folder, parse_manifest, read_manifest
from integrations.folder.scanner import Scanner

FULL = {
    "accession": "A-2025-17",
    "accession_issuer": "LAB",
    "placer_order": "P1",
    "filler_order": "F1",
    "patient": {
        "id": "0042", "issuer": "HOSPITAL", "family": "Müller", "given": "Ana", "birth_date": "1999-02-28", "sex": "F",
    },
    "collected": "2025-03-31T14:05:00Z",
    "expected_fields": 5,
    "um_per_pixel": 0.1,
    "pixel_aspect": 1.3333,
    "stain": "May-Grünwald-Giemsa",
}  # fmt: skip


def parse(**values: object) -> object:
    return parse_manifest(json.dumps(values).encode())


def test_every_key_is_read() -> None:
    manifest = parse_manifest(b"\xef\xbb\xbf" + json.dumps(FULL, ensure_ascii=False).encode())
    assert manifest.patient is not None
    assert manifest.patient.birth_date == date(1999, 2, 28)
    assert manifest.patient.family == "Müller"
    assert manifest.collected == datetime(2025, 3, 31, 14, 5, tzinfo=UTC)
    assert (manifest.accession, manifest.expected_fields, manifest.um_per_pixel) == ("A-2025-17", 5, 0.1)
    assert set(manifest.model_fields_set) == set(FULL)


def test_everything_is_optional() -> None:
    manifest = parse_manifest(b"{}")
    assert (manifest.accession, manifest.patient, manifest.pixel_aspect) == (None, None, None)


def test_precision_of_the_collection_time_is_kept() -> None:
    assert parse_manifest(b'{"collected": "2025-03-31"}').collected == date(2025, 3, 31)
    assert parse_manifest(b'{"collected": "2025-03-31T14:05"}').collected == datetime(2025, 3, 31, 14, 5)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"acession": "CANARY"}', 'unknown key "acession", did you mean "accession"'),
        ('{"patient": {"birthdate": "CANARY"}}', 'unknown key "birthdate", did you mean "birth_date"'),
        ('{"CANARY^JOHN 1999": 1}', r"unknown key \(not shown\), known are accession"),
        ('{"accession": "CANARY", "accession": "CANARY2"}', '"accession" stands twice'),
        ('{"accession": 4711}', "accession should be a valid string"),
        ('{"accession": ""}', "accession must not be empty"),
        ('{"accession": "CANARY\\nMSH|"}', "accession must hold printable characters only"),
        ('{"accession": "' + "CANARY" * 20 + '"}', "accession should have at most 64 characters"),
        ('{"patient": {"sex": "CANARY"}}', "patient.sex should be 'F', 'M', 'O', 'U', 'A' or 'N'"),
        ('{"patient": {"birth_date": "31.12.CANARY"}}', "patient.birth_date must be a text such as"),
        ('{"patient": {"birth_date": "1999-02-30"}}', "patient.birth_date"),
        ('{"patient": "CANARY"}', "patient should be a valid dictionary"),
        ('{"collected": 1700000000}', "collected must be a text such as"),
        ('{"expected_fields": "5"}', "expected_fields should be a valid integer"),
        ('{"expected_fields": 0}', "expected_fields should be greater than or equal to 1"),
        ('{"um_per_pixel": 0}', "um_per_pixel should be greater than"),
        ('{"pixel_aspect": 100}', "pixel_aspect should be less than"),
        ('{"pixel_aspect": NaN}', "NaN"),
        ('{"pixel_aspect": 1e999}', "pixel_aspect"),
        ('["CANARY"]', "one object"),
        ('{"accession": "CANARY"', "line 1, column 23"),
        ("[" * 30_000, "nested too deep"),
        ("", "line 1, column 1"),
    ],
)
def test_a_mistake_names_the_key_and_never_the_value(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        parse_manifest(text.encode())
    error: BaseException | None = caught.value
    while error is not None:
        assert "CANARY" not in str(error)
        error = error.__cause__ or error.__context__


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ManifestError, match=r"expected_fields .*; stain .*"):
        parse(expected_fields=0, stain=3)


def test_wrong_encoding_and_size() -> None:
    with pytest.raises(ManifestError, match="not UTF-8 text"):
        parse_manifest('{"stain": "Grünwald"}'.encode("latin-1"))
    with pytest.raises(ManifestError, match="bytes"):
        parse_manifest(b" " * (MAX_BYTES + 1))


def test_repr_hides_the_content() -> None:
    manifest = parse_manifest(json.dumps(FULL).encode())
    assert "Müller" not in repr(manifest)
    assert "Müller" not in str(manifest)
    assert "A-2025-17" not in f"{manifest!r} {manifest.patient!r} {manifest}"


def test_it_is_read_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    path = tmp_path / "A" / "case.json"
    path.write_text('{"accession": "X1"}')
    scanner = Scanner(tmp_path, stable_seconds=0, clock=lambda: 0.0)
    found = scanner.scan().cases[0].manifest
    assert found is not None
    assert read_manifest(tmp_path, found).accession == "X1"
    path.write_bytes(b" " * (MAX_BYTES + 1))
    found = scanner.scan().cases[0].manifest
    assert found is not None
    with pytest.raises(ManifestError, match="bytes"):
        read_manifest(tmp_path, found)


@pytest.mark.parametrize(
    ("name", "accession"),
    [("A-17", "A-17"), (" A 17 ", "A 17"), ("Mu\u0308", "Mü"), ("-rf", "-rf"), ("x" * 64, "x" * 64)],
)
def test_a_folder_names_the_accession(name: str, accession: str) -> None:
    assert accession_from_folder(name) == accession


@pytest.mark.parametrize("name", ["", "   ", "CANARY\nB", "CANARY\x00", "CANARY\u202e", "CANARY\udcff", "CANARY" * 11])
def test_a_folder_that_cannot_name_one(name: str) -> None:
    with pytest.raises(ManifestError, match="no name that can be an accession number") as caught:
        accession_from_folder(name)
    assert "CANARY" not in str(caught.value)
