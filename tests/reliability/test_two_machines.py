"""Two machines on one PostgreSQL and one Prefect server: one is killed with cases in its hands, the other does them.

With network namespaces, three machines and one that is cut off and comes back: ``python -m tests.reliability.hosts``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.session import Database
from db.states import CaseState
from tests.running import (
    PATIENCE_SECONDS,
    Prefect,
    RunningService,
    ThirdPartyLis,
    audit_is_intact,
    manifest,
    picture_that_waits,
)
from tests.support import free_port, wait_for

CASES = 5  # more than one machine takes at a time


@pytest.mark.timeout(600)
def test_the_cases_of_a_machine_that_is_killed_are_done_by_another(postgresql_url: str, tmp_path: Path) -> None:
    common = {"SPHERO_DATABASE__URL": postgresql_url, "SPHERO_HOST__LEASE_SECONDS": "3"}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with ThirdPartyLis(free_port()) as lis, RunningService(tmp_path / "one", lis.port, more=common) as one:
        one.database = Database(postgresql_url)
        one.start()
        theirs = {
            **common,
            "SPHERO_PATHS__SHARED": str(one.data),
            "SPHERO_PREFECT__API_URL": f"http://127.0.0.1:{one.prefect_port}/api",
            "SPHERO_HOST__ROLES": '["cases"]',
        }
        with RunningService(tmp_path / "two", lis.port, more=theirs) as two:
            two.start()
            one.shut_gate()
            two.shut_gate()
            for number in range(CASES):
                one.drop(f"A{number}", {"1.png": picture_that_waits(number)}, manifest(f"P{number}", 1))
            worker = (two.data / "worker").read_text().strip()

            def held_by_two() -> list[str]:
                cases = one.read(lambda work: work.cases.list())
                return [case.case_id for case in cases if (case.lease_owner or "").startswith(f"{worker}/")]

            held = wait_for(held_by_two, PATIENCE_SECONDS, what="a case in the hands of the second", every_s=0.1)
            two.kill()
            one.open_gate()
            one.wait_delivered(CASES)
        assert sorted(lis.accessions()) == [f"A{number}" for number in range(CASES)]
        cases = one.read(lambda work: work.cases.list())
        assert [case.state for case in cases] == [CaseState.REPORTED] * CASES
        assert audit_is_intact(one)
        events = one.read(lambda work: work.audit.list(held[0]))
        claims = [json.loads(event.detail)["owner"] for event in events if event.action == "case claimed"]
        assert [claim.startswith(f"{worker}/") for claim in claims] == [True, False]
        prefect = Prefect(one.prefect_port)
        assert prefect.ended_run_of(held[0], attempts=2)["state_name"] == "Delivered"
        assert len(prefect.runs("process-case")) == CASES
