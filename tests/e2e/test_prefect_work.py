"""Prefect at work: every deployment, what people do with runs in the UI, alerts by webhook and mail, a login, one log.

The Prefect server is one elsewhere, as with several machines; the other tests of the service run with its own.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.states import CaseState
from flows.deployments import DEPLOYED
from flows.prefect_environment import server_environment
from flows.prefect_server import PrefectServer
from flows.settings import Paths, PrefectSettings, Settings
from tests.alert_peers import MailSink, WebhookReceiver
from tests.running import (
    PATIENCE_SECONDS,
    READY_SECONDS,
    Prefect,
    RunningService,
    ThirdPartyLis,
    case_files,
    manifest,
    picture_that_waits,
)
from tests.support import free_port, wait_for

pytestmark = pytest.mark.timeout(600)

AUTH = "sphero:correct horse"
LONG_AGO = 400 * 86_400


@dataclass(frozen=True, slots=True)
class Site:
    """The service with those whom it alerts, and Prefect as a person sees it."""

    service: RunningService
    prefect_url: str
    prefect: Prefect
    webhook: WebhookReceiver
    mail: MailSink


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    secret = folder / "prefect-auth"
    secret.write_text(f"{AUTH}\n")
    port = free_port()
    with prefect_server(folder / "prefect", port, secret), WebhookReceiver() as webhook, MailSink() as mail:
        sink = {
            "host": "127.0.0.1",
            "port": mail.port,
            "sender": "sphero@example.org",
            "recipients": ["lab@example.org"],
        }
        more = {
            "SPHERO_PREFECT__API_URL": f"http://127.0.0.1:{port}/api",
            "SPHERO_PREFECT__AUTH_FILE": str(secret),
            "NO_PROXY": "127.0.0.1",
            "SPHERO_LOG__FORMAT": "json",
            "SPHERO_ALERTS": json.dumps({"webhook_url": webhook.url, "oldest_message_minutes": 0.01, "mail": sink}),
            "SPHERO_DICOM__STORE": json.dumps(
                [{"name": "pacs", "kind": "dicomweb", "url": f"http://127.0.0.1:{free_port()}", "poll_seconds": 1}]
            ),
        }
        with RunningService(folder, free_port(), more=more) as service:
            service.start()
            yield Site(service, f"http://127.0.0.1:{port}", Prefect(port, AUTH), webhook, mail)


@contextmanager
def prefect_server(home: Path, port: int, secret: Path) -> Iterator[None]:
    """A Prefect server that is not the service's own."""
    home.mkdir()
    settings = Settings(paths=Paths(data=home), prefect=PrefectSettings(port=port, auth_file=secret))
    server = PrefectServer(port, server_environment(settings), output=home / "output.txt")
    server.start()
    try:
        wait_for(lambda: server.answers, READY_SECONDS, what="the Prefect server", every_s=0.2)
        yield
    finally:
        server.stop()


def test_every_flow_is_deployed_with_its_schedule_and_limit(site: Site) -> None:
    for name, deployed in DEPLOYED.items():
        found = site.prefect.deployment(name)
        assert found["work_pool_name"] == "sphero"
        assert (found["description"], found["tags"]) == (deployed.description, list(deployed.tags))
        if deployed.cron is not None:
            wait_for(lambda: scheduled(site, name), PATIENCE_SECONDS, what=f"the scheduled runs of {name}")  # noqa: B023
        assert [each["schedule"]["cron"] for each in found["schedules"]] == ([deployed.cron] if deployed.cron else [])
        assert (found["global_concurrency_limit"] or {}).get("limit") == deployed.limit


def scheduled(site: Site, flow: str) -> list[dict[str, Any]]:
    return [run for run in site.prefect.runs(flow) if run["auto_scheduled"] and run["state_type"] == "SCHEDULED"]


def test_nobody_asks_prefect_without_the_password_nor_changes_anything_without_a_token(site: Site) -> None:
    with httpx.Client(base_url=f"{site.prefect_url}/api", trust_env=False, timeout=60) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/deployments/name/deliver/sphero").status_code == 401
        assert client.get("/deployments/name/deliver/sphero", auth=("sphero", "wrong")).status_code == 401
        forged = client.post("/flow_runs/filter", json={}, auth=("sphero", "correct horse"))
    assert (forged.status_code, "CSRF" in forged.text) == (403, True)


def test_a_case_that_is_held_is_a_failed_run_that_says_why_and_people_are_told(site: Site) -> None:
    site.service.drop("HeldAccession", case_files(1, 1))
    wait_for(lambda: site.service.case_of("HeldAccession"), PATIENCE_SECONDS, what="the case")
    case_id = site.service.id_of("HeldAccession")
    wait_for(
        lambda: [r for r in site.prefect.runs("process-case") if case_id in r["name"]], PATIENCE_SECONDS, what="a run"
    )
    run = site.prefect.ended_run_of(case_id)
    assert (run["state_type"], run["state_name"]) == ("FAILED", "Held")
    assert "no patient is named for it" in run["state"]["message"]

    told = wait_for(
        lambda: [each for each in site.webhook.received if case_id in each["what"]],
        PATIENCE_SECONDS,
        what="the webhook",
    )
    assert told[0]["alert"] == "a case needs a person"
    assert "no patient is named for it" in told[0]["why"]
    assert told[0]["link"].startswith(site.prefect_url)
    assert told[0]["link"].endswith(run["id"])
    mails = wait_for(
        lambda: [each for each in site.mail.received if case_id in each["Subject"]], PATIENCE_SECONDS, what="the mail"
    )
    assert "no patient is named for it" in mails[0].get_content()
    assert mails[0]["To"] == "lab@example.org"
    assert "HeldAccession" not in json.dumps(site.webhook.received) + str(mails[0])


def test_a_run_that_is_suspended_goes_on_when_it_is_resumed(site: Site) -> None:
    service = site.service
    service.shut_gate()
    service.drop("SUSPENDED", {**case_files(2, 1), "last.png": picture_that_waits(2)}, manifest("P2", 2))
    wait_for(lambda: service.case_of("SUSPENDED"), PATIENCE_SECONDS, what="the case")
    case_id = service.id_of("SUSPENDED")

    def case() -> Any:
        return service.read(lambda work: work.cases.get(case_id))

    wait_for(lambda: case().fields_analysed == 1, PATIENCE_SECONDS, what="the first field")
    run = site.prefect.run_of(case_id)
    site.prefect.suspend(run)
    wait_for(lambda: case().lease_owner is None, PATIENCE_SECONDS, what="the end of the work")
    assert (case().state, case().fields_analysed, case().attempts) == (CaseState.COMPLETE, 1, 0)
    service.open_gate()
    assert site.prefect.run_of(case_id)["state_name"] == "Suspended"
    site.prefect.ask(f"/flow_runs/{run['id']}/resume")
    ended = site.prefect.ended_run_of(case_id)
    assert ended["state_name"] == "Waiting", ended["state"]  # its LIS is away
    assert case().state is CaseState.REPORTED


def test_reconcile_lists_what_waits_for_a_person(site: Site) -> None:
    case_id = site.service.id_of("HeldAccession")
    run = site.prefect.run_now("reconcile")
    assert run["state_type"] == "COMPLETED", run["state"]
    (table,) = site.prefect.artifacts(run)
    assert [row["case"] for row in json.loads(table["data"])] == [case_id]
    assert "HeldAccession" not in table["data"]


def test_housekeeping_removes_what_is_old_and_nothing_else(site: Site) -> None:
    data = site.service.data
    old = [data / "pictures" / "old.jpg", data / "store" / ".partial" / "1-1", data / "logs" / "model.log.old"]
    fresh = [data / "pictures" / "new.jpg", data / "store" / ".partial" / "1-2"]
    for file in (*old, *fresh):
        file.write_bytes(b"12345")
    for file in old:
        os.utime(file, (time.time() - LONG_AGO,) * 2)
    run = site.prefect.run_now("housekeeping")
    assert run["state_type"] == "COMPLETED", run["state"]
    assert not any(file.exists() for file in old)
    assert all(file.exists() for file in fresh)
    for file in fresh:
        file.unlink()


def test_a_store_is_polled_in_one_run_at_a_time(site: Site) -> None:
    (run,) = [run for run in site.prefect.runs("poll-store") if run["state_type"] == "RUNNING"]
    assert run["name"] == "poll pacs"
    second = site.prefect.run_now("poll-store", store="pacs")
    assert (second["state_type"], second["state_name"]) == ("COMPLETED", "NotNeeded")
    unknown = site.prefect.run_now("poll-store", store="elsewhere")
    assert (unknown["state_type"], unknown["state"]["message"]) == (
        "FAILED",
        "no store has this name; known are pacs",
    )


def test_results_that_wait_too_long_are_told_once(site: Site) -> None:
    told = wait_for(
        lambda: [each for each in site.webhook.received if each["alert"] == "results wait too long"],
        PATIENCE_SECONDS,
        what="the alert",
    )
    assert [(each["what"], each["why"].split(",")[0]) for each in told] == [("lis", "1 messages wait")]


def test_what_ended_otherwise_than_its_case_is_put_right(site: Site) -> None:
    service = site.service
    case_id = service.id_of("SUSPENDED")
    with ThirdPartyLis(service.lis_port) as lis:
        service.wait_told("SUSPENDED")
        assert site.prefect.run_of(case_id)["state_name"] == "Waiting"
        assert "1 runs were put right" in site.prefect.run_now("reconcile")["state"]["message"]
        assert site.prefect.ended_run_of(case_id, attempts=2)["state_name"] == "Delivered"
        assert len(lis.received) == 1


def test_the_log_is_one_json_object_a_line_with_case_ids(site: Site) -> None:
    lines = [json.loads(line) for line in site.service.said.splitlines() if line.startswith("{")]
    assert len(lines) >= len(site.service.said.splitlines()) - 1  # less the line that says `ready`
    assert site.service.id_of("SUSPENDED") in {line.get("case") for line in lines}


def test_an_audit_log_that_was_changed_is_a_failed_run_that_names_the_place(site: Site) -> None:
    """Runs last: the log is broken afterwards."""
    assert site.prefect.run_now("verify-audit")["state_type"] == "COMPLETED"
    with closing(sqlite3.connect(site.service.data / "sphero.db", timeout=30)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')  # as one would who can
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%previous_hash%'"
        ).fetchone()
        connection.execute(f"UPDATE {table} SET action = 'nothing' WHERE sequence = 2")  # noqa: S608  # its own name
    run = site.prefect.run_now("verify-audit")
    assert (run["state_type"], run["state_name"]) == ("FAILED", "Broken")
    assert "event 2" in run["state"]["message"]
    told = wait_for(
        lambda: [each for each in site.webhook.received if "audit" in each["what"]], PATIENCE_SECONDS, what="the alert"
    )
    assert "event 2" in told[0]["why"]
