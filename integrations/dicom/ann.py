"""The cells of one field as a Microscopy Bulk Simple Annotations object (PS3.3 A.87; SOP class ...91.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.ann import (
    AnnotationCoordinateTypeValues,
    AnnotationGroup,
    AnnotationGroupGenerationTypeValues,
    GraphicTypeValues,
    Measurements,
    MicroscopyBulkSimpleAnnotations,
    PixelOriginInterpretationValues,
)
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from integrations.dicom.codes import (
    CELL,
    MEASURES,
    MICROMETRES,
    NO_UNIT,
    PIXELS,
    RED_CELL_SCORE,
    SCORE,
    SQUARE_MICROMETRES,
    SQUARE_PIXELS,
    CodeBook,
    Concept,
    Measure,
)
from integrations.dicom.document import CHARACTER_SET, CODING_SCHEME, finish, header_of
from integrations.dicom.evidence import DicomObject, FieldEvidence, ObjectKind, Origin, Software, Subject
from integrations.dicom.outlines import outline_of
from integrations.dicom.uids import derive_uid
from sphero_core.types import BundleId, Cell, CellClass

SERIES_NUMBER = 9101
_UNITS: dict[tuple[int, bool], Concept] = {
    (1, False): PIXELS,
    (2, False): SQUARE_PIXELS,
    (1, True): MICROMETRES,
    (2, True): SQUARE_MICROMETRES,
}


def build_annotations(
    field: FieldEvidence,
    subject: Subject,
    origin: Origin,
    *,
    bundle: BundleId,
    software: Software,
    codes_of: CodeBook | None = None,
) -> DicomObject | None:
    """Tell every cell of a field: outline, class, score and measures.

    Each class is one group, in the order of `CellClass`; a cell keeps its place among those of its class. Cells to which a
    person gave another class than the model are groups of their own: of the person's class, semi-automatic, with the model's
    class as modifier, in the label and in the description; scores are those of the model's call. Lengths are in
    micrometres where the scale is known, else in pixels of the field in true proportion. A measure that cannot be had is
    left out for that cell.

    Parameters
    ----------
    field : FieldEvidence
    subject : Subject
    origin : Origin
    bundle : BundleId
        The model that found the cells.
    software : Software
    codes_of : CodeBook, optional

    Returns
    -------
    DicomObject or None
        None for a field without cells: a group has at least one annotation.

    Raises
    ------
    ObjectRefused
        A text does not fit its attribute, which is named.
    """
    book = codes_of or CodeBook()
    ref = field.source.ref
    keys = (origin.case_id, origin.revision, "ann", ref.sop_instance_uid, field.source.frame)
    groups = [
        _group(number, call, cells, field, bundle, book, derive_uid(*keys, *call.parts))
        for number, (call, cells) in enumerate(_by_call(field.findings.cells), start=1)
    ]
    if not groups:
        return None
    made = MicroscopyBulkSimpleAnnotations(
        source_images=[header_of(subject, field.source)],
        annotation_coordinate_type=AnnotationCoordinateTypeValues.SCOORD,
        annotation_groups=groups,
        series_instance_uid=derive_uid(origin.case_id, origin.revision, "ann", ref.study_uid),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derive_uid(*keys),
        instance_number=field.number,
        manufacturer=software.manufacturer,
        manufacturer_model_name=software.model,
        software_versions=software.version,
        device_serial_number=software.serial,
        content_description="Cells found by software",
        content_label="CELLS",
        pixel_origin_interpretation=PixelOriginInterpretationValues.FRAME,
        specific_character_set=CHARACTER_SET,
        coding_schemes=[CODING_SCHEME],
        series_description="Cells found by software",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    made.Laterality = ""  # blood has none (PS3.3 C.7.3.1, type 2C)
    if field.source.frames > 1:
        for item in made.ReferencedImageSequence:
            item.ReferencedFrameNumber = field.source.frame
    return finish(made, ObjectKind.ANNOTATIONS, origin)


def identify(bundle: BundleId) -> AlgorithmIdentificationSequence:
    """The model as PS3.3 10.16 writes it: name, version, and the hash over all of it."""
    return AlgorithmIdentificationSequence(
        name=bundle.name,
        family=codes.DCM.ArtificialIntelligence,
        version=bundle.version,
        source="Spheroflow",
        parameters={"SHA-256": bundle.sha256},
    )


@dataclass(frozen=True, slots=True)
class _Call:
    """What cells are, and what the model called them where that differs."""

    kind: CellClass
    machine: CellClass | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.kind.value, self.machine.value) if self.machine else (self.kind.value,)

    @property
    def label(self) -> str:
        return f"{self.kind.value}, by a person; model: {self.machine.value}" if self.machine else self.kind.value

    @property
    def description(self) -> str | None:
        if self.machine is None:
            return None
        return f"A person gave these cells the class {self.kind.value}; the model called them {self.machine.value}."


def _by_call(cells: Sequence[Cell]) -> list[tuple[_Call, list[Cell]]]:
    found: dict[_Call, list[Cell]] = {}
    for kind in CellClass:
        for machine in (None, *CellClass):
            members = [cell for cell in cells if cell.cell_class is kind and cell.machine_class is machine]
            if members:
                found[_Call(kind, machine)] = members
    return list(found.items())


def _group(
    number: int, call: _Call, cells: list[Cell], field: FieldEvidence, bundle: BundleId, book: CodeBook, uid: str
) -> AnnotationGroup:
    source, findings = field.source, field.findings
    factors = source.columns / findings.width, source.rows / findings.height
    size = source.columns, source.rows
    generation = AnnotationGroupGenerationTypeValues
    group = AnnotationGroup(
        number=number,
        uid=uid,
        label=call.label,
        annotated_property_category=CELL.coded,
        annotated_property_type=book.of_class(call.kind).coded,
        graphic_type=GraphicTypeValues.POLYGON,
        graphic_data=[outline_of(cell, factors, size) for cell in cells],
        algorithm_type=generation.SEMIAUTOMATIC if call.machine else generation.AUTOMATIC,
        algorithm_identification=identify(bundle),
        measurements=list(_measurements(cells, field.um_per_pixel)),
        description=call.description,
    )
    if call.machine:
        kind = group.AnnotationPropertyTypeCodeSequence[0]
        kind.AnnotationPropertyTypeModifierCodeSequence = [book.called_by_model(call.machine).coded]
    return group


def _measurements(cells: list[Cell], um_per_pixel: float | None) -> list[Measurements]:
    told = [
        _told(SCORE, cells, lambda cell: cell.score),
        _told(RED_CELL_SCORE, cells, lambda cell: cell.red_cell_score),
        *(_measured(measure, cells, um_per_pixel) for measure in MEASURES),
    ]
    return [each for each in told if each is not None]


def _measured(measure: Measure, cells: list[Cell], um_per_pixel: float | None) -> Measurements | None:
    factor, unit = 1.0, NO_UNIT
    if measure.power is not None:
        factor = um_per_pixel**measure.power if um_per_pixel else 1.0
        unit = _UNITS[measure.power, bool(um_per_pixel)]

    def value(cell: Cell) -> float:
        return float(getattr(cell.measures, measure.attribute)) * factor if cell.measures else float("nan")

    return _told(measure.concept, cells, value, unit)


def _told(
    concept: Concept, cells: list[Cell], value: Callable[[Cell], float], unit: Concept = NO_UNIT
) -> Measurements | None:
    values: NDArray[np.float32] = np.array([value(cell) for cell in cells], np.float32)
    values[~np.isfinite(values)] = np.nan
    if np.isnan(values).all():
        return None
    return Measurements(concept.coded, values, unit.coded)
