"""The whole service with its listener: an order that comes after the images lets the case go, and the result echoes it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import hl7
import httpx
import pytest

from db.states import CaseState, HoldReason
from integrations.hl7.ack import AckCode
from tests.order_examples import Lis
from tests.running import (
    PATIENCE_SECONDS,
    ROOT,
    RunningService,
    ThirdPartyLis,
    audit_is_intact,
    case_files,
    contents_below,
    send_loosely,
)
from tests.support import free_port, wait_for

CANARY = Lis(pid="PID|1||CanaryPatient^^^HOSP^MR||CanaryFamily^Zoe||19800101|F")


@pytest.fixture(scope="module")
def lis() -> Iterator[ThirdPartyLis]:
    with ThirdPartyLis(free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def orders_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, lis: ThirdPartyLis, orders_port: int) -> Iterator[RunningService]:
    listener = {"enabled": True, "port": orders_port, "allowed_addresses": ["127.0.0.1"]}
    more = {"SPHERO_HL7__LISTENER": json.dumps(listener), "SPHERO_HL7__REQUIRE_ORDER": "true"}
    with RunningService(tmp_path_factory.mktemp("orders"), lis.port, more=more) as running:
        running.start()
        yield running


def held_for(service: RunningService, accession: str) -> tuple[HoldReason, ...]:
    if service.case_of(accession) is None:
        return ()
    found: tuple[HoldReason, ...] = service.read(lambda work: work.cases.get(service.id_of(accession))).hold_reasons
    return found


def sphero(service: RunningService, *arguments: str) -> Any:
    """What a command prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments, "--json"],
        cwd=ROOT,
        env={**os.environ, "SPHERO_CONFIG": str(service.folder / "sphero.toml"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_it_says_that_it_listens(service: RunningService, orders_port: int) -> None:
    assert f", orders 127.0.0.1:{orders_port}" in service.said
    parts = httpx.get(f"http://127.0.0.1:{service.http_port}/readyz", trust_env=False).json()["parts"]
    assert parts["orders"] is None


def test_an_order_after_the_images_lets_the_case_go_and_is_echoed(
    service: RunningService, lis: ThirdPartyLis, orders_port: int
) -> None:
    service.drop("CanaryAccession", case_files(1, 2))
    wait_for(lambda: held_for(service, "CanaryAccession"), PATIENCE_SECONDS, what="the hold")
    assert held_for(service, "CanaryAccession") == (HoldReason.UNMATCHED_ORDER,)

    order = CANARY.orm("CanaryAccession", placer="CanaryOrder^LIS")
    acks = send_loosely(orders_port, service.folder / "order.hl7", order, order)
    assert [ack.code for ack in acks] == [AckCode.AA, AckCode.AA]
    service.wait_told("CanaryAccession")
    told = hl7.parse(lis.received[-1].decode())
    assert [str(told.segment("ORC")[number]) for number in (2, 3)] == ["CanaryOrder^LIS", "CanaryAccession^LIS"]
    assert str(told.segment("PID")[3]) == "CanaryPatient^^^HOSP^MR"

    (listed,) = sphero(service, "order", "list")
    assert (listed["placer"], listed["case"]) == ("CanaryOrder", service.id_of("CanaryAccession"))
    assert len(sphero(service, "order", "received")) == 1
    assert audit_is_intact(service)


def test_personal_data_of_orders_stay_in_their_tables(service: RunningService) -> None:
    """After the test above."""
    canaries = [b"CanaryAccession", b"CanaryPatient", b"CanaryFamily", b"CanaryOrder"]
    contents = contents_below(
        [service.data / place for place in ("prefect", "logs", "store", "quarantine", "pictures")]
    )
    contents[service.output] = service.output.read_bytes()
    assert [(path.name, canary) for path, content in contents.items() for canary in canaries if canary in content] == []


def test_a_stop_closes_the_listener(service: RunningService, orders_port: int) -> None:
    """Runs last: the service is gone afterwards."""
    with socket.create_connection(("127.0.0.1", orders_port), 5) as idle:
        assert service.stop() < 10
        with suppress(ConnectionResetError):  # where it stops before it has taken the connection
            assert idle.recv(1) == b""
    assert service.read(lambda work: work.cases.list([CaseState.HELD])) == ()
