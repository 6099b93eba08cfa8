"""Parts of the running service that die or are interrupted: the model, the Prefect server, a run that a person cancels."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from db.states import CaseState, FieldState, InstanceState, MessageState
from tests.dicom_objects import Specimen
from tests.dicom_peers import run_dcmtk
from tests.dicom_receiving import write_small
from tests.fakes import CRASHES
from tests.order_examples import Lis
from tests.running import (
    PATIENCE_SECONDS,
    STOP_SECONDS,
    Prefect,
    RunningService,
    ThirdPartyLis,
    audit_is_intact,
    case_files,
    contents_below,
    manifest,
    picture,
    picture_of,
    picture_that_waits,
    send_loosely,
)
from tests.small_disks import KIB, small_disk
from tests.support import free_port, wait_for

pytestmark = pytest.mark.timeout(600)  # the service begins in 10 s, or in a minute on a busy machine

FIELDS = 4
AT_WORK = (CaseState.OPEN, CaseState.COMPLETE, CaseState.ANALYSED)
TOKENS = (b"kanari", b"1911-11-11", b"19111111")


@pytest.fixture(scope="module")
def lis() -> Iterator[ThirdPartyLis]:
    with ThirdPartyLis(free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def receiver_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def orders_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, lis: ThirdPartyLis, receiver_port: int, orders_port: int
) -> Iterator[RunningService]:
    more = {
        "SPHERO_DICOM__RECEIVER": json.dumps({"enabled": True, "port": receiver_port}),
        "SPHERO_DISK": json.dumps({"stop_below_mib": 1}),
        "SPHERO_HL7__LISTENER": json.dumps({"enabled": True, "port": orders_port}),
    }
    with RunningService(tmp_path_factory.mktemp("service"), lis.port, more=more) as running:
        running.start()
        yield running


def child(service: RunningService, what: str) -> int:
    """The process of the service whose command line names `what`."""
    (found,) = [pid for pid in service.processes() if what in Path(f"/proc/{pid}/cmdline").read_text()]
    return found


def measures(service: RunningService) -> dict[tuple[str, tuple[str, ...]], float]:
    """What Prometheus reads, by its own parser: name and values of the labels."""
    reply = httpx.get(f"http://127.0.0.1:{service.http_port}/metrics", trust_env=False, timeout=PATIENCE_SECONDS)
    families = text_string_to_metric_families(reply.raise_for_status().text)
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


def drop_and_wait_until_analysing(service: RunningService, accession: str, seed: int) -> None:
    """Drop a case, and wait until all of its fields are analysed but the last, which waits for the gate."""
    service.shut_gate()
    files = {**case_files(seed, FIELDS), f"field-{FIELDS - 1}.png": picture_that_waits(seed)}
    service.drop(accession, files, manifest(f"P{seed}", FIELDS))

    def analysed() -> int:
        case_id = service.case_of(accession)
        return service.read(lambda work: work.cases.get(case_id)).fields_analysed if case_id else 0

    wait_for(lambda: analysed() == FIELDS - 1, PATIENCE_SECONDS, what="the other fields")


def wait_until_nothing_is_open(service: RunningService) -> None:
    """Wait until all that came is in its case, every case has ended or waits for a person, and every message is delivered."""

    def is_settled() -> bool:
        with service.database.reading() as work:
            states = {message.state for message in work.outbox.list()}
            idle = not work.instances.waiting(limit=1) and not work.cases.list(AT_WORK)
            return idle and states <= {MessageState.DELIVERED}

    wait_for(is_settled, PATIENCE_SECONDS, what="the end of every case", every_s=0.1)


def test_a_run_that_is_cancelled_stays_cancelled_until_it_is_retried(
    service: RunningService, lis: ThirdPartyLis
) -> None:
    drop_and_wait_until_analysing(service, "CANCELLED", 1)
    prefect, case_id = Prefect(service.prefect_port), service.id_of("CANCELLED")
    prefect.set_state(prefect.run_of(case_id), "CANCELLING", "Cancelling")
    run = prefect.ended_run_of(case_id)
    assert run["state_type"] == "CANCELLED"
    case = service.read(lambda work: work.cases.get(case_id))
    assert (case.state, case.lease_owner) == (CaseState.COMPLETE, None)
    assert case.fields_accepted == 1
    assert "CANCELLED" not in lis.accessions()

    service.open_gate()
    prefect.set_state(run, "SCHEDULED", "AwaitingRetry")
    service.wait_told("CANCELLED")
    assert prefect.ended_run_of(case_id, attempts=2)["state_name"] == "Delivered"


def test_the_model_killed_in_the_middle_is_begun_anew_and_the_case_goes_on(service: RunningService) -> None:
    drop_and_wait_until_analysing(service, "MODEL", 2)
    os.kill(child(service, "flows.model_child"), signal.SIGKILL)
    service.open_gate()
    service.wait_told("MODEL")
    case = service.read(lambda work: work.cases.get(service.id_of("MODEL")))
    assert (case.fields_analysed, case.fields_quarantined) == (FIELDS, 0)


def test_the_prefect_server_killed_in_the_middle_is_begun_anew_and_the_case_is_delivered(
    service: RunningService,
) -> None:
    drop_and_wait_until_analysing(service, "PREFECT", 3)
    old = child(service, "flows.prefect_server")
    os.kill(old, signal.SIGKILL)
    service.open_gate()
    service.wait_told("PREFECT")
    wait_for(lambda: _answers(service.prefect_port), PATIENCE_SECONDS, what="the new Prefect server", every_s=0.2)
    assert child(service, "flows.prefect_server") != old
    assert Prefect(service.prefect_port).ended_run_of(service.id_of("PREFECT"))["state_type"] == "COMPLETED"
    service.drop("AFTERWARDS", case_files(4, 1), manifest("P4", 1))
    service.wait_told("AFTERWARDS")
    assert audit_is_intact(service)


def test_the_dicom_receiver_killed_is_begun_anew_and_told_meanwhile(
    service: RunningService, receiver_port: int, tmp_path: Path
) -> None:
    def is_ready() -> bool:
        reply = httpx.get(f"http://127.0.0.1:{service.http_port}/readyz", trust_env=False)
        return reply.status_code == 200

    def sends(number: int) -> bool:
        arguments = ("-aec", "SPHERO", "127.0.0.1", receiver_port, write_small(tmp_path, number))
        return run_dcmtk("storescu", *arguments, check=False).returncode == 0

    assert f"DICOM SPHERO at 127.0.0.1:{receiver_port}" in service.said
    assert sends(1)
    old = child(service, "flows.receiver_child")
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: not is_ready(), PATIENCE_SECONDS, what="the end of the receiver in /readyz")
    wait_for(is_ready, PATIENCE_SECONDS, what="a new receiver", every_s=0.2)
    assert child(service, "flows.receiver_child") != old
    assert sends(2)
    wait_until_nothing_is_open(service)  # what came by DICOM is measured with nobody else's
    assert len(service.read(lambda work: work.instances.list())) == 2
    assert measures(service)["sphero_part_restarts_total", ("dicom receiver",)] == 1


def test_a_running_service_is_measured_and_its_parts_say_what_is_wrong(service: RunningService) -> None:
    told = measures(service)
    sent = told.get(("sphero_message_attempts_total", ("lis", "delivered")), 0)
    assert told["sphero_part_ready", ("folder",)] == 1
    service.drop("MEASURED", case_files(9, 2), manifest("P9", 2))
    service.wait_told("MEASURED")
    now = measures(service)
    assert now["sphero_message_attempts_total", ("lis", "delivered")] == sent + 1
    assert now["sphero_field_model_seconds_count", ()] == told["sphero_field_model_seconds_count", ()] + 2
    assert now["sphero_ack_seconds_count", ("lis",)] >= 1
    assert {name for name, _ in now} >= {
        "sphero_connections",
        "sphero_disk_free_bytes",
        "process_resident_memory_bytes",
    }

    away = service.incoming.rename(service.incoming.with_name("away"))
    reply = httpx.get(f"http://127.0.0.1:{service.http_port}/readyz", trust_env=False, timeout=PATIENCE_SECONDS)
    away.rename(service.incoming)
    assert reply.status_code == 503
    assert "cannot be listed (No such file or directory)" in reply.json()["parts"]["folder"]
    assert httpx.get(f"http://127.0.0.1:{service.http_port}/healthz", trust_env=False).json() == {"status": "ok"}


def test_without_room_nothing_is_taken_in_and_it_goes_on_by_itself(
    service: RunningService, receiver_port: int, tmp_path: Path
) -> None:
    folder = service.data / "quarantine"
    with small_disk(folder, 512 * KIB):
        wait_for(lambda: measures(service)["sphero_intake_stopped", ()] == 1, PATIENCE_SECONDS, what="the stop")
        dropped = service.drop("NOROOM", case_files(12, 1), manifest("P12", 1))
        sent = run_dcmtk(
            "storescu", "-v", "-aec", "SPHERO", "127.0.0.1", receiver_port, write_small(tmp_path, 12), check=False
        )
        assert "OutOfResources" in sent.stdout + sent.stderr
        reply = httpx.get(f"http://127.0.0.1:{service.http_port}/readyz", trust_env=False, timeout=PATIENCE_SECONDS)
        assert (reply.status_code, "free for: quarantine" in reply.json()["parts"]["disk"]) == (503, True)
        assert len(list(dropped.iterdir())) == 2
        assert service.case_of("NOROOM") is None
    wait_for(lambda: "intake goes on" in service.said, PATIENCE_SECONDS, what="the end of the stop")
    service.wait_told("NOROOM")
    told = [line for line in service.said.splitlines() if "nothing is taken in" in line]
    assert len(told) == 1, told


def test_what_goes_wrong_tells_no_personal_data(
    service: RunningService, receiver_port: int, orders_port: int, tmp_path: Path
) -> None:
    """Every kind of failure at once, each with names that are nowhere else; then all that is kept for others to see is searched."""
    person = {
        "id": "KanariId",
        "issuer": "HOSP",
        "family": "KanariFamily",
        "given": "KanariGiven",
        "birth_date": "1911-11-11",
    }
    told = {"patient": person, "placer_order": "KanariPlacer", "filler_order": "KanariFiller"}
    good = picture(700, suffix=".jpg", size=(300, 400))
    wrong = {
        "KanariFile-0.jpg": good,
        "KanariFile-1.jpg": good[: len(good) // 2],
        "KanariFile-2.txt": b"KanariContent",
        "KanariFile-3.tif": b"II*\0KanariContent",
        "KanariFile-4.png": picture_of(CRASHES, 7),
    }
    service.drop("KanariAccession", wrong, {**told, "expected_fields": len(wrong)})
    service.drop("KanariBroken", {"KanariFile.png": picture(701), "case.json": b'{"patient": {"id": "KanariManifest"'})
    service.drop("KanariDamaged", {"KanariFile.dcm": b"\0" * 128 + b"DICMKanariContent"}, told)
    lis = Lis(pid="PID|1||KanariId^^^HOSP^MR||KanariFamily^KanariGiven||19111111|F")
    orders = (
        lis.orm("KanariOrdered"),
        lis.orm("KanariOther", control_id="C2").replace(b"|NW|", b"|KanariControl|"),
        lis.update("PID|KanariPid", control_id="C3"),
    )
    send_loosely(orders_port, tmp_path / "orders.hl7", *orders)
    specimen = Specimen(accession="KanariDicom", patient_id="KanariPatient", family_name="KanariName^Given")
    for grey in (10, 20):  # the second under the same UID: a conflict
        file = write_small(tmp_path, 77, grey=grey, specimen=specimen)
        run_dcmtk("storescu", "-aec", "SPHERO", "127.0.0.1", receiver_port, file, check=False)
    service.wait_told("KanariAccession")
    service.wait_told("KanariDamaged")  # says that there is no result: nothing of it could be read
    case_id = service.id_of("KanariAccession")
    aside = service.read(lambda work: work.fields.of_case(case_id, FieldState.QUARANTINED))
    assert any("failed twice" in field.reason for field in aside)
    wait_for(lambda: service.read(lambda work: work.instances.list(InstanceState.CONFLICT)), PATIENCE_SECONDS)
    wait_for(lambda: service.read(lambda work: work.inbound.list()), PATIENCE_SECONDS)
    Prefect(service.prefect_port).ended_run_of(case_id)
    wait_until_nothing_is_open(service)

    def says(path: str) -> bytes:
        return httpx.get(
            f"http://127.0.0.1:{service.http_port}{path}", trust_env=False, timeout=PATIENCE_SECONDS
        ).content

    seen = contents_below([service.data / place for place in ("prefect", "logs", "pictures")])
    seen |= {Path(path): says(path) for path in ("/metrics", "/readyz")}
    seen[service.output] = service.output.read_bytes()
    for quarantined in (service.data / "quarantine").rglob("reason.txt"):
        seen[quarantined] = quarantined.read_bytes()
    audit = service.read(lambda work: work.audit.list(limit=100_000))
    seen[Path("audit")] = "\n".join(event.detail for event in audit).encode()
    searched = {path: content.lower() for path, content in seen.items()}
    assert any(path.name == "prefect.db" for path in searched)
    assert [path for path, content in searched.items() if any(token in content for token in TOKENS)] == []
    named = [
        path
        for path in service.data.rglob("*")
        if "kanari" in path.name.lower() and service.incoming not in path.parents
    ]
    assert named == []


def test_stopped_in_the_middle_it_is_quick_and_the_next_start_goes_on(service: RunningService) -> None:
    drop_and_wait_until_analysing(service, "STOPPED", 5)
    assert service.stop() < STOP_SECONDS
    assert service.processes() == []
    case = service.read(lambda work: work.cases.get(service.id_of("STOPPED")))
    assert (case.state, case.lease_owner, case.attempts) == (CaseState.COMPLETE, None, 0)
    service.open_gate()
    service.start()
    service.wait_told("STOPPED")
    run = Prefect(service.prefect_port).ended_run_of(service.id_of("STOPPED"))
    assert run["state_name"] == "Delivered"


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
