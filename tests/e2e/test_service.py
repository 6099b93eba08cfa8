"""The service as a whole: real Prefect server, real database, a LIS of another maker; only the detector is a fake."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import hl7
import httpx
import numpy as np
import pytest

from db.states import CaseState, FieldState, HoldReason
from tests.dicom_encodings import JPEG_LS, compressed, smear, written
from tests.running import (
    PATIENCE_SECONDS,
    STABLE_SECONDS,
    STOP_SECONDS,
    Prefect,
    RunningService,
    ThirdPartyLis,
    audit_is_intact,
    case_files,
    contents_below,
    manifest,
    picture,
)
from tests.support import free_port, wait_for
from tests.unit.image_files import png_of_claimed_size

pytestmark = pytest.mark.timeout(600)  # the service begins in 10 s, or in a minute on a busy machine

FIELDS = 3


@pytest.fixture(scope="module")
def lis() -> Iterator[ThirdPartyLis]:
    with ThirdPartyLis(free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, lis: ThirdPartyLis) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("service"), lis.port) as running:
        running.start()
        yield running


def test_five_cases_are_delivered_and_each_has_its_run(service: RunningService, lis: ThirdPartyLis) -> None:
    accessions = [f"FIVE-{number}" for number in range(5)]
    before = service.delivered()
    for number, accession in enumerate(accessions):
        service.drop(accession, case_files(number, FIELDS), manifest(f"P{number}", FIELDS))
    service.wait_delivered(before + 5)

    assert sorted(name for name in lis.accessions() if name in accessions) == accessions
    assert all(len(repeats) == 1 for repeats in lis.by_control_id().values())
    prefect = Prefect(service.prefect_port)
    for accession in accessions:
        run = prefect.ended_run_of(service.id_of(accession))
        assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Delivered")
        assert sorted(task["name"] for task in prefect.tasks(run, 4)) == [
            "analyse 3 fields",
            "deliver result",
            "read fields",
            "record result",
        ]
        kinds = sorted(artifact["type"] for artifact in prefect.artifacts(run))
        assert kinds == [
            "image",
            "image",
            "image",
            "markdown",
            "markdown",
            "table",
        ]  # overlays; links and gallery; counts
    assert audit_is_intact(service)


def test_pictures_are_served_by_ids_that_cannot_be_guessed(service: RunningService) -> None:
    before = service.delivered()
    service.drop("PICTURES", case_files(20, 1), manifest("P20", 1))
    service.wait_delivered(before + 1)
    prefect = Prefect(service.prefect_port)
    run = prefect.ended_run_of(service.id_of("PICTURES"))
    (image,) = [artifact for artifact in prefect.artifacts(run) if artifact["type"] == "image"]
    shown = httpx.get(image["data"], trust_env=False, timeout=PATIENCE_SECONDS)
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    assert shown.content.startswith(b"\xff\xd8")
    assert httpx.get(image["data"][:-1] + "x", trust_env=False).status_code == 404
    said = httpx.Response(503)

    def is_ready() -> bool:
        nonlocal said
        said = httpx.get(f"http://127.0.0.1:{service.http_port}/readyz", trust_env=False, timeout=PATIENCE_SECONDS)
        return said.status_code == 200

    wait_for(is_ready, PATIENCE_SECONDS, what="readiness", every_s=0.2)
    assert said.json()["ready"]


def test_hostile_files_are_put_aside_with_a_reason_and_the_rest_goes_on(service: RunningService) -> None:
    before = service.delivered()
    good = picture(300, suffix=".jpg", size=(600, 800))
    hostile = {
        "fine.jpg": good,
        "truncated.jpg": picture(301, suffix=".jpg", size=(600, 800))[: len(good) // 2],
        "text.jpg": b"this is no picture\n",
        "empty.png": b"",
        "huge.png": png_of_claimed_size(20_000, 20_000),
    }
    service.drop("HOSTILE", hostile, manifest("P30", 5))
    service.drop("BESIDE", case_files(31, 2), manifest("P31", 2))
    service.wait_delivered(before + 2)

    case_id = service.id_of("HOSTILE")
    files = service.read(lambda work: work.fields.quarantined_files(case_id))
    fields = service.read(lambda work: work.fields.of_case(case_id))
    assert len(files) == 3
    assert all(file.reason and (service.data / "quarantine" / file.stored_name).is_dir() for file in files)
    assert sorted(field.state for field in fields) == [FieldState.ANALYSED, FieldState.QUARANTINED]
    (report,) = service.read(lambda work: work.reports.of_case(case_id))
    assert "4 files of the case could not be read and were put aside." in report.counts.limitations
    assert not (service.incoming / "HOSTILE" / "text.jpg").exists()


def test_a_case_with_no_usable_file_tells_the_lis_that_there_is_no_result(
    service: RunningService, lis: ThirdPartyLis
) -> None:
    before = service.delivered()
    service.drop("NOTHING", {"text.jpg": b"this is no picture\n", "empty.png": b""}, manifest("P35", 2))
    service.wait_delivered(before + 1)
    case_id = service.id_of("NOTHING")
    message = hl7.parse(lis.received[lis.accessions().index("NOTHING")].decode())
    assert {str(observation[11]) for observation in message.segments("OBX")} == {"X"}
    assert "every field was refused" in str(message.segments("NTE")[0][3])
    run = Prefect(service.prefect_port).ended_run_of(case_id)
    assert (run["state_type"], run["state_name"]) == ("FAILED", "NoResult")
    assert service.read(lambda work: work.cases.get(case_id)).state is CaseState.REPORTED


def test_a_file_that_is_still_written_is_waited_for(service: RunningService) -> None:
    before = service.delivered()
    content = picture(400)
    folder = service.incoming / "SLOW"
    folder.mkdir()
    growing = folder / "slow.png"
    growing.write_bytes(content[:100])
    (folder / "case.json").write_text('{"patient": {"id": "P40", "issuer": "HOSP"}, "expected_fields": 1}')
    writes, seen = [time.monotonic()], []
    for end in range(100, len(content), len(content) // 24):  # longer in all than a file must be still
        growing.write_bytes(content[:end])
        writes.append(time.monotonic())
        seen.append(service.case_of("SLOW"))
        time.sleep(0.05)  # the pace of the writer
    growing.write_bytes(content)
    writes.append(time.monotonic())
    if max(after - before for before, after in pairwise(writes)) >= STABLE_SECONDS:
        pytest.skip("this machine held the writer up for so long that the file was still")
    assert set(seen) == {None}
    service.wait_delivered(before + 1)
    (field,) = service.read(lambda work: work.fields.of_case(service.id_of("SLOW")))
    assert field.size_bytes == len(content)


def test_a_case_without_a_patient_is_held_until_a_manifest_names_one(service: RunningService) -> None:
    before = service.delivered()
    folder = service.drop("NOBODY", case_files(50, 1))
    wait_for(lambda: service.case_of("NOBODY"), PATIENCE_SECONDS, what="the case")
    case_id = service.id_of("NOBODY")
    held = wait_for(
        lambda: service.read(lambda work: work.cases.get(case_id)).hold_reasons, PATIENCE_SECONDS, what="the hold"
    )
    assert held == (HoldReason.NO_PATIENT,)
    folder.mkdir(exist_ok=True)
    (folder / "case.json").write_text('{"patient": {"id": "P50", "issuer": "HOSP"}}')
    service.wait_delivered(before + 1)


def test_a_late_field_makes_a_new_version(service: RunningService, lis: ThirdPartyLis) -> None:
    before = service.delivered()
    folder = service.drop("LATE", case_files(60, 1), manifest("P60", 1))
    service.wait_delivered(before + 1)
    folder.mkdir(exist_ok=True)
    (folder / "late.png").write_bytes(picture(61_000))
    service.wait_delivered(before + 2)
    first, second = (
        hl7.parse(message.decode())
        for message, accession in zip(lis.received, lis.accessions(), strict=True)
        if accession == "LATE"
    )
    evaluated = [int(str(message.segments("OBX")[3][5])) for message in (first, second)]
    assert evaluated[1] > evaluated[0]
    reports = service.read(lambda work: work.reports.of_case(service.id_of("LATE")))
    assert [report.revision for report in reports] == [1, 2]


def test_a_run_can_be_started_again_from_prefect_and_delivers_nothing_twice(
    service: RunningService, lis: ThirdPartyLis
) -> None:
    before = service.delivered()
    service.drop("AGAIN", case_files(70, 1), manifest("P70", 1))
    service.wait_delivered(before + 1)
    prefect, case_id = Prefect(service.prefect_port), service.id_of("AGAIN")
    run, received = prefect.ended_run_of(case_id), len(lis.received)
    prefect.set_state(run, "SCHEDULED", "AwaitingRetry")
    assert prefect.ended_run_of(case_id, attempts=2)["state_name"] == "Delivered"
    assert len(lis.received) == received


def test_no_personal_data_leaves_the_tables_meant_for_it(service: RunningService) -> None:
    before = service.delivered()
    canaries = [b"CanaryAccession", b"CanaryPatient", b"CanaryFamily", b"CanaryOrder", b"CanaryFile"]
    person = {"id": "CanaryPatient", "issuer": "HOSP", "family": "CanaryFamily"}
    files = {"CanaryFile-1.png": picture(80_000), "CanaryFile-2.jpg": b"no picture"}
    service.drop("CanaryAccession", files, {"patient": person, "placer_order": "CanaryOrder", "expected_fields": 2})
    service.wait_delivered(before + 1)
    prefect = Prefect(service.prefect_port)
    run = prefect.ended_run_of(service.id_of("CanaryAccession"))
    prefect.tasks(run, 4)

    places = ("prefect", "logs", "store", "quarantine", "pictures")
    contents = contents_below([service.data / place for place in places])
    assert any(path.name == "prefect.db" for path in contents)
    contents[service.output] = service.output.read_bytes()
    leaks = [(path.name, canary) for path, content in contents.items() for canary in canaries if canary in content]
    named = [
        path for path in contents for canary in canaries if canary.decode() in str(path.relative_to(service.folder))
    ]
    assert leaks == []
    assert named == []
    identity = service.read(lambda work: work.identities.get(service.id_of("CanaryAccession")))
    assert identity.family == "CanaryFamily"


def test_dicom_in_the_folder_is_delivered_and_its_names_stay_where_they_belong(
    service: RunningService, lis: ThirdPartyLis
) -> None:
    before = service.delivered()
    named = {"AccessionNumber": "DicomAccession", "PatientID": "DicomPatient", "PatientName": "DicomFamily^Given"}
    both = np.stack([smear(seed=41), smear(seed=42)])
    service.drop("DicomAccession", {"DicomFile": written(compressed(both, JPEG_LS, **named))})
    service.wait_delivered(before + 1)
    assert "DicomAccession" in lis.accessions()
    case_id = service.id_of("DicomAccession")
    Prefect(service.prefect_port).ended_run_of(case_id)
    fields = service.read(lambda work: work.fields.of_case(case_id))
    assert [field.state for field in fields] == [FieldState.ANALYSED] * 2
    assert service.read(lambda work: work.identities.get(case_id)).family == "DicomFamily"
    contents = contents_below([service.data / place for place in ("prefect", "logs", "quarantine", "pictures")])
    contents[service.output] = service.output.read_bytes()
    canaries = [b"DicomAccession", b"DicomPatient", b"DicomFamily", b"DicomFile"]
    assert [(path.name, canary) for path, content in contents.items() for canary in canaries if canary in content] == []
    assert [path for path in (service.data / "store").rglob("*") if "Dicom" in path.name] == []


def test_a_stop_is_quick_and_leaves_nothing_running(service: RunningService) -> None:
    """Runs last: the service is gone afterwards."""
    assert len(service.processes()) == 3
    assert service.stop() < STOP_SECONDS
    assert service.processes() == []
    assert service.read(lambda work: work.cases.list([CaseState.COMPLETE])) == ()
    assert list((service.data / "store" / ".partial").iterdir()) == []
