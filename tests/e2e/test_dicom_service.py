"""Images of a real Orthanc come to the service in every way there is, and each case is acknowledged by another maker's LIS."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread

from db.states import CaseState, FieldState
from tests.dicom_objects import Kind, Specimen, write_study
from tests.dicom_peers import OUR_AE_TITLE, Modality, Orthanc
from tests.dicom_stores import dimse_store, web_store
from tests.running import PATIENCE_SECONDS, RunningService, ThirdPartyLis, audit_is_intact
from tests.support import free_port, wait_for

# Each way brings another kind of image, so that each case can come by one way only.
WAYS = {
    "receiver": Kind.SECONDARY_CAPTURE,
    "wado": Kind.MICROSCOPIC,
    "c-get": Kind.SLIDE_MICROSCOPIC,
    "c-move": Kind.PHOTOGRAPHIC,
}
FIELDS = 2


@pytest.mark.timeout(600)  # the service begins in 10 s, or in a minute on a busy machine
def test_every_way_from_orthanc_to_an_acknowledged_message(tmp_path: Path) -> None:
    ours, today = free_port(), datetime.now(UTC).date()
    with Orthanc([Modality("sphero", OUR_AE_TITLE, ours)]) as server, ThirdPartyLis(free_port()) as lis:
        studies = {
            way: write_study(
                tmp_path / way,
                specimen=Specimen(accession=f"BY-{way.upper()}", patient_id=f"P-{way}", taken=today),
                objects=FIELDS,
                kind=kind,
            )
            for way, kind in WAYS.items()
        }
        stored = {way: server.put(*files) for way, files in studies.items()}
        asked = {"poll_seconds": 1}
        stores = [
            web_store(server, name="wado", modalities=["GM"], **asked),
            dimse_store(server, name="c-get", modalities=["SM"], **asked),
            dimse_store(server, name="c-move", modalities=["XC"], retrieve="c-move", **asked),
        ]
        more = {
            "SPHERO_DICOM__STORE": json.dumps(stores),
            "SPHERO_DICOM__RECEIVER__ENABLED": "true",
            "SPHERO_DICOM__RECEIVER__PORT": str(ours),
        }
        with RunningService(tmp_path, lis.port, more=more) as service:
            service.start()
            sent = server.send("sphero", stored["receiver"])
            assert (sent["InstancesCount"], sent["FailedInstancesCount"]) == (FIELDS, 0)
            wait_for(lambda: reported(lis) == expected(), PATIENCE_SECONDS, what="four cases at the LIS")
            service.wait_delivered(len(lis.by_control_id()))
            check_what_is_kept(service, studies)
            peers = httpx.get(f"http://127.0.0.1:{service.http_port}/readyz", trust_env=False).json()["peers"]
            assert peers == {"store wado": None, "store c-get": None, "store c-move": None}
            assert audit_is_intact(service)


def expected() -> list[str]:
    return sorted(f"BY-{way.upper()}^LAB" for way in WAYS)


def reported(lis: ThirdPartyLis) -> list[str]:
    """The accession numbers of the messages that the LIS acknowledged, with their issuers."""
    return sorted(lis.accessions())


def check_what_is_kept(service: RunningService, studies: dict[str, list[Path]]) -> None:
    """Every instance once, by its way, analysed in the case of its accession number."""
    brought = {"receiver": "receiver", "wado": "wado", "c-get": "c-get", "c-move": "receiver"}
    for way, files in studies.items():
        with service.database.reading() as work:
            case_id = work.identities.find(f"BY-{way.upper()}", "LAB")
            assert case_id is not None
            instances, fields = work.instances.of_case(case_id), work.fields.of_case(case_id)
            assert work.cases.get(case_id).state is CaseState.REPORTED
        uids = {str(dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files}
        assert {instance.sop_instance_uid for instance in instances} == uids
        assert [instance.source for instance in instances] == [brought[way]] * FIELDS
        assert [field.state for field in fields] == [FieldState.ANALYSED] * FIELDS
    assert len(service.read(lambda work: work.instances.list())) == FIELDS * len(WAYS)
