"""The objects that we give back: whole, valid, and the same whenever they are made."""

from __future__ import annotations

import io
import subprocess
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from highdicom.ann import MicroscopyBulkSimpleAnnotations
from highdicom.seg import Segmentation
from pydicom import Dataset, dcmread

from integrations.dicom.ann import build_annotations
from integrations.dicom.codes import CodeBook, Concept
from integrations.dicom.document import add_patient, add_study
from integrations.dicom.evidence import CaseEvidence, DicomObject, Grade, ObjectKind, Person, Rejection, Subject
from integrations.dicom.jpeg import baseline_frame
from integrations.dicom.outlines import outline_of
from integrations.dicom.rejection import build_rejection
from integrations.dicom.seg import build_segmentation
from integrations.dicom.sr import build_report
from integrations.dicom.uids import derive_uid
from integrations.dicom.vl_image import build_image, spacing_mm
from integrations.errors import ObjectRefused
from sphero_core.types import Cell, CellClass, FieldFindings
from tests.dicom_results import (
    BUNDLE,
    COUNTS,
    ORIGIN,
    RADIUS,
    SOFTWARE,
    SUBJECT,
    disc,
    evidence,
    objects,
    plain,
    problems,
    source,
)
from tests.support import peer


def read(made: DicomObject) -> Dataset:
    return dcmread(io.BytesIO(made.body))


def annotate(cells: int = 12, **changes: Any) -> DicomObject:
    field = replace(evidence(source(plain()), cells), **changes)
    made = build_annotations(field, SUBJECT, ORIGIN, bundle=BUNDLE, software=SOFTWARE)
    assert made is not None
    return made


def numbers_of(report: Dataset) -> dict[str, float]:
    found = {}
    stack = [report]
    while stack:
        item = stack.pop()
        if item.get("ValueType") == "NUM":
            name = item.ConceptNameCodeSequence[0].CodeValue
            found[name] = float(item.MeasuredValueSequence[0].NumericValue)
        stack += list(item.get("ContentSequence", []))
    return found


def texts_of(report: Dataset) -> list[str]:
    found, stack = [], [report]
    while stack:
        item = stack.pop()
        if item.get("ValueType") == "TEXT":
            found.append(str(item.TextValue))
        stack += reversed(list(item.get("ContentSequence", [])))
    return found


def test_no_object_has_an_error_and_dcmtk_reads_each(tmp_path: Path) -> None:
    field = evidence(source(plain()))
    segmentation = build_segmentation(field, SUBJECT, ORIGIN, bundle=BUNDLE, software=SOFTWARE)
    assert segmentation is not None
    pixels = plain().pixels
    stretched = replace(plain(), pixel_aspect=1.3333, um_per_pixel=None)
    jpeg = replace(plain(), jpeg=cv2.imencode(".jpg", pixels)[1].tobytes())
    more = [build_image(each, source(each), SUBJECT, ORIGIN, software=SOFTWARE) for each in (stretched, jpeg)]
    dump = peer("dcmtk", "dcmdump", remedy="apt-get install dcmtk")
    for made in (*objects(), segmentation, *more):
        assert problems(made, tmp_path) == []
        done = subprocess.run(
            [dump, "-q", tmp_path / f"{made.ref.sop_instance_uid}.dcm"], capture_output=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_check_finds_an_error_where_there_is_one(tmp_path: Path) -> None:
    image, *_ = objects()
    broken = read(image)
    del broken.SpecimenDescriptionSequence
    buffer = io.BytesIO()
    broken.save_as(buffer)
    assert problems(replace(image, body=buffer.getvalue()), tmp_path)


def test_objects_made_twice_are_the_same_bytes_and_another_version_has_other_uids() -> None:
    first, again = objects(), objects()
    assert [each.body for each in first] == [each.body for each in again]
    later = objects(replace(ORIGIN, revision=2, made=ORIGIN.made + timedelta(hours=1)), replaces=first[2].ref)
    assert later[0].body == first[0].body  # the image stays
    assert not {later[1].ref.sop_instance_uid, later[2].ref.sop_instance_uid} & {
        each.ref.sop_instance_uid for each in first
    }
    (study,) = read(later[2]).PredecessorDocumentsSequence
    named = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first[2].ref.sop_instance_uid
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == first[2].ref.series_uid


def test_segmentations_made_twice_are_the_same_bytes_and_hold_every_cell() -> None:
    field = evidence(source(plain()))
    first, again = (build_segmentation(field, SUBJECT, ORIGIN, bundle=BUNDLE, software=SOFTWARE) for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.body == again.body
    read_back = Segmentation.from_dataset(read(first))
    cells = [item.SegmentNumber for item in read_back.SegmentSequence if item.SegmentNumber]
    assert cells == list(range(1, len(field.findings.cells) + 1))
    assert sorted(np.unique(read_back.pixel_array)) == [0, *cells]


def test_annotations_tell_each_cell_with_its_measures() -> None:
    made = MicroscopyBulkSimpleAnnotations.from_dataset(read(annotate()))
    assert [group.label for group in made.get_annotation_groups()] == ["RBC", "Spherocyte", "Platelet"]
    group = made.get_annotation_groups()[1]
    polygons = group.get_graphic_data("2D")
    assert len(polygons) == 2
    assert polygons[0].min(axis=0) == pytest.approx([0, 0])
    assert polygons[0].max(axis=0) == pytest.approx([2 * RADIUS + 1] * 2)  # along the edges of the pixels
    names, values, units = group.get_measurements()
    told = {name.value: (column[0], unit.value) for name, column, unit in zip(names, values.T, units, strict=True)}
    area = float(disc(CellClass.RBC, 0, 0).mask.sum())
    assert told["42798000"] == (pytest.approx(area * 0.01, rel=1e-5), "um2")
    assert told["SCORE"] == (pytest.approx(0.9), "1")
    assert "REL_DENSITY" not in told  # could not be had for any cell
    algorithm = group.algorithm_identification
    assert (algorithm.name, algorithm.version, algorithm.parameters) == ("mrcnn", "1", {"SHA-256": "b" * 64})


def test_a_measure_that_one_cell_lacks_is_left_out_for_it_alone() -> None:
    field = evidence(source(plain()))
    cells = [replace(cell, measures=None) if n == 1 else cell for n, cell in enumerate(field.findings.cells)]
    made = annotate(findings=replace(field.findings, cells=tuple(cells)), um_per_pixel=None)
    group = MicroscopyBulkSimpleAnnotations.from_dataset(read(made)).get_annotation_groups()[0]
    names, values, units = group.get_measurements()
    area = [name.value for name in names].index("42798000")
    assert units[area].value == "{SQUAREPIXELS}"
    assert np.isnan(values[:, area]).tolist() == [True, *[False] * (len(values) - 1)]


def test_a_field_without_cells_has_no_annotations() -> None:
    empty = replace(evidence(source(plain())), findings=FieldFindings((), 640, 480, float("nan"), 0, 0.0))
    assert build_annotations(empty, SUBJECT, ORIGIN, bundle=BUNDLE, software=SOFTWARE) is None


@pytest.mark.parametrize("mask", [np.ones((1, 1), bool), np.ones((1, 7), bool), np.eye(5, dtype=bool)])
def test_outlines_of_the_smallest_cells_are_polygons_about_them(mask: np.ndarray[Any, Any]) -> None:
    cell = Cell(CellClass.PLATELET, 0.9, 0.1, 3, 4, mask)
    outline = outline_of(cell, (1.0, 2.0), (640, 960))
    assert len(outline) >= 3
    assert outline.min(axis=0) == pytest.approx([3, 8])
    assert not np.array_equal(outline[0], outline[-1])


def test_an_outline_encloses_the_area_of_its_cell() -> None:
    cell = disc(CellClass.RBC, 10, 20)
    area = cv2.contourArea(outline_of(cell, (1.0, 1.0), (640, 480)).reshape(-1, 1, 2))
    assert area == pytest.approx(cell.mask.sum(), rel=0.02)


def test_a_report_tells_counts_interval_model_and_what_it_rests_on() -> None:
    image, annotations, _ = objects()
    case = CaseEvidence(COUNTS, BUNDLE, (source(plain()),), (annotations.ref,), Grade("1+", "ICSH"))
    report = read(build_report(case, SUBJECT, ORIGIN, software=SOFTWARE))
    assert numbers_of(report) == {
        "RED_CELLS": 1000,
        "SPHEROCYTES": 12,
        "FIELDS": 1,
        "SPHERO_PERCENT": 1.2,
        "SPHERO_CI95_LOW": 0.62,
        "SPHERO_CI95_HIGH": 2.09,
    }
    said = texts_of(report)
    assert set(COUNTS.limitations) < set(said)
    assert {"mrcnn", "1", f"SHA-256: {'b' * 64}"} < set(said)
    referred = {
        item.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert referred == {image.ref.sop_instance_uid, annotations.ref.sop_instance_uid}
    assert (report.PreliminaryFlag, report.VerificationFlag, report.CompletionFlag) == (
        "PRELIMINARY",
        "UNVERIFIED",
        "COMPLETE",
    )
    assert "GRADE 1+" in str(report)


def test_a_case_without_red_cells_has_a_report_without_percentage() -> None:
    nothing = replace(COUNTS, red_cells=0, spherocytes=0, spherocyte_percent=None, ci95=None)
    report = read(build_report(CaseEvidence(nothing, BUNDLE, (source(plain()),)), SUBJECT, ORIGIN, software=SOFTWARE))
    assert numbers_of(report) == {"RED_CELLS": 0, "SPHEROCYTES": 0, "FIELDS": 1}


def test_patient_and_accession_come_from_the_case_alone() -> None:
    for made in objects():
        told = read(made)
        assert (told.PatientName, told.PatientID, told.IssuerOfPatientID) == ("Müller^Jané", "P-100", "HOSP")
        assert (told.PatientBirthDate, told.PatientSex, told.AccessionNumber) == ("19800102", "F", "26-001")
        assert told.SpecificCharacterSet == "ISO_IR 192"
        assert "Müller" not in repr(made)


def test_an_accession_number_that_does_not_fit_is_left_out_rather_than_cut() -> None:
    dataset = Dataset()
    add_study(dataset, replace(SUBJECT, accession="26-0012345678901234567"), source(plain()))
    assert dataset.AccessionNumber == ""
    assert "IssuerOfAccessionNumberSequence" not in dataset


@pytest.mark.parametrize(
    ("subject", "named"),
    [
        (Subject(patient_id="x" * 65), "PatientID"),
        (Subject(patient_id="a\\b"), "PatientID"),
        (Subject(family="Do^e"), "PatientName"),
        (Subject(family="x" * 40, given="y" * 40), "PatientName"),
        (Subject(given="a\nb"), "PatientName"),
    ],
)
def test_a_text_that_no_attribute_can_hold_is_refused_without_being_quoted(subject: Subject, named: str) -> None:
    with pytest.raises(ObjectRefused, match=named) as refused:
        add_patient(Dataset(), subject)
    assert all(text not in str(refused.value) for text in (subject.patient_id, subject.family, subject.given) if text)


def test_names_of_one_part_are_written_and_no_warning_quotes_them(recwarn: pytest.WarningsRecorder) -> None:
    subject, person, image = replace(SUBJECT, given=""), Person("apruefer"), source(plain())
    annotations = build_annotations(evidence(image), subject, ORIGIN, bundle=BUNDLE, software=SOFTWARE)
    assert annotations is not None
    case = CaseEvidence(COUNTS, BUNDLE, (image,), (annotations.ref,))
    report = build_report(case, subject, ORIGIN, software=SOFTWARE, final=True, verifier=person)
    rejected = [(ObjectKind.REPORT, report.ref), (ObjectKind.ANNOTATIONS, annotations.ref)]
    note = build_rejection(
        rejected, Rejection.QUALITY, "Why.", subject, ORIGIN, image, software=SOFTWARE, person=person
    )
    for made in (annotations, report, note, build_image(plain(), image, subject, ORIGIN, software=SOFTWARE)):
        assert read(made).PatientName == "Müller"
    assert not recwarn.list


def test_a_baseline_jpeg_is_archived_as_it_is_and_everything_else_uncompressed() -> None:
    field = plain()
    jpeg = cv2.imencode(".jpg", field.pixels)[1].tobytes()
    whole = read(build_image(replace(field, jpeg=jpeg), source(field), SUBJECT, ORIGIN, software=SOFTWARE))
    assert jpeg in whole.PixelData
    assert whole.LossyImageCompression == "01"
    assert whole.PhotometricInterpretation == "YBR_FULL_422"
    blue_first = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert blue_first is not None
    difference = whole.pixel_array.astype(int) - blue_first[..., ::-1]
    assert np.abs(difference).mean() < 1  # the same picture; how chroma is enlarged differs between decoders
    progressive = cv2.imencode(".jpg", field.pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert baseline_frame(progressive) is None
    plain_pixels = read(build_image(field, source(field), SUBJECT, ORIGIN, software=SOFTWARE)).pixel_array
    assert np.array_equal(plain_pixels, field.pixels)


def test_the_distance_of_rows_follows_the_stretch() -> None:
    assert spacing_mm(0.2, 1.0) == pytest.approx((0.0002, 0.0002))
    assert spacing_mm(0.2, 1.25) == pytest.approx((0.00016, 0.0002))
    assert spacing_mm(0.2, 0.5) == pytest.approx((0.0002, 0.0001))


def test_a_site_maps_our_codes() -> None:
    book = CodeBook({"spherocyte": Concept("12345", "SCT", "Spherocyte")})
    field = evidence(source(plain()))
    made = build_annotations(field, SUBJECT, ORIGIN, bundle=BUNDLE, software=SOFTWARE, codes_of=book)
    assert made is not None
    types = [group.AnnotationPropertyTypeCodeSequence[0] for group in read(made).AnnotationGroupSequence]
    assert [(each.CodeValue, each.CodingSchemeDesignator) for each in types][:2] == [
        ("RBC", "99SPHERO"),
        ("12345", "SCT"),
    ]
    with pytest.raises(ObjectRefused, match="sphericyte"):
        CodeBook({"sphericyte": Concept("1", "SCT", "x")})


def test_uids_are_short_and_tell_parts_apart() -> None:
    assert derive_uid("ab", "c") != derive_uid("a", "bc")
    assert derive_uid("ab", 1) == derive_uid("ab", "1")
    assert len(derive_uid("x" * 1000)) <= 44


def test_five_thousand_cells_and_their_report_are_told_in_bounded_time(tmp_path: Path) -> None:
    field = evidence(source(plain((2800, 2800))), 5000)
    began = time.monotonic()
    made = build_annotations(field, SUBJECT, ORIGIN, bundle=BUNDLE, software=SOFTWARE)
    assert made is not None
    case = CaseEvidence(COUNTS, BUNDLE, (field.source,), (made.ref,))
    build_report(case, SUBJECT, ORIGIN, software=SOFTWARE)
    assert time.monotonic() - began < 20
    assert len(made.body) < 8_000_000
    assert sum(group.NumberOfAnnotations for group in read(made).AnnotationGroupSequence) == 5000
    assert made.kind is ObjectKind.ANNOTATIONS
    assert problems(made, tmp_path) == []
