"""SIGKILL of the whole process group in the middle of five cases, then started again: nothing lost, repeats identical."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from db.states import CaseState, FieldState, MessageState
from db.views import CaseView, MessageView
from tests.running import (
    PATIENCE_SECONDS,
    Prefect,
    RunningService,
    ThirdPartyLis,
    audit_is_intact,
    case_files,
    manifest,
    picture_that_waits,
)
from tests.support import free_port, wait_for

pytestmark = pytest.mark.timeout(600)  # the service begins in 10 s, or in a minute on a busy machine

CASES = 5
FIELDS = 4

Moment = Callable[[RunningService, ThirdPartyLis], object]


def taking_files(service: RunningService, lis: ThirdPartyLis) -> object:
    return sum(case.fields for case in cases_of(service, "taking_files")) >= 3


def analysing(service: RunningService, lis: ThirdPartyLis) -> object:
    return sum(case.fields_analysed for case in cases_of(service, "analysing")) >= 3


def some_delivered(service: RunningService, lis: ThirdPartyLis) -> object:
    return len([name for name in lis.accessions() if name.startswith("some_delivered-")]) >= 2


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service, killed and started again by every test; at first its LIS is down."""
    with RunningService(tmp_path_factory.mktemp("service"), free_port(), field_seconds=0.1) as running:
        running.start()
        yield running


@pytest.fixture(scope="module")
def lis(service: RunningService) -> Iterator[ThirdPartyLis]:
    """From the first test that asks for it the LIS is up."""
    with ThirdPartyLis(service.lis_port) as running:
        yield running


def test_lis_down_at_the_start_and_up_later_gets_everything(
    service: RunningService, request: pytest.FixtureRequest
) -> None:
    drop_cases(service, "down")
    prefect = Prefect(service.prefect_port)

    def are_reported() -> bool:
        return [case.state for case in cases_of(service, "down")] == [CaseState.REPORTED] * CASES

    wait_for(are_reported, PATIENCE_SECONDS, what="the reports", every_s=0.1)
    # As long as a case's own run is under way it may deliver; what lies in the queue afterwards is another run's work.
    ended = [prefect.ended_run_of(case.case_id)["state_name"] for case in cases_of(service, "down")]
    assert ended == ["Waiting"] * CASES
    assert service.delivered() == 0
    lis = request.getfixturevalue("lis")
    check_everything_is_delivered(service, lis, "down")
    attempts = {message.attempts for message in messages_of(service, "down")}
    assert attempts == {1}, "a refused connection spends no attempt"
    (run,) = wait_for(
        lambda: [run for run in prefect.runs("deliver") if run["end_time"]],
        PATIENCE_SECONDS,
        what="the run that delivered",
        every_s=0.1,
    )
    assert run["state_type"] == "COMPLETED"
    assert [artifact["type"] for artifact in prefect.artifacts(run)] == ["table"]


@pytest.mark.parametrize("moment", [taking_files, analysing, some_delivered])
def test_killed_in_the_middle_every_case_is_delivered(
    service: RunningService, lis: ThirdPartyLis, moment: Moment
) -> None:
    name = moment.__name__
    service.shut_gate()
    drop_cases(service, name)
    wait_for(lambda: moment(service, lis), PATIENCE_SECONDS, what="the moment", every_s=0.005)
    service.kill()
    states = [message.state for message in messages_of(service, name)]
    assert len(states) < CASES, "killed too late: nothing was in the middle"
    service.open_gate()
    service.start()
    check_everything_is_delivered(service, lis, name)


def test_killed_while_sending_the_same_bytes_go_out_again(service: RunningService, lis: ThirdPartyLis) -> None:
    """Killed when the LIS has the first message and has not answered yet."""
    dead = threading.Event()

    def kill(_: bytes) -> None:
        lis.on_message = None
        service.kill()
        dead.set()

    lis.on_message = kill
    drop_cases(service, "sending")
    assert dead.wait(PATIENCE_SECONDS)
    service.start()
    check_everything_is_delivered(service, lis, "sending")
    repeats = [lis.by_control_id()[message.control_id] for message in messages_of(service, "sending")]
    assert sorted(map(len, repeats)) == [1] * (CASES - 1) + [2]


def drop_cases(service: RunningService, name: str) -> None:
    """Drop the cases of a test; the last field of the last one waits for the gate."""
    known = len(service.read(lambda work: work.cases.list()))
    for number, accession in enumerate(accessions(name)):
        files = case_files(known + number, FIELDS)
        if number == CASES - 1:
            files[f"field-{FIELDS - 1}.png"] = picture_that_waits(known + number)
        service.drop(accession, files, manifest(f"P{known + number}", FIELDS))


def check_everything_is_delivered(service: RunningService, lis: ThirdPartyLis, name: str) -> None:
    wait_for(
        lambda: [message.state for message in messages_of(service, name)] == [MessageState.DELIVERED] * CASES,
        PATIENCE_SECONDS,
        what="the deliveries",
        every_s=0.1,
    )
    assert set(accessions(name)) <= set(lis.accessions())
    received = lis.by_control_id()
    for message in messages_of(service, name):
        assert set(received[message.control_id]) == {message.body}, "a repeat differs from what was frozen"
    assert set(received) == {message.control_id for message in service.read(lambda work: work.outbox.list())}
    cases = cases_of(service, name)
    assert [case.state for case in cases] == [CaseState.REPORTED] * CASES
    with service.database.reading() as work:
        fields = [field.state for case in cases for field in work.fields.of_case(case.case_id)]
    assert fields == [FieldState.ANALYSED] * CASES * FIELDS
    assert audit_is_intact(service)
    assert not list((service.data / "store" / ".partial").iterdir())
    check_runs(service, cases)


def check_runs(service: RunningService, cases: list[CaseView]) -> None:
    """One run a case, all ended; nothing that was killed still shows as running."""
    prefect = Prefect(service.prefect_port)
    for case in cases:
        assert prefect.ended_run_of(case.case_id)["state_type"] == "COMPLETED"
    assert len(prefect.runs("process-case")) == len(service.read(lambda work: work.cases.list()))
    wait_for(
        lambda: [run["state_type"] for run in prefect.runs("watch-folder")].count("RUNNING") == 1,
        PATIENCE_SECONDS,
        what="the one run that watches the folder",
        every_s=0.1,
    )


def accessions(name: str) -> list[str]:
    return [f"{name}-{number}" for number in range(CASES)]


def cases_of(service: RunningService, name: str) -> list[CaseView]:
    """Those of the cases of a test that are known."""
    with service.database.reading() as work:
        ids = [work.identities.find(accession) for accession in accessions(name)]
        return [work.cases.get(case_id) for case_id in ids if case_id is not None]


def messages_of(service: RunningService, name: str) -> list[MessageView]:
    with service.database.reading() as work:
        ids = [work.identities.find(accession) for accession in accessions(name)]
        return [message for case_id in ids if case_id is not None for message in work.outbox.of_case(case_id)]
