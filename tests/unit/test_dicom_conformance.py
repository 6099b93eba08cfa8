"""The conformance statement in the repository is what the program says."""

from __future__ import annotations

from pathlib import Path

from pynetdicom.sop_class import _STORAGE_CLASSES

from integrations.dicom.catalogue import IMAGE_CLASSES
from integrations.dicom.conformance import statement

DOCUMENT = Path(__file__).resolve().parents[2] / "deploy" / "docs" / "dicom-conformance.md"


def test_the_statement_in_the_repository_is_that_of_the_program() -> None:
    assert DOCUMENT.read_text() == statement(), "run: sphero dicom conformance > deploy/docs/dicom-conformance.md"


def test_every_class_that_is_named_is_a_storage_class() -> None:
    assert set(IMAGE_CLASSES) <= set(_STORAGE_CLASSES.values())
