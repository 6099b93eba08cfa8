"""From a real Orthanc in every way there is to an acknowledged message, and back: results in two archives, people's acts, lineage."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset, dcmread
from typer.testing import CliRunner

from db.states import CaseState, CommitmentState, FieldState, MessageState
from flows.cli.app import app
from integrations.dicom.evidence import DicomObject, ObjectKind, ObjectRef
from tests.dicom_objects import Kind, Specimen, write_study
from tests.dicom_peers import OUR_AE_TITLE, Modality, Orthanc
from tests.dicom_results import problems
from tests.dicom_stores import dimse_store, web_store
from tests.fakes import BUNDLE
from tests.running import PATIENCE_SECONDS, RunningService, ThirdPartyLis, audit_is_intact
from tests.signed_cases import SETTINGS
from tests.support import free_port, wait_for

# Each way brings another kind of image, so that each case can come by one way only.
WAYS = {
    "receiver": Kind.SECONDARY_CAPTURE,
    "wado": Kind.MICROSCOPIC,
    "c-get": Kind.SLIDE_MICROSCOPIC,
    "c-move": Kind.PHOTOGRAPHIC,
}
FIELDS = 2
RESULTS_AE_TITLE = "SPHERO_RES"  # Orthanc reports commitments to the one address that it knows of a title
KINDS = {
    "1.2.840.10008.5.1.4.1.1.91.1": "ann",
    "1.2.840.10008.5.1.4.1.1.88.34": "sr",
    "1.2.840.10008.5.1.4.1.1.66.7": "seg",
    "1.2.840.10008.5.1.4.1.1.88.59": "ko",
}
OF_PACS, OF_WEB = Counter(ann=FIELDS, sr=1), Counter(ann=FIELDS, seg=FIELDS, sr=1)


class Archive:
    """An Orthanc to which results go."""

    def __init__(self, server: Orthanc) -> None:
        self._server = server

    def results(self, accession: str) -> list[Dataset]:
        """Our objects that it has of a case."""
        found = self._server.rest("POST", "/tools/find", {"Level": "Study", "Query": {"AccessionNumber": accession}})
        files = [
            self._server.rest("GET", f"/instances/{one['ID']}/file")
            for study in found
            for one in self._server.rest("GET", f"/studies/{study}/instances")
        ]
        objects = [dcmread(io.BytesIO(file)) for file in files]
        return [each for each in objects if each.SOPClassUID in KINDS]

    def kinds(self, accession: str) -> Counter[str]:
        return Counter(KINDS[each.SOPClassUID] for each in self.results(accession))


@pytest.mark.timeout(600)  # the service begins in 10 s, or in a minute on a busy machine
def test_every_way_from_orthanc_to_an_acknowledged_message_and_back(tmp_path: Path) -> None:
    ours, listen, today = free_port(), free_port(), datetime.now(UTC).date()
    known = [Modality("sphero", OUR_AE_TITLE, ours), Modality("results", RESULTS_AE_TITLE, listen)]
    with Orthanc(known) as server, Orthanc() as other, ThirdPartyLis(free_port()) as lis:
        studies = {
            way: write_study(
                tmp_path / way,
                specimen=Specimen(accession=accession(way), patient_id=f"P-{way}", taken=today),
                objects=FIELDS,
                kind=kind,
            )
            for way, kind in WAYS.items()
        }
        stored = {way: server.put(*files) for way, files in studies.items()}
        more = settings(server, other, ours, listen)
        with RunningService(tmp_path, lis.port, more=more) as service:
            service.start()
            sent = server.send("sphero", stored["receiver"])
            assert (sent["InstancesCount"], sent["FailedInstancesCount"]) == (FIELDS, 0)
            wait_for(lambda: reported(lis) == expected(), PATIENCE_SECONDS, what="four cases at the LIS")
            wait_until_told(service, messages=len(WAYS) * (1 + OF_PACS.total() + OF_WEB.total()))
            check_what_is_kept(service, studies)
            archives = Archive(server), Archive(other)
            for way, files in studies.items():
                check_results(archives, accession(way), files, tmp_path)
                check_lineage(sphero(service, more, "case", "show", accession(way), "--json"), files, lis)
            check_peers(service)

            sphero(service, more, "case", "sign", accession("c-get"), "--by", "apruefer", "--comment", "Seen.")
            withdraw = ("case", "reject", accession("wado"), "--wrong-patient", "--reason", "The tubes were swapped.")
            sphero(service, more, *withdraw)
            wait_until_told(service, messages=len(WAYS) * 9 + 9 + 3)
            for archive in archives:
                check_signed(archive.results(accession("c-get")))
                check_withdrawn(archive.results(accession("wado")))
            assert audit_is_intact(service)


def settings(server: Orthanc, other: Orthanc, ours: int, listen: int) -> dict[str, str]:
    """Of stores to ask, of the receiver, and of archives: one by C-STORE with commitment, one by STOW-RS."""
    asked = {"poll_seconds": 1}
    stores = [
        web_store(server, name="wado", modalities=["GM"], **asked),
        dimse_store(server, name="c-get", modalities=["SM"], **asked),
        dimse_store(server, name="c-move", modalities=["XC"], retrieve="c-move", **asked),
    ]
    archives = [
        dimse_store(server, name="pacs", own_ae_title=RESULTS_AE_TITLE, commitment=True),
        web_store(other, name="web", objects=["ann", "sr", "seg"]),
    ]
    return {
        **SETTINGS,
        "SPHERO_DICOM__STORE": json.dumps(stores),
        "SPHERO_DICOM__ARCHIVE": json.dumps(archives),
        "SPHERO_DICOM__COMMITMENT__PORT": str(listen),
        "SPHERO_DICOM__COMMITMENT__AE_TITLE": RESULTS_AE_TITLE,
        "SPHERO_DICOM__RECEIVER__ENABLED": "true",
        "SPHERO_DICOM__RECEIVER__PORT": str(ours),
    }


def sphero(service: RunningService, more: dict[str, str], *words: str) -> str:
    """Run a command in this process, which has everything loaded; gives what it printed."""
    done = CliRunner().invoke(app, words, env={**more, "SPHERO_CONFIG": str(service.folder / "sphero.toml")})
    assert done.exit_code == 0, done.output
    return done.stdout


def accession(way: str) -> str:
    return f"BY-{way.upper()}"


def expected() -> list[str]:
    return sorted(f"{accession(way)}^LAB" for way in WAYS)


def reported(lis: ThirdPartyLis) -> list[str]:
    """The accession numbers of the messages that the LIS acknowledged, with their issuers."""
    return sorted(lis.accessions())


def wait_until_told(service: RunningService, messages: int) -> None:
    """Until so many messages are delivered, none is left, and what the archive has to confirm is confirmed."""
    service.wait_delivered(messages)

    def commitments() -> set[CommitmentState]:
        with service.database.reading() as work:
            found = work.objects.commitments_of([message.message_id for message in work.outbox.list()])
        return {each.state for each in found.values()}

    wait_for(lambda: commitments() == {CommitmentState.COMMITTED}, PATIENCE_SECONDS, what="commitments", every_s=0.2)
    with service.database.reading() as work:
        states = Counter(message.state for message in work.outbox.list())
    assert states == {MessageState.DELIVERED: messages}


def check_results(archives: tuple[Archive, Archive], name: str, sources: list[Path], folder: Path) -> None:
    """Both archives have the results, of the sources' study, without an error."""
    pacs, web = archives
    assert (pacs.kinds(name), web.kinds(name)) == (OF_PACS, OF_WEB)
    source = dcmread(sources[0], stop_before_pixels=True)
    uids = {str(dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in sources}
    for made in web.results(name):
        assert (made.StudyInstanceUID, made.StudyDate, made.StudyTime) == (
            source.StudyInstanceUID,
            source.StudyDate,
            source.StudyTime,
        )
        assert (made.PatientID, made.AccessionNumber) == (source.PatientID, name)
        assert any(uid in str(made) for uid in uids)
        assert problems(as_made(made), folder) == []
    first = {each.SOPInstanceUID for each in pacs.results(name)}
    assert first < {each.SOPInstanceUID for each in web.results(name)}, "one object, in both"


def as_made(read: Dataset) -> DicomObject:
    ref = ObjectRef(read.SOPClassUID, read.SOPInstanceUID, read.SeriesInstanceUID, read.StudyInstanceUID)
    buffer = io.BytesIO()
    read.save_as(buffer)
    kind = ObjectKind(KINDS[read.SOPClassUID])
    return DicomObject(kind, ref, str(read.file_meta.TransferSyntaxUID), buffer.getvalue())


def check_lineage(shown: str, sources: list[Path], lis: ThirdPartyLis) -> None:
    """From UID and hash of each source over the model's hash to UIDs of results, control id of the ORU and its answer."""
    rows: list[dict[str, Any]] = json.loads(shown)["lineage"]
    (message,) = [row for row in rows if row["object"] == "hl7"]
    uids = {str(dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in sources}
    assert {source["SOP UID"] for source in message["sources"]} == uids
    assert all(len(source["hash"]) == 64 for source in message["sources"])
    assert message["control id"] in lis.by_control_id()
    assert message["answer"] == "AA"
    assert {row["model hash"] for row in rows} == {BUNDLE.sha256}
    for row in rows:
        wanted = uids if row["object"] in ("hl7", "sr") else None
        told = {source["SOP UID"] for source in row["sources"]}
        assert told == wanted if wanted else (len(told) == 1 and told < uids)
        if row["object"] != "hl7":
            assert row["result SOP UID"].startswith("2.25.")
            by_store = row["to"] == "pacs"
            assert (row["answer"], row["committed"]) == (("0x0000", "committed") if by_store else ("HTTP 200", None))


def check_signed(objects: list[Dataset]) -> None:
    first, signed = sorted((each for each in objects if each.Modality == "SR"), key=lambda each: each.InstanceNumber)
    assert (first.VerificationFlag, first.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert (signed.VerificationFlag, signed.PreliminaryFlag) == ("VERIFIED", "FINAL")
    assert signed.VerifyingObserverSequence[0].VerifyingObserverName == "Pruefer^Anna"
    named = signed.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID


def check_withdrawn(objects: list[Dataset]) -> None:
    (note,) = [each for each in objects if each.Modality == "KO"]
    assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
    series = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    rejected = {item.ReferencedSOPInstanceUID for each in series for item in each.ReferencedSOPSequence}
    assert {each.SOPInstanceUID for each in objects} - {note.SOPInstanceUID} <= rejected


def check_peers(service: RunningService) -> None:
    peers = httpx.get(f"http://127.0.0.1:{service.http_port}/readyz", trust_env=False).json()["peers"]
    assert {name: peers[name] for name in ("store wado", "store c-get", "store c-move")} == {
        "store wado": None,
        "store c-get": None,
        "store c-move": None,
    }


def check_what_is_kept(service: RunningService, studies: dict[str, list[Path]]) -> None:
    """Every instance once, by its way, analysed in the case of its accession number."""
    brought = {"receiver": "receiver", "wado": "wado", "c-get": "c-get", "c-move": "receiver"}
    for way, files in studies.items():
        with service.database.reading() as work:
            case_id = work.identities.find(accession(way), "LAB")
            assert case_id is not None
            instances, fields = work.instances.of_case(case_id), work.fields.of_case(case_id)
            assert work.cases.get(case_id).state is CaseState.REPORTED
        uids = {str(dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files}
        assert {instance.sop_instance_uid for instance in instances} == uids
        assert [instance.source for instance in instances] == [brought[way]] * FIELDS
        assert [field.state for field in fields] == [FieldState.ANALYSED] * FIELDS
    assert len(service.read(lambda work: work.instances.list())) == FIELDS * len(WAYS)
