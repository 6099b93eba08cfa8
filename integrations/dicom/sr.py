"""The result of a case as a measurement report: TID 1500 (PS3.16) in a Comprehensive 3D SR document (SOP class ...88.34)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CompositeContentItem,
    Comprehensive3DSR,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from integrations.dicom.codes import BLOOD, CELLS, FIELDS, PERCENT, PRIVATE_SCHEME, CodeBook, Concept
from integrations.dicom.document import CHARACTER_SET, CODING_SCHEME, device_context, finish, header_of, person_name
from integrations.dicom.evidence import (
    CaseEvidence,
    DicomObject,
    ObjectKind,
    ObjectRef,
    Origin,
    Person,
    Software,
    Subject,
)
from integrations.dicom.uids import derive_uid
from integrations.errors import ObjectRefused

SERIES_NUMBER = 9102
_NUMERIC_DIGITS = 6


def build_report(
    case: CaseEvidence,
    subject: Subject,
    origin: Origin,
    *,
    software: Software,
    codes_of: CodeBook | None = None,
    final: bool = False,
    verifier: Person | None = None,
) -> DicomObject:
    """Tell what a version of a case came to.

    One measurement group: counts, percentage, interval, the grade where there is one, limitations as comments, the model,
    references to the images and to the annotation objects. It is of the study of the first source image.

    Parameters
    ----------
    case : CaseEvidence
    subject : Subject
    origin : Origin
    software : Software
    codes_of : CodeBook, optional
    final : bool
        Whether the result is final, or corrected; else the document is preliminary.
    verifier : Person or None
        Who signed it: then the document is verified, by that person, when the version was made. A final result without one
        was released by software, and is unverified.

    Raises
    ------
    ObjectRefused
        There is no source image, or a text does not fit its attribute.
    """
    if not case.sources:
        raise ObjectRefused("a report needs the images that it tells of")
    book = codes_of or CodeBook()
    images = [header_of(subject, source) for source in case.sources]
    annotations = [_reference_header(ref, images[0]) for ref in case.annotations]
    keys = (origin.case_id, origin.revision, "sr")
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device_context(software)),
        procedure_reported=book["procedure"].coded,
        imaging_measurements=[_group(case, book, images, derive_uid(*keys, "group"))],
        title=codes.DCM.ImagingMeasurementReport,
    )
    made = Comprehensive3DSR(
        evidence=[*_once(images), *annotations],
        content=content[0],
        series_instance_uid=derive_uid(*keys, images[0].StudyInstanceUID, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derive_uid(*keys),
        instance_number=origin.revision,
        manufacturer=software.manufacturer,
        manufacturer_model_name=software.model,
        software_versions=software.version,
        device_serial_number=software.serial,
        institution_name=software.institution or None,
        is_complete=True,
        is_final=final,
        is_verified=verifier is not None,
        verifying_observer_name=person_name("VerifyingObserverName", verifier) if verifier else None,
        verifying_organization=_organization(verifier, software) if verifier else None,
        previous_versions=[_reference_header(case.replaces, images[0])] if case.replaces else None,
        specific_character_set=CHARACTER_SET,
        coding_schemes=[CODING_SCHEME],
        series_description="Counts of cells by software",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    return finish(made, ObjectKind.REPORT, origin)


def _organization(verifier: Person, software: Software) -> str:
    """(0040,A027), which may not be empty."""
    return verifier.organization or software.institution or "laboratory not named in the settings"


def _group(
    case: CaseEvidence, book: CodeBook, images: list[Dataset], tracking_uid: str
) -> MeasurementsAndQualitativeEvaluations:
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(tracking_uid, identifier="case"),
        finding_type=book["spherocyte"].coded,
        algorithm_id=AlgorithmIdentification(
            case.bundle.name, case.bundle.version, parameters=[f"SHA-256: {case.bundle.sha256}"]
        ),
        measurements=list(_measurements(case, book)),
        qualitative_evaluations=list(_evaluations(case, book)) or None,
        source_images=[
            SourceImageForMeasurementGroup.from_source_image(image, [source.frame] if source.frames > 1 else None)
            for image, source in zip(images, case.sources, strict=True)
        ],
    )
    items = group[0].ContentSequence
    for ref in case.annotations:
        items.append(
            CompositeContentItem(
                name=codes.DCM.SourceOfMeasurement,
                referenced_sop_class_uid=ref.sop_class_uid,
                referenced_sop_instance_uid=ref.sop_instance_uid,
                relationship_type=RelationshipTypeValues.CONTAINS,
            )
        )
    items.append(
        CodeContentItem(
            name=codes.SCT.SpecimenType,
            value=BLOOD.coded,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )
    )
    graded = [f"Graded by {case.grade.scheme}."] if case.grade else []
    comments = [*case.comments, *case.counts.limitations, *graded]
    for text in comments:
        items.append(
            TextContentItem(name=codes.DCM.Comment, value=text, relationship_type=RelationshipTypeValues.CONTAINS)
        )
    return group


def _measurements(case: CaseEvidence, book: CodeBook) -> Iterator[Measurement]:
    counts = case.counts
    yield Measurement(book["red_cells"].coded, counts.red_cells, CELLS.coded)
    yield Measurement(book["spherocytes"].coded, counts.spherocytes, CELLS.coded)
    yield Measurement(book["fields"].coded, counts.fields, FIELDS.coded)
    if counts.spherocyte_percent is not None:
        yield _percent(book["spherocyte_percent"], counts.spherocyte_percent)
    if counts.ci95 is not None:
        yield _percent(book["interval_low"], counts.ci95[0])
        yield _percent(book["interval_high"], counts.ci95[1])


def _percent(concept: Concept, value: float) -> Measurement:
    return Measurement(concept.coded, round(value, _NUMERIC_DIGITS), PERCENT.coded)


def _evaluations(case: CaseEvidence, book: CodeBook) -> Iterator[QualitativeEvaluation]:
    if case.grade is not None:
        grade = Concept(f"GRADE {case.grade.value}", PRIVATE_SCHEME, f"Grade {case.grade.value} of {case.grade.scheme}")
        yield QualitativeEvaluation(book["grade"].coded, grade.coded)


def _reference_header(ref: ObjectRef, like: Dataset) -> Dataset:
    header = deepcopy(like)  # elements are shared otherwise, and setting one would set the other's
    header.SOPClassUID, header.SOPInstanceUID = ref.sop_class_uid, ref.sop_instance_uid
    header.SeriesInstanceUID, header.StudyInstanceUID = ref.series_uid, ref.study_uid
    return header


def _once(images: list[Dataset]) -> list[Dataset]:
    """Each instance once, however many of its frames are fields."""
    return list({image.SOPInstanceUID: image for image in images}.values())
