from __future__ import annotations

from pathlib import Path

from integrations.dicom.guide import reading_tables

DOCUMENT = Path(__file__).resolve().parents[2] / "deploy" / "docs" / "dicom.md"


def test_the_document_holds_the_tables_of_the_code() -> None:
    assert reading_tables() in DOCUMENT.read_text()
