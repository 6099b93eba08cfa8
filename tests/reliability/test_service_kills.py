"""SIGKILL of the whole process group in the middle of five cases, then started again: nothing lost, repeats identical."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db.states import CaseState, FieldState
from db.views import MessageView
from tests.running import Prefect, RunningService, ThirdPartyLis, audit_is_intact, case_files, manifest
from tests.support import free_port, wait_for

CASES = 5
FIELDS = 4

Moment = Callable[[RunningService, ThirdPartyLis], object]


def taking_files(service: RunningService, lis: ThirdPartyLis) -> object:
    return len(list((service.data / "store").glob("??/*"))) >= 3


def analysing(service: RunningService, lis: ThirdPartyLis) -> object:
    events = service.read(lambda work: [event.action for event in work.audit.list(limit=10_000)])
    return events.count("field analysed") >= 3


def some_delivered(service: RunningService, lis: ThirdPartyLis) -> object:
    return len(lis.received) >= 2


@pytest.fixture
def killed_while_sending(tmp_path: Path) -> Iterator[tuple[RunningService, ThirdPartyLis]]:
    """Kill the service when the LIS has the first message and has not answered yet."""
    port, dead = free_port(), threading.Event()
    service = RunningService(tmp_path, port, field_seconds=0.1)

    def on_message(_: bytes) -> None:
        if not dead.is_set():
            dead.set()
            service.kill()

    with ThirdPartyLis(port, on_message) as lis, service:
        service.start()
        drop_cases(service)
        assert dead.wait(60)
        yield service, lis


def drop_cases(service: RunningService) -> None:
    for number in range(CASES):
        service.drop(f"KILL-{number}", case_files(number, FIELDS), manifest(f"P{number}", FIELDS))


@pytest.mark.parametrize("moment", [taking_files, analysing, some_delivered])
def test_killed_in_the_middle_every_case_is_delivered(tmp_path: Path, moment: Moment) -> None:
    with ThirdPartyLis(free_port()) as lis, RunningService(tmp_path, lis.port, field_seconds=0.1) as service:
        service.start()
        drop_cases(service)
        wait_for(lambda: moment(service, lis), 60, what="the moment", every_s=0.005)
        service.kill()
        assert service.delivered() < CASES, "killed too late: nothing was in the middle"
        service.start()
        check_everything_is_delivered(service, lis)


def test_killed_while_sending_the_same_bytes_go_out_again(
    killed_while_sending: tuple[RunningService, ThirdPartyLis],
) -> None:
    service, lis = killed_while_sending
    service.start()
    check_everything_is_delivered(service, lis)
    assert max(len(repeats) for repeats in lis.by_control_id().values()) == 2


def test_lis_down_at_the_start_and_up_later_gets_everything(tmp_path: Path) -> None:
    port = free_port()
    with RunningService(tmp_path, port) as service:
        service.start()
        drop_cases(service)
        reported = (CaseState.REPORTED,)
        wait_for(lambda: len(service.read(lambda work: work.cases.list(reported))) == CASES, 60, what="the reports")
        assert service.delivered() == 0
        with ThirdPartyLis(port) as lis:
            check_everything_is_delivered(service, lis)
            assert lis.by_control_id().keys() == {message.control_id for message in messages_of(service)}
            assert {message.attempts for message in messages_of(service)} == {1}, (
                "a refused connection spends no attempt"
            )
        prefect = Prefect(service.prefect_port)
        (run,) = wait_for(
            lambda: [r for r in prefect.runs("deliver") if r["end_time"]], 30, what="the run that delivered"
        )
        assert run["state_type"] == "COMPLETED"
        assert [artifact["type"] for artifact in prefect.artifacts(run)] == ["table"]


def check_everything_is_delivered(service: RunningService, lis: ThirdPartyLis) -> None:
    service.wait_delivered(CASES, 90)
    assert set(lis.accessions()) == {f"KILL-{number}" for number in range(CASES)}
    repeats = lis.by_control_id()
    assert len(repeats) == CASES
    assert all(len(set(bodies)) == 1 for bodies in repeats.values()), "a repeat differs from its first sending"
    assert {message.control_id: message.body for message in messages_of(service)} == {
        control_id: bodies[0] for control_id, bodies in repeats.items()
    }
    cases = service.read(lambda work: work.cases.list())
    assert [case.state for case in cases] == [CaseState.REPORTED] * CASES
    with service.database.reading() as work:
        fields = [field.state for case in cases for field in work.fields.of_case(case.case_id)]
    assert fields == [FieldState.ANALYSED] * CASES * FIELDS
    assert audit_is_intact(service)
    assert not list((service.data / "store" / ".partial").iterdir())
    check_runs(service, [case.case_id for case in cases])


def check_runs(service: RunningService, case_ids: list[str]) -> None:
    """One run a case, all ended; nothing that was killed still shows as running."""
    prefect = Prefect(service.prefect_port)
    for case_id in case_ids:
        assert prefect.ended_run_of(case_id)["state_type"] == "COMPLETED"
    assert len(prefect.runs("process-case")) == len(case_ids)
    assert sum(run["state_type"] == "RUNNING" for run in prefect.runs("watch-folder")) == 1


def messages_of(service: RunningService) -> tuple[MessageView, ...]:
    found: tuple[MessageView, ...] = service.read(lambda work: work.outbox.list())
    return found
