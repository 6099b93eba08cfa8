"""What Prometheus is told, read back by its own parser."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from db.session import Database
from db.states import CaseState
from flows.connections import open_connections
from flows.disk import DiskGuard
from flows.metrics import MOST_REASONS, Machine, Metrics
from flows.watch_settings import WatchSettings
from sphero_core.types import CaseCounts, Quality
from tests.database_examples import BUNDLE, ManualClock, accept, enqueue, findings, to_state
from tests.folder_site import Site

MACHINE = Machine(lambda: {"model": None, "disk": "full"}, lambda: {"model": 2}, lambda: {"dicom": 1})
Told = dict[tuple[str, tuple[str, ...]], float]


def told(metrics: Metrics) -> Told:
    found = {}
    for family in text_string_to_metric_families(metrics.scrape().decode()):
        for sample in family.samples:
            found[sample.name, tuple(sample.labels.values())] = sample.value
    return found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    Site(tmp_path).database.close()
    with Database(f"sqlite:///{tmp_path / 'sphero.db'}", clock) as database:
        yield database


@pytest.fixture
def metrics(database: Database, clock: ManualClock) -> Metrics:
    disk = DiskGuard({"images": Path("/images")}, 100, free_bytes=lambda _: 99)
    settings = WatchSettings(drift_cases=5, baseline_cases=5)
    return Metrics(database, disk, MACHINE, settings, clock=clock, monotonic=lambda: clock().timestamp())


def test_states_ages_and_what_happened_since(metrics: Metrics, database: Database, clock: ManualClock) -> None:
    with database.transaction("test") as work:
        to_state(work, CaseState.REPORTED, "before", "before")
    assert told(metrics)["sphero_field_model_seconds_count", ()] == 0
    with database.transaction("test") as work:
        waiting = to_state(work, CaseState.COMPLETE, "A", "a")
        enqueue(work, to_state(work, CaseState.REPORTED, "B", "b"))
    clock.advance(90)
    with database.transaction("sender") as work:
        (message,) = work.outbox.claim_due("LIS", "me", 60, most=1)
        work.outbox.park(message.message_id, "me", reason="AE", ack_code="AE", ack=b"")
    found = told(metrics)
    assert found["sphero_cases", ("complete",)] == 1
    assert found["sphero_oldest_case_seconds", ("complete",)] == 90
    assert found["sphero_outbox_messages", ("LIS", "parked")] == 1
    assert found["sphero_oldest_unsent_seconds", ("LIS",)] == 90
    assert found["sphero_message_attempts_total", ("LIS", "parked")] == 1
    assert found["sphero_field_model_seconds_count", ()] == 1
    assert found["sphero_model_pass_seconds_sum", ()] == 0.125  # two passes
    assert found["sphero_quality_refusals_total", ("blurred",)] == 1
    assert found["sphero_part_ready", ("model",)] == 1
    assert found["sphero_part_ready", ("disk",)] == 0
    assert found["sphero_part_restarts_total", ("model",)] == 2
    assert found["sphero_disk_free_bytes", ("images",)] == 99
    assert found["sphero_intake_stopped", ()] == 1
    assert waiting not in metrics.scrape().decode()


def test_counted_once_however_often_it_is_scraped(metrics: Metrics, database: Database) -> None:
    told(metrics)
    with database.transaction("test") as work:
        to_state(work, CaseState.ANALYSED)
    assert [told(metrics)["sphero_field_model_seconds_count", ()] for _ in range(3)] == [1, 1, 1]


def test_the_drift_is_told_once_there_are_cases_enough(
    metrics: Metrics, database: Database, clock: ManualClock
) -> None:
    def report(number: int, percent: float) -> None:
        clock.advance(10)
        with database.transaction("test") as work:
            case_id = to_state(work, CaseState.ANALYSED, f"case {number}", f"field {number}")
            counts = CaseCounts(1000, int(10 * percent), percent, (0.0, 50.0), 1, ())
            work.reports.add(case_id, 1, owner="w", counts=counts, bundle=BUNDLE, body={})

    for number in range(9):
        report(number, 2.0 if number < 5 else 7.0)
    found = told(metrics)
    assert found["sphero_spherocyte_percent_median", ("recent",)] == 7.0
    assert ("sphero_spherocyte_percent_drift", ()) not in found
    report(9, 7.0)
    clock.advance(10)
    found = told(metrics)
    assert found["sphero_spherocyte_percent_median", ("baseline",)] == 2.0
    assert found["sphero_spherocyte_percent_drift", ()] == 5.0


def test_reasons_are_kinds_and_do_not_become_ever_more(metrics: Metrics, database: Database) -> None:
    told(metrics)
    reasons = ("out of focus: outlines are 0.21 cell diameters wide; focus again", "cells are pale (density 0.2); look")
    with database.transaction("test") as work:
        for number in range(MOST_REASONS + 5):
            accepted = accept(work, "A", f"field {number}")
            made = findings()
            object.__setattr__(made, "quality", Quality(False, (*reasons, f"reason {number}")))
            work.analyses.record(accepted.field_id, BUNDLE, made)
    found = {
        labels[0]: count for (name, labels), count in told(metrics).items() if name == "sphero_quality_refusals_total"
    }
    assert found["out of focus"] == found["cells are pale"] == MOST_REASONS + 5
    assert len(found) == MOST_REASONS + 1
    assert found["other"] == 7


def test_without_a_database_the_rest_is_told(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 'none' / 'sphero.db'}") as database:
        metrics = Metrics(database, DiskGuard({}, 0), MACHINE, WatchSettings())
        found = told(metrics)
    assert found["sphero_database_up", ()] == 0
    assert found["sphero_part_restarts_total", ("model",)] == 2
    assert not any(name == "sphero_cases" for name, _ in found)


def test_connections_are_those_of_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert open_connections(port) == 0
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            assert open_connections(port) == 1
    assert open_connections(port, ("/proc/net/nothing",)) == 0
