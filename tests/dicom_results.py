"""Evidence for the tests of DICOM results: cells that are discs, a patient that does not exist, a case that is ours."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from integrations.dicom.ann import build_annotations
from integrations.dicom.evidence import (
    CaseEvidence,
    DicomObject,
    FieldEvidence,
    ObjectRef,
    Origin,
    Software,
    SourceImage,
    Subject,
)
from integrations.dicom.sr import build_report
from integrations.dicom.vl_image import PlainField, build_image, plain_source
from sphero_core.types import BundleId, CaseCounts, Cell, CellClass, CellMeasures, FieldFindings
from tests.support import peer

SUBJECT = Subject("P-100", "HOSP", "Müller", "Jané", date(1980, 1, 2), "F", "26-001", "LAB")
ORIGIN = Origin("3d2c0e0a-case", 1, datetime(2026, 3, 2, 11, 12, 13, tzinfo=UTC))
SOFTWARE = Software("0.1.0")
BUNDLE = BundleId("mrcnn", "1", "b" * 64)
COUNTS = CaseCounts(
    1000, 12, 1.2, (0.62, 2.09), 1, ("Fewer than 1,000 red cells were wanted.", "One field was refused.")
)
RADIUS = 18

ALLOWED = {
    "Only valid for AnnotationCoordinateType of 3D - attribute <CommonZCoordinateValue> = <>": (
        "dicom3tools of 2022 asks for it in 2D as well, where PS3.3 C.37.1.2 makes it 1C for 3D only"
    ),
    "Information Object Not found": "dicom3tools of 2022 does not know Label Map Segmentation, which is of 2024",
    "SegmentNumber not monotonically increasing from one by one - have SegmentSequence item number 1 (from one) with "
    "SegmentNumber of 0": "number 0 is the background of a label map (PS3.3 C.8.20.4)",
}
"""Errors of dciodvfy that are its own, each with the reason."""


def disc(kind: CellClass, x: int, y: int, radius: int = RADIUS) -> Cell:
    """A round cell whose upper left corner is at (x, y)."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    mask = columns**2 + rows**2 <= radius**2
    area = float(mask.sum())
    measures = CellMeasures(area, 2 * radius, 6.3 * radius, 0.9, 0.2, 0.95, 0.98, 0.1, float("nan"), 1.0)
    return Cell(kind, 0.9, 0.95, x, y, mask, measures=measures)


def plain(pixels: tuple[int, int] = (480, 640), number: int = 1) -> PlainField:
    """A field of noise, as rows and columns."""
    noise = np.random.default_rng(number).integers(0, 255, (*pixels, 3), dtype=np.uint8)
    return PlainField(number, f"{number:064x}", 0, noise, um_per_pixel=0.1)


def source(field: PlainField) -> SourceImage:
    rows, columns = field.pixels.shape[:2]
    return plain_source(ORIGIN.case_id, field.sha256, 0, rows, columns, ORIGIN)


def evidence(image: SourceImage, cells: int = 12, number: int = 1) -> FieldEvidence:
    """A field with so many cells in rows; every seventh is a spherocyte, and one a platelet."""
    side = 2 * RADIUS + 2
    across = max(1, image.columns // side)
    kinds = [CellClass.SPHEROCYTE if n % 7 == 0 else CellClass.RBC for n in range(cells)]
    kinds[-1] = CellClass.PLATELET
    # The network's measures may be missing for a cell.
    found = [disc(kind, side * (n % across), side * (n // across)) for n, kind in enumerate(kinds)]
    findings = FieldFindings(tuple(found), image.columns, image.rows, 36.0, 1, 0.1)
    return FieldEvidence(number, image, findings, 0.1)


def objects(origin: Origin = ORIGIN, replaces: ObjectRef | None = None) -> tuple[DicomObject, DicomObject, DicomObject]:
    """The image, the annotations and the report of a case with one plain field."""
    field = plain()
    image = source(field)
    made = build_image(field, image, SUBJECT, ORIGIN, software=SOFTWARE)
    annotations = build_annotations(evidence(image), SUBJECT, origin, bundle=BUNDLE, software=SOFTWARE)
    assert annotations is not None
    case = CaseEvidence(COUNTS, BUNDLE, (image,), (annotations.ref,), replaces=replaces)
    return made, annotations, build_report(case, SUBJECT, origin, software=SOFTWARE)


def problems(made: DicomObject, folder: Path) -> Sequence[str]:
    """What dciodvfy holds against an object, less what is its own mistake."""
    checker = peer("dicom3tools", "dciodvfy", remedy="apt-get install dicom3tools")
    file = folder / f"{made.ref.sop_instance_uid}.dcm"
    file.write_bytes(made.body)
    told = subprocess.run([checker, file], capture_output=True, text=True, timeout=60, check=False).stderr.splitlines()
    errors = [line.removeprefix("Error - ").strip() for line in told if line.startswith("Error")]
    return [error for error in errors if error not in ALLOWED]
