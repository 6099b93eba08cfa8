"""Parts of the running service that die or are interrupted: the model, the Prefect server, a run that a person cancels."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from db.states import CaseState
from tests.running import Prefect, RunningService, ThirdPartyLis, audit_is_intact, case_files, manifest
from tests.support import free_port, wait_for

FIELDS = 8


@pytest.fixture(scope="module")
def lis() -> Iterator[ThirdPartyLis]:
    with ThirdPartyLis(free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, lis: ThirdPartyLis) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("service"), lis.port, field_seconds=0.25) as running:
        running.start()
        yield running


def child(service: RunningService, what: str) -> int:
    """The process of the service whose command line names `what`."""
    (found,) = [pid for pid in service.processes() if what in Path(f"/proc/{pid}/cmdline").read_text()]
    return found


def drop_and_wait_until_analysing(service: RunningService, accession: str, seed: int, fields: int = FIELDS) -> None:
    service.drop(accession, case_files(seed, fields), manifest(f"P{seed}", fields))
    wait_for(
        lambda: (
            service.case_of(accession)
            and service.read(lambda work: work.cases.get(service.id_of(accession))).fields_analysed >= 1
        ),
        40,
        what="the first analysed field",
    )


def test_a_run_that_is_cancelled_stays_cancelled_until_it_is_retried(
    service: RunningService, lis: ThirdPartyLis
) -> None:
    before = service.delivered()
    drop_and_wait_until_analysing(service, "CANCELLED", 1, fields=40)  # five seconds
    prefect, case_id = Prefect(service.prefect_port), service.id_of("CANCELLED")
    prefect.set_state(prefect.run_of(case_id), "CANCELLING", "Cancelling")
    run = prefect.ended_run_of(case_id)
    assert run["state_type"] == "CANCELLED"
    case = service.read(lambda work: work.cases.get(case_id))
    assert (case.state, case.lease_owner) == (CaseState.COMPLETE, None)
    assert case.fields_accepted > 0
    assert "CANCELLED" not in lis.accessions()

    prefect.set_state(run, "SCHEDULED", "AwaitingRetry")
    service.wait_delivered(before + 1)
    assert prefect.ended_run_of(case_id, attempts=2)["state_name"] == "Delivered"


def test_the_model_killed_in_the_middle_is_begun_anew_and_the_case_goes_on(service: RunningService) -> None:
    before = service.delivered()
    drop_and_wait_until_analysing(service, "MODEL", 2)
    os.kill(child(service, "flows.model_child"), signal.SIGKILL)
    service.wait_delivered(before + 1)
    case = service.read(lambda work: work.cases.get(service.id_of("MODEL")))
    assert (case.fields_analysed, case.fields_quarantined) == (FIELDS, 0)


def test_the_prefect_server_killed_in_the_middle_is_begun_anew_and_the_case_is_delivered(
    service: RunningService,
) -> None:
    before = service.delivered()
    drop_and_wait_until_analysing(service, "PREFECT", 3)
    old = child(service, "flows.prefect_server")
    os.kill(old, signal.SIGKILL)
    service.wait_delivered(before + 1, 120)
    wait_for(lambda: _answers(service.prefect_port), 60, what="the new Prefect server", every_s=0.2)
    assert child(service, "flows.prefect_server") != old
    assert Prefect(service.prefect_port).ended_run_of(service.id_of("PREFECT"))["state_type"] == "COMPLETED"
    service.drop("AFTERWARDS", case_files(4, 1), manifest("P4", 1))
    service.wait_delivered(before + 2, 90)
    assert audit_is_intact(service)


def test_stopped_in_the_middle_it_is_quick_and_the_next_start_goes_on(service: RunningService) -> None:
    before = service.delivered()
    drop_and_wait_until_analysing(service, "STOPPED", 5)
    assert service.stop() < 10
    assert service.processes() == []
    case = service.read(lambda work: work.cases.get(service.id_of("STOPPED")))
    assert (case.state, case.lease_owner, case.attempts) == (CaseState.COMPLETE, None, 0)
    service.start()
    service.wait_delivered(before + 1)
    run = Prefect(service.prefect_port).ended_run_of(service.id_of("STOPPED"))
    assert run["state_name"] == "Delivered"


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
