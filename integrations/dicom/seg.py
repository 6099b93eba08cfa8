"""The cells of one field as a label map: Label Map Segmentation (PS3.3 A.51, SOP class ...66.7), compressed by RLE.

On request only. Every cell is a segment; where two cells overlap, the pixel belongs to the later one. Annotations
(`integrations.dicom.ann`) tell the same more briefly, with the measures.
"""

from __future__ import annotations

from itertools import count

import cv2
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom.uid import RLELossless

from integrations.dicom.ann import identify
from integrations.dicom.codes import CELL, CodeBook
from integrations.dicom.document import CHARACTER_SET, CODING_SCHEME, finish, header_of
from integrations.dicom.evidence import DicomObject, FieldEvidence, ObjectKind, Origin, Software, Subject
from integrations.dicom.uids import derive_uid
from integrations.errors import ObjectRefused
from sphero_core.types import BundleId, Cell

SERIES_NUMBER = 9103
_BY_PERSON = SegmentAlgorithmTypeValues.SEMIAUTOMATIC
MOST_CELLS = 65_535
"""A pixel has 16 bits at most."""


def build_segmentation(
    field: FieldEvidence,
    subject: Subject,
    origin: Origin,
    *,
    bundle: BundleId,
    software: Software,
    codes_of: CodeBook | None = None,
) -> DicomObject | None:
    """Tell every cell of a field by its pixels.

    Parameters
    ----------
    field, subject, origin, bundle, software, codes_of
        As of `build_annotations`.

    Returns
    -------
    DicomObject or None
        None for a field without cells.

    Raises
    ------
    ObjectRefused
        The image has several frames, or the field has more cells than a label map can number.
    """
    source, cells = field.source, field.findings.cells
    if not cells:
        return None
    if source.frames > 1:
        raise ObjectRefused("a label map is made of single-frame images only; annotations tell of every frame")
    if len(cells) > MOST_CELLS:
        raise ObjectRefused(f"a label map numbers {MOST_CELLS} cells at most; the field has {len(cells)}")
    book = codes_of or CodeBook()
    labels, numbered = _labels(field)
    keys = (origin.case_id, origin.revision, "seg", source.ref.sop_instance_uid)
    made = Segmentation(
        source_images=[header_of(subject, source)],
        pixel_array=labels,
        segmentation_type=SegmentationTypeValues.LABELMAP,
        segment_descriptions=[
            SegmentDescription(
                segment_number=number,
                segment_label=_label(cell, number),
                segmented_property_category=CELL.coded,
                segmented_property_type=book.of_class(cell.cell_class).coded,
                algorithm_type=_BY_PERSON if cell.machine_class else SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=identify(bundle),
            )
            for number, cell in enumerate(numbered, start=1)
        ],
        series_instance_uid=derive_uid(origin.case_id, origin.revision, "seg", source.ref.study_uid),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derive_uid(*keys),
        instance_number=field.number,
        manufacturer=software.manufacturer,
        manufacturer_model_name=software.model,
        software_versions=software.version,
        device_serial_number=software.serial,
        content_label="CELLS",
        content_description="Cells found by software",
        series_description="Cells found by software, as a label map",
        specific_character_set=CHARACTER_SET,
        coding_schemes=[CODING_SCHEME],
        transfer_syntax_uid=RLELossless,
    )
    # Drawn at random by highdicom, where the same step must give the same bytes.
    for number, item in zip(count(1), made.DimensionOrganizationSequence, strict=False):
        item.DimensionOrganizationUID = derive_uid(*keys, "dimension", number)
    for index in made.DimensionIndexSequence:
        index.DimensionOrganizationUID = made.DimensionOrganizationSequence[0].DimensionOrganizationUID
    if "FrameOfReferenceUID" in made and not source.frame_of_reference_uid:
        made.FrameOfReferenceUID = derive_uid(*keys, "frame of reference")
    return finish(made, ObjectKind.SEGMENTATION, origin)


def _label(cell: Cell, number: int) -> str:
    called = f", by a person; model: {cell.machine_class.value}" if cell.machine_class else ""
    return f"{cell.cell_class.value} {number}{called}"


def _labels(field: FieldEvidence) -> tuple[NDArray[np.uint16], list[Cell]]:
    """The label of each stored pixel, and the cells by their label; a cell without a pixel of its own has none."""
    source, findings = field.source, field.findings
    whole: NDArray[np.uint16] = np.zeros((findings.height, findings.width), np.uint16)
    for number, cell in enumerate(findings.cells, start=1):
        x, y, width, height = cell.box
        whole[y : y + height, x : x + width][cell.mask] = number
    if whole.shape != (source.rows, source.columns):
        size = source.columns, source.rows
        whole = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_NEAREST), np.uint16)
    kept = [int(number) for number in np.unique(whole) if number]
    renumbered = np.zeros(len(findings.cells) + 1, np.uint16)
    renumbered[kept] = np.arange(1, len(kept) + 1)
    return renumbered[whole], [findings.cells[number - 1] for number in kept]
