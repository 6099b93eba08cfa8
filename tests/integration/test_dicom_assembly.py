"""DICOM instances, from the network and from the watched folder, become fields of the right case; without Prefect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from db.header_views import FieldSourceView
from db.instance_views import InstanceOutcome
from db.session import Database
from db.states import CaseState, HoldReason, InstanceState
from flows.dicom_assembly import Assembly
from flows.image_tasks import image_task
from flows.scanner_settings import ScannerSettings
from flows.scanners import Scanners
from integrations.dicom.part10 import split_file
from integrations.dicom.sandbox import Sandbox
from sphero_core.image import read_image
from tests.dicom_encodings import JPEG_LS, compressed, data_set, smear, written
from tests.folder_site import QUIET, Site
from tests.running import manifest, picture


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as one:
        yield one


@pytest.fixture
def site(tmp_path: Path, sandbox: Sandbox) -> Site:
    return Site(tmp_path, sandbox=sandbox)


def send(site: Site, one: FileDataset) -> InstanceOutcome:
    """What the receiver does with an instance."""
    return site.desk.accept(split_file(written(one)), source="receiver").outcome


def issuer(namespace: str) -> Sequence:
    one = Dataset()
    one.LocalNamespaceEntityID = namespace
    return Sequence([one])


def sources(site: Site, case_id: str) -> tuple[FieldSourceView, ...]:
    with site.database.reading() as work:
        return work.headers.of_case(case_id)


def only_case(site: Site) -> Any:
    with site.database.reading() as work:
        (case,) = work.cases.list()
    return case


def states(site: Site) -> list[InstanceState]:
    with site.database.reading() as work:
        return [one.state for one in reversed(work.instances.list())]


def test_an_instance_becomes_fields_of_its_case_which_completes_when_quiet(
    tmp_path: Path, sandbox: Sandbox, database_url: str
) -> None:
    site = Site(tmp_path, url=database_url, sandbox=sandbox)
    both = np.stack([smear(), smear()[::-1]])
    spacing = {"PixelSpacing": [0.0001, 0.00012]}
    sent = compressed(both, JPEG_LS, IssuerOfAccessionNumberSequence=issuer("LAB"), **spacing)
    assert send(site, sent) is InstanceOutcome.NEW
    (taken,), completed = site.look()
    assert (taken.fields, completed) == (2, ())
    site.wait(QUIET)
    assert site.look() == ([], (taken.case_id,))
    case = only_case(site)
    assert case.state is CaseState.COMPLETE
    assert (case.acquisition.um_per_pixel, case.acquisition.pixel_aspect) == (pytest.approx(0.12), pytest.approx(1.2))
    with site.database.reading() as work:
        identity = work.identities.get(case.case_id)
        fields = work.fields.of_case(case.case_id)
    assert (identity.accession, identity.accession_issuer) == ("26-1", "LAB")
    assert (identity.patient_id, identity.patient_issuer, identity.family) == ("P1", "HOSP", "Probe")
    for field, pixels in zip(fields, both, strict=True):
        task = image_task(site.root / "store", case, field, 1.0)
        assert (read_image(task.path, frame=task.frame).pixels == pixels).all()
    told = sources(site, case.case_id)
    assert [(one.sop_instance_uid, one.frame) for one in told] == [(sent.SOPInstanceUID, 0), (sent.SOPInstanceUID, 1)]
    assert (told[0].header.rows, told[0].header.columns, told[0].header.study_uid) == (64, 96, sent.StudyInstanceUID)
    assert not [word for word in ("26-1", "LAB", "P1", "HOSP", "Probe") if word in repr((taken, told, identity))]


def test_a_repeated_instance_adds_nothing_and_a_late_one_opens_the_case_again(site: Site) -> None:
    first = data_set(smear())
    send(site, first)
    site.look()
    site.wait(QUIET)
    site.look()
    assert send(site, first) is InstanceOutcome.REPEATED
    assert site.look()[0] == []
    assert only_case(site).state is CaseState.COMPLETE
    send(site, data_set(smear(seed=6)))
    site.look()
    assert (only_case(site).state, only_case(site).fields) == (CaseState.OPEN, 2)
    site.wait(QUIET)
    site.look()
    assert only_case(site).state is CaseState.COMPLETE


@pytest.mark.parametrize("order", ["before", "after"])
def test_other_bytes_under_a_uid_hold_the_case(site: Site, order: str) -> None:
    first = data_set(smear())
    send(site, first)
    if order == "after":
        site.look()
    other = data_set(smear(seed=6), SOPInstanceUID=first.SOPInstanceUID)
    assert send(site, other) is InstanceOutcome.CONFLICT
    site.look()
    assert (only_case(site).hold_reasons, only_case(site).fields) == ((HoldReason.CONFLICT,), 1)


def test_the_issuer_is_part_of_the_accession_number(site: Site) -> None:
    for name in ("LAB", "OTHER"):
        send(site, data_set(smear(seed=len(name)), IssuerOfAccessionNumberSequence=issuer(name)))
    site.look()
    with site.database.reading() as work:
        assert len(work.cases.list()) == 2


def test_without_accession_number_the_specimen_names_the_case_and_only_an_order_lets_it_go(site: Site) -> None:
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "S-7", "1.2.3.7"
    specimen.IssuerOfTheSpecimenIdentifierSequence = issuer("LAB")
    described = Sequence([specimen])
    for seed in (5, 6):
        send(site, data_set(smear(seed=seed), AccessionNumber=None, SpecimenDescriptionSequence=described))
    site.look()
    with site.database.reading() as work:
        case_id = work.identities.find("S-7", "LAB")
    assert case_id == only_case(site).case_id
    site.wait(QUIET)
    site.look()
    assert only_case(site).hold_reasons == (HoldReason.UNMATCHED_ORDER,)
    with site.database.transaction("somebody") as work:
        work.matching.link(case_id or "", None)
    site.wait(QUIET)
    site.look()
    assert only_case(site).state is CaseState.COMPLETE


def test_without_any_number_the_study_keeps_instances_together(
    tmp_path: Path, sandbox: Sandbox, database_url: str
) -> None:
    site = Site(tmp_path, url=database_url, sandbox=sandbox)
    send(site, data_set(smear()))
    site.look()
    send(site, data_set(smear(seed=6), AccessionNumber=None))
    site.look()
    assert only_case(site).fields == 2, "it joins the case that has images of its study"
    send(site, data_set(smear(seed=7), AccessionNumber=None, StudyInstanceUID="1.2.3.4"))
    site.look()
    with site.database.reading() as work:
        assert work.identities.find("1.2.3.4") is not None


def test_instances_of_two_patients_under_one_number_hold_the_case(site: Site) -> None:
    send(site, data_set(smear()))
    send(site, data_set(smear(seed=6), PatientID="P2"))
    site.look()
    site.wait(QUIET)
    site.look()
    assert only_case(site).hold_reasons == (HoldReason.CONFLICT,)


def test_what_cannot_be_read_is_refused_and_told_to_its_case(site: Site) -> None:
    cut = compressed(smear(), JPEG_LS)
    cut.PixelData = cut.PixelData[:-40] + bytes(40)
    foreign = data_set(smear(), SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    send(site, cut)
    send(site, foreign)
    first, second = site.look()[0]
    assert states(site) == [InstanceState.REFUSED] * 2
    assert (first.case_id, second.case_id) == (only_case(site).case_id, None)
    assert "class 1.2.840.10008.5.1.4.1.1.2 are not read" in second.refused[0]
    assert only_case(site).files_quarantined == 1
    assert site.look()[0] == []
    assert not list((site.root / "store" / ".partial").iterdir())


@pytest.mark.parametrize("at", ["decoded", "committed"])
def test_what_was_interrupted_is_taken_up_again(site: Site, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    send(site, data_set(smear()))

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if at == "decoded":
            patch.setattr(Database, "transaction", dies)
        else:
            patch.setattr("db.session.Session.commit", dies)
        (waiting,) = site.assembly.waiting()
        with pytest.raises(KeyboardInterrupt):
            site.assembly.assemble(waiting)
    (taken,), _ = site.look()
    assert (taken.fields, only_case(site).fields, states(site)) == (1, 1, [InstanceState.ASSEMBLED])


# ------------------------------------------------------------------------------------------------------- watched folder
def test_the_folder_takes_dicom_beside_other_images(site: Site) -> None:
    both = np.stack([smear(), smear()[::-1]])
    site.put("26-1", "without-suffix", written(compressed(both, JPEG_LS)))
    site.put("26-1", "field.png", picture(1))
    site.tell("26-1", manifest("P1", 3))
    (taken,), (completed,) = site.look()
    assert (taken.fields, taken.case_id) == (3, completed)
    assert sorted(path.name for path in (site.root / "incoming" / ".done" / "26-1").iterdir()) == [
        "case.json",
        "field.png",
        "without-suffix",
    ]
    assert len(sources(site, completed)) == 2


def test_dicom_in_a_folder_names_the_patient(site: Site) -> None:
    site.put("26-1", "1.dcm", written(data_set(smear())))
    site.look()
    site.wait(QUIET)
    assert len(site.look()[1]) == 1


@pytest.mark.parametrize("elements", [{"AccessionNumber": "26-2"}, {"PatientID": "P2"}])
def test_dicom_that_contradicts_its_folder_holds_the_case(site: Site, elements: dict[str, str]) -> None:
    site.put("26-1", "1.dcm", written(data_set(smear(), **elements)))
    site.tell("26-1", {"patient": {"id": "P1", "issuer": "HOSP"}})
    site.look()
    site.wait(QUIET)
    site.look()
    assert site.case("26-1").hold_reasons == (HoldReason.CONFLICT,)


def test_a_manifest_may_say_which_accession_number_a_folder_stands_for(site: Site) -> None:
    site.put("slide 7", "1.dcm", written(data_set(smear())))
    site.tell("slide 7", manifest("P1", 1, accession="26-1"))
    assert len(site.look()[1]) == 1


def test_other_bytes_under_a_uid_in_a_folder_are_put_aside_and_hold_the_case(site: Site) -> None:
    first = data_set(smear())
    site.put("26-1", "1.dcm", written(first))
    site.look()
    site.put("26-1", "2.dcm", written(data_set(smear(seed=6), SOPInstanceUID=first.SOPInstanceUID)))
    (taken,), _ = site.look()
    assert "same SOP Instance UID" in taken.refused[0]
    assert (site.case("26-1").hold_reasons, site.case("26-1").fields) == ((HoldReason.CONFLICT,), 1)


def test_the_same_instance_from_network_and_folder_is_one_field(site: Site) -> None:
    one = data_set(smear())
    send(site, one)
    site.look()
    site.put("26-1", "1.dcm", written(one))
    (taken,), _ = site.look()
    assert (taken.fields, taken.known, only_case(site).fields) == (0, 1, 1)


def test_refused_dicom_of_a_folder_is_kept_with_its_reason(site: Site) -> None:
    content = written(data_set(smear()))[:-100]
    site.put("26-1", "1.dcm", content)
    (taken,), _ = site.look()
    assert "cut off" in taken.refused[0]
    (folder,) = [path for path in (site.root / "quarantine").iterdir() if path.name != ".partial"]
    assert (folder / "original").read_bytes() == content
    assert "cut off" in (folder / "reason.txt").read_text()
    assert site.case("26-1").files_quarantined == 1


def test_an_instance_of_the_folder_waits_for_the_folder(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the row and the fields: the folder's name, not the instance's own number, finds the case."""
    site.put("26-1", "1.dcm", written(data_set(smear(), AccessionNumber="other")))

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Assembly, "assemble_under", dies)
        with pytest.raises(KeyboardInterrupt):
            site.look()
    assert site.assembly.waiting() == ()
    assert site.look()[0][0].fields == 1
    assert only_case(site).case_id == site.case("26-1").case_id


def test_what_the_site_knows_of_a_scanner_goes_before_what_its_images_say(tmp_path: Path, sandbox: Sandbox) -> None:
    scanners = Scanners([ScannerSettings(manufacturer="acme", um_per_pixel=0.2, stain="MGG")])
    site = Site(tmp_path, sandbox=sandbox, scanners=scanners)
    send(site, data_set(smear(), Manufacturer="ACME", PixelSpacing=[0.0001, 0.0001]))
    site.look()
    site.wait(QUIET)
    site.look()
    taken = only_case(site).acquisition
    assert (taken.um_per_pixel, taken.pixel_aspect, taken.stain) == (0.2, 1.0, "MGG")


def test_plain_images_of_the_folder_get_the_scale_of_its_scanner_unless_they_come_with_another(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    scanners = Scanners([ScannerSettings(folder=True, um_per_pixel=0.12, pixel_aspect=1.3333)])
    site = Site(tmp_path, sandbox=sandbox, scanners=scanners)
    site.put("26-1", "a.png", picture(1))
    site.tell("26-1", manifest("26-1", um_per_pixel=0.15))
    site.look()
    site.wait(QUIET)
    site.look()
    taken = only_case(site).acquisition
    assert (taken.um_per_pixel, taken.pixel_aspect, taken.stain) == (0.15, 1.3333, None)
