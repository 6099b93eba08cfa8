"""Versions that people make, as an archive gets them: verified, corrected, rejected, withdrawn; and what dciodvfy holds against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from highdicom.ann import MicroscopyBulkSimpleAnnotations
from pydicom import Dataset, dcmread

from db.object_views import NewObject
from db.people import Actor
from db.session import Database
from db.states import MessageState
from flows.archive import ArchivePlan, Archiving, Prepared
from flows.archive_transport import object_of
from flows.cli.lineage import as_text, lineage_rows
from flows.errors import ReviewRefused
from flows.release import ReleasePolicy
from integrations.dicom.evidence import DicomObject, ObjectKind, ObjectRef
from sphero_core.types import CellClass, Quality
from tests.archive_laboratory import BOTH, ArchiveLaboratory, archive, kinds, scu
from tests.database_examples import ManualClock
from tests.dicom_results import problems

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ANNA = Actor("apruefer", "4711", "HOSP", "Prüfer", "Anna")
ALL = frozenset({ObjectKind.ANNOTATIONS, ObjectKind.REPORT, ObjectKind.SEGMENTATION})


@pytest.fixture
def laboratory(database: Database, clock: ManualClock, tmp_path: Path) -> ArchiveLaboratory:
    return ArchiveLaboratory(database, clock, tmp_path)


def made_since(laboratory: ArchiveLaboratory, count: int) -> list[NewObject]:
    return [object_of(message) for message in laboratory.messages()[count:]]


def body(laboratory: ArchiveLaboratory, made: NewObject) -> Dataset:
    return dcmread(laboratory.objects.checked(made.stored_name, made.sha256))


def of_kind(objects: Sequence[NewObject], kind: str) -> NewObject:
    (found,) = [each for each in objects if each.kind == kind]
    return found


def comments(report: Dataset) -> list[str]:
    found, stack = [], [report]
    while stack:
        item = stack.pop()
        if item.get("ValueType") == "TEXT":
            found.append(str(item.TextValue))
        stack += list(item.get("ContentSequence", []))
    return found


def flags(report: Dataset) -> tuple[str, str, str]:
    return report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag


def referred(note: Dataset) -> set[str]:
    """What a key object selection tells of, by its evidence; its content tells of the same."""
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    found = {
        item.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    content = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in note.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    assert found == content
    return found


def check(laboratory: ArchiveLaboratory, folder: Path) -> None:
    """No object that was made has an error."""
    for made in made_since(laboratory, 0):
        path = laboratory.objects.checked(made.stored_name, made.sha256)
        ref = ObjectRef(made.sop_class_uid, made.sop_instance_uid, made.series_uid, made.study_uid)
        told = DicomObject(ObjectKind(made.kind), ref, made.transfer_syntax_uid, path.read_bytes())
        assert problems(told, folder) == [], made.kind


def test_signed_then_corrected(laboratory: ArchiveLaboratory, tmp_path: Path) -> None:
    laboratory.plans["pacs"] = ArchivePlan(ALL)
    case = laboratory.analyse("one")
    laboratory.work().report(case, "w")
    preliminary = made_since(laboratory, 0)
    assert flags(body(laboratory, of_kind(preliminary, "sr"))) == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")

    laboratory.clock.advance(60)
    desk = laboratory.desk()
    desk.sign(case.case_id, ANNA, comment="Seen under the microscope.")
    signed = made_since(laboratory, len(preliminary))
    report = body(laboratory, of_kind(signed, "sr"))
    assert flags(report) == ("COMPLETE", "VERIFIED", "FINAL")
    (observer,) = report.VerifyingObserverSequence
    assert observer.VerifyingObserverName == "Prüfer^Anna"
    assert observer.VerificationDateTime == f"{report.ContentDate}{report.ContentTime}{report.TimezoneOffsetFromUTC}"
    assert "Seen under the microscope." in comments(report)

    desk.relabel(case.case_id, 1, 1, CellClass.RBC, ANNA)
    desk.sign(case.case_id, ANNA, grade="3+", reason="Denser than the share says.")
    corrected = made_since(laboratory, len(preliminary) + len(signed))
    last = body(laboratory, of_kind(corrected, "sr"))
    named = last.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == report.SOPInstanceUID
    assert flags(last) == ("COMPLETE", "VERIFIED", "FINAL")
    assert any("The reviewer changed the grade" in each for each in comments(last))
    assert "GRADE 3+" in str(last)

    for kind in ("sr", "ann", "seg"):
        chain = [of_kind(version, kind) for version in (preliminary, signed, corrected)]
        assert [each.replaces for each in chain] == [None, chain[0].sop_instance_uid, chain[1].sop_instance_uid]
        assert len({each.sop_instance_uid for each in chain}) == len({each.series_uid for each in chain}) == 3
    images = {
        of_kind(version, "image").sop_instance_uid
        for version in (preliminary, signed, corrected)
        if any(each.kind == "image" for each in version)
    }
    assert len(images) == 1, "the image is made and sent once"
    check(laboratory, tmp_path)


def test_relabelled_cells_have_the_persons_class_with_the_models_beside_it(laboratory: ArchiveLaboratory) -> None:
    laboratory.plans["pacs"] = ArchivePlan(ALL)
    case = laboratory.analyse("one")
    desk = laboratory.desk()
    laboratory.work().report(case, "w")
    before = len(laboratory.messages())
    desk.relabel(case.case_id, 1, 1, CellClass.RBC, ANNA)  # the first of two spherocytes
    desk.sign(case.case_id, ANNA)
    objects = made_since(laboratory, before)
    groups = MicroscopyBulkSimpleAnnotations.from_dataset(
        body(laboratory, of_kind(objects, "ann"))
    ).get_annotation_groups()
    told = {group.AnnotationGroupLabel: group for group in groups}
    assert list(told) == ["RBC", "RBC, by a person; model: Spherocyte", "Spherocyte", "Platelet"]
    group = told["RBC, by a person; model: Spherocyte"]
    assert (group.NumberOfAnnotations, group.AnnotationGroupGenerationType) == (1, "SEMIAUTOMATIC")
    (kind,) = group.AnnotationPropertyTypeCodeSequence
    assert kind.CodeValue == "RBC"
    assert kind.AnnotationPropertyTypeModifierCodeSequence[0].CodeValue == "MODEL_SPHEROCYTE"
    assert told["RBC"].AnnotationGroupGenerationType == "AUTOMATIC"
    segments = {item.SegmentLabel: item for item in body(laboratory, of_kind(objects, "seg")).SegmentSequence}
    (label,) = [each for each in segments if "by a person" in each]
    assert label == "RBC 1, by a person; model: Spherocyte"
    assert segments[label].SegmentAlgorithmType == "SEMIAUTOMATIC"


def test_a_withdrawal_rejects_all_that_the_archive_has_for_the_patients_safety(
    laboratory: ArchiveLaboratory, tmp_path: Path
) -> None:
    laboratory.plans |= {"pacs": ArchivePlan(ALL), "new": ArchivePlan(BOTH)}
    case = laboratory.analyse("one")
    late = laboratory.plans.pop("new")
    laboratory.work().report(case, "w")
    desk = laboratory.desk()
    desk.sign(case.case_id, ANNA)
    before = laboratory.messages()
    laboratory.plans["new"] = late  # it was sent nothing, so that there is nothing to reject
    laboratory.desk().withdraw(case.case_id, ANNA, "The tubes were swapped.")
    told = laboratory.messages()[len(before) :]
    assert [(message.destination, object_of(message).kind) for message in told] == [("pacs", "ko")]
    assert told[0].order_key == before[0].order_key, "it follows what it rejects"
    note = body(laboratory, object_of(told[0]))
    assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
    assert referred(note) == {message.part for message in before}
    assert note.Modality == "KO"
    said = comments(note)
    assert "The tubes were swapped." in said
    names = [str(item.PersonName) for item in note.ContentSequence if item.ValueType == "PNAME"]
    assert names == ["Prüfer^Anna"]
    check(laboratory, tmp_path)


def test_a_rejection_rejects_results_for_their_quality_and_leaves_images(
    laboratory: ArchiveLaboratory, tmp_path: Path
) -> None:
    case = laboratory.analyse("one", "two")
    laboratory.work().report(case, "w")
    before = laboratory.messages()
    laboratory.desk().reject(case.case_id, ANNA, "The smear is too thick.")
    (made,) = made_since(laboratory, len(before))
    note = body(laboratory, made)
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert referred(note) == {message.part for message in before if object_of(message).kind != "image"}
    laboratory.desk().reject(case.case_id, ANNA, "The smear is too thick.")
    assert len(laboratory.messages()) == len(before) + 1
    check(laboratory, tmp_path)


def test_a_result_that_is_none_any_more_is_rejected_by_the_program_and_a_later_one_replaces_nothing(
    laboratory: ArchiveLaboratory,
) -> None:
    case = laboratory.analyse("one")
    laboratory.work().report(case, "w")
    before = len(laboratory.messages())
    with_nothing = laboratory.analyse_anew(case, Quality(accepted=False, reasons=("blurred",)))
    laboratory.work().report(with_nothing, "w")
    (made,) = made_since(laboratory, before)
    note = body(laboratory, made)
    assert (made.kind, note.ConceptNameCodeSequence[0].CodeValue) == ("ko", "113001")
    assert any("blurred" in each for each in comments(note))
    assert not [item for item in note.ContentSequence if item.ValueType == "PNAME"], "no person rejected it"

    laboratory.work().report(laboratory.analyse("two"), "w")
    later = made_since(laboratory, before + 1)
    assert [each.kind for each in later] == ["image", "ann", "sr"]
    assert [each.replaces for each in later] == [None] * 3
    assert "PredecessorDocumentsSequence" not in body(laboratory, of_kind(later, "sr"))

    laboratory.desk().withdraw(case.case_id, ANNA, "The tubes were swapped.")
    last = made_since(laboratory, before + 1 + len(later))
    images = {each.sop_instance_uid for each in made_since(laboratory, 0) if each.kind == "image"}
    assert referred(body(laboratory, last[0])) == images | {each.sop_instance_uid for each in later}


def test_under_the_policy_hold_nothing_is_made_before_a_signature(laboratory: ArchiveLaboratory) -> None:
    laboratory.policy = ReleasePolicy.HOLD
    case = laboratory.analyse("one")
    assert laboratory.work().report(case, "w") is None
    assert laboratory.messages() == ()
    assert not list((laboratory.folder / "objects").rglob("*.dcm"))
    laboratory.desk().sign(case.case_id, ANNA)
    assert kinds(laboratory.messages()) == ["image", "ann", "sr"]
    report = body(laboratory, made_since(laboratory, 0)[-1])
    assert flags(report) == ("COMPLETE", "VERIFIED", "FINAL")
    assert "PredecessorDocumentsSequence" not in report


def test_under_the_policy_final_the_report_is_final_and_says_that_nobody_verified_it(
    laboratory: ArchiveLaboratory,
) -> None:
    laboratory.policy = ReleasePolicy.FINAL
    laboratory.work().report(laboratory.analyse("one"), "w")
    report = body(laboratory, of_kind(made_since(laboratory, 0), "sr"))
    assert flags(report) == ("COMPLETE", "UNVERIFIED", "FINAL")
    assert any("not verified by a person" in each for each in comments(report))
    assert "VerifyingObserverSequence" not in report


def test_a_name_that_dicom_cannot_write_is_told_and_nothing_is_signed(laboratory: ArchiveLaboratory) -> None:
    case = laboratory.analyse("one")
    laboratory.work().report(case, "w")
    before = laboratory.messages()
    with pytest.raises(ReviewRefused, match=r"objects cannot be made: VerifyingObserverName"):
        laboratory.desk().sign(case.case_id, replace(ANNA, family="Prüfer^Dr"))
    assert laboratory.messages() == before
    with laboratory.database.reading() as work:
        assert len(work.reports.of_case(case.case_id)) == 1


def test_objects_of_a_version_that_another_overtook_are_not_queued(
    laboratory: ArchiveLaboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory.policy = ReleasePolicy.HOLD
    case = laboratory.analyse("one")
    laboratory.work().report(case, "w")
    prepare, looks = Archiving.prepare, []

    def meddled(self: Archiving, *given: Any) -> Prepared:
        looks.append(given[-1].revision)
        made = prepare(self, *given)
        if len(looks) == 1:  # meanwhile somebody else signs
            laboratory.desk().sign(case.case_id, replace(ANNA, login="ben"), comment="First.")
        return made

    monkeypatch.setattr(Archiving, "prepare", meddled)
    report = laboratory.desk().sign(case.case_id, ANNA, comment="Second.")
    assert looks == [1, 1, 2], "made for the first version, made by the other, made anew for the second"
    assert (report.status.value, report.revision) == ("C", 2)
    told = [message.revision for message in laboratory.messages() if object_of(message).kind == "sr"]
    assert told == [1, 2]


def test_an_archive_gets_every_version_in_order(laboratory: ArchiveLaboratory) -> None:
    case = laboratory.analyse("one")
    laboratory.work().report(case, "w")
    laboratory.desk().sign(case.case_id, ANNA)
    laboratory.desk().withdraw(case.case_id, ANNA, "The tubes were swapped.")
    received: list[tuple[str, bytes]] = []
    with archive(received, []) as port:
        sender = laboratory.sender(scu(port))
        sender.drain()
        sender.close()
    messages = laboratory.messages()
    assert {message.state for message in messages} == {MessageState.DELIVERED}
    assert [uid for uid, _ in received] == [message.part for message in messages]
    assert kinds(messages) == ["image", "ann", "sr", "ann", "sr", "ko"]
    with laboratory.database.reading() as work:
        told = as_text(lineage_rows(work, case.case_id))
        (field,) = work.fields.of_case(case.case_id)
    assert [(row["version"], row["status"], row["object"], row["source hash"], row["answer"]) for row in told] == [
        *((1, "P", kind, field.sha256, "0x0000") for kind in ("image", "ann", "sr")),
        *((2, "F", kind, field.sha256, "0x0000") for kind in ("ann", "sr")),
        (3, "W", "ko", field.sha256, "0x0000"),
    ]
