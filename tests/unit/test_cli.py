"""The command line: usage, failures in one line, and what commands print about a real database."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from db.anchors import AnchorFile
from db.context import utc_now
from db.session import Database
from db.views import AuditHead
from integrations.hl7.simulator import LisSimulator
from tests.hl7_examples import message
from tests.support import free_port

ROOT = Path(__file__).resolve().parents[2]

Sphero = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sphero(tmp_path: Path) -> Sphero:
    """Run `sphero` in an empty folder, without settings of this machine."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPHERO_")}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def site(tmp_path: Path, sphero: Sphero) -> Database:
    """A site as `sphero init` makes it, with one case that has one message."""
    assert sphero("init").returncode == 0
    database = Database(f"sqlite:///{tmp_path}/sphero-data/sphero.db")
    database.upgrade()
    with database.transaction("test") as work:
        case_id = work.identities.find_or_create("26-1")
        work.outbox.enqueue(case_id, 1, "lis", order_key=case_id, control_id="CONTROL1", body=message())
    return database


def test_help_names_every_command_and_comes_at_once(sphero: Sphero) -> None:
    shown = sphero("--help")
    assert shown.returncode == 0
    for command in ("demo", "up", "init", "doctor", "analyze", "evaluate", "model", "case", "message", "audit"):
        assert f"\n  {command} " in shown.stdout
    heavy = {"tensorflow", "prefect", "sqlalchemy", "cv2", "numpy", "fastapi"}
    code = f"import flows.cli, sys; print({heavy!r} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout == "set()\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("analyze",),
        ("analyze", "missing.png", "--out", "out"),
        ("evaluate", "--images", "."),
        ("case", "list", "--state", "nonsense"),
        ("lis-simulator", "--fault", "nonsense"),
    ],
)
def test_wrong_usage_ends_with_2(sphero: Sphero, arguments: tuple[str, ...]) -> None:
    assert sphero(*arguments).returncode == 2


def test_a_failure_is_one_line_and_ends_with_1(sphero: Sphero, tmp_path: Path) -> None:
    (tmp_path / "sphero.toml").write_text("[folder]\nscan_second = 1\n")
    failed = sphero("up")
    told = "sphero: [folder] scan_second: there is no such key; did you mean scan_seconds?\n"
    assert (failed.returncode, failed.stdout, failed.stderr) == (1, "", told)
    assert "Traceback" in sphero("up", "--debug").stderr


def test_a_bundle_that_was_altered_is_told(sphero: Sphero, tmp_path: Path) -> None:
    (tmp_path / "bundle" / "model").mkdir(parents=True)
    for name in ("bundle.json", "SHA256", "model/saved_model.pb"):
        (tmp_path / "bundle" / name).write_text("altered")
    failed = sphero("model", "verify", "--bundle", "bundle")
    assert failed.returncode == 1
    assert failed.stderr.startswith("sphero: the model bundle was altered")


def test_init_writes_settings_and_folders_and_never_over_another(sphero: Sphero, tmp_path: Path) -> None:
    first = sphero("init", "site")
    assert first.returncode == 0
    assert (tmp_path / "site" / "sphero-data" / "incoming").is_dir()
    again = sphero("init", "site")
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_records_before_the_first_start_have_a_remedy(sphero: Sphero) -> None:
    failed = sphero("case", "list")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "there is no database yet; `sphero up` makes it" in failed.stderr


def test_a_case_is_found_by_its_accession(sphero: Sphero, site: Database) -> None:
    (listed,) = asked(sphero, "case", "list", "--json")
    assert (listed["accession"], listed["state"]) == ("26-1", "open")
    shown = asked(sphero, "case", "show", "26-1", "--json")
    assert shown["case"] == listed["case"]
    assert [each["control id"] for each in shown["messages"]] == ["CONTROL1"]
    assert sphero("case", "show", "nobody").returncode == 1
    assert "26-1" in sphero("case", "show", listed["case"]).stdout


def test_a_message_is_shown_segment_by_segment(sphero: Sphero, site: Database) -> None:
    shown = sphero("message", "show", "CONTROL1")
    assert shown.returncode == 0
    assert re.search(r"^PID ", shown.stdout, re.MULTILINE)
    assert re.search(r"^ +PID-3 +Patient identifier list +123456", shown.stdout, re.MULTILINE)
    raw = sphero("message", "show", "CONTROL1", "--raw")
    assert "\nPID|1||123456" in raw.stdout.replace("\r", "\n")
    assert [each["state"] for each in asked(sphero, "message", "list", "--json")] == ["waiting"]


def test_an_altered_audit_is_found(sphero: Sphero, site: Database, tmp_path: Path) -> None:
    assert asked(sphero, "audit", "verify", "--json")["intact"]
    import sqlite3

    with sqlite3.connect(tmp_path / "sphero-data" / "sphero.db") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{trigger}"')
        connection.execute("UPDATE audit_events SET actor = 'nobody' WHERE sequence = 1")
    broken = sphero("audit", "verify")
    assert broken.returncode == 1
    assert "event 1: its content is not what was written" in broken.stdout
    assert "keep database, anchors and logs as they are" in broken.stderr


def test_an_audit_whose_end_was_cut_is_found_by_a_copy_of_the_anchors(
    sphero: Sphero, site: Database, tmp_path: Path
) -> None:
    kept = AnchorFile(tmp_path / "elsewhere")
    with site.reading() as work:
        kept.keep(work.audit.head(), utc_now())
    assert asked(sphero, "audit", "verify", "--anchors", str(kept.path), "--json")["anchors"] == 1
    assert "its end may be cut" in sphero("audit", "verify").stdout
    kept.keep(AuditHead(99, "f" * 64), utc_now())
    broken = sphero("audit", "verify", "--anchors", str(kept.path))
    assert broken.returncode == 1
    assert "event 99: was kept outside, but is not there" in broken.stdout


def test_doctor_finds_a_lis_that_is_away_and_one_that_is_there(sphero: Sphero, site: Database) -> None:
    port = free_port()
    destination = json.dumps([{"name": "lis", "host": "127.0.0.1", "port": port}])
    away = sphero("doctor", SPHERO_HL7__DESTINATION=destination)
    assert away.returncode == 1
    assert "fail  lis lis" in away.stdout
    with LisSimulator(port):
        there = json.loads(sphero("doctor", "--json", SPHERO_HL7__DESTINATION=destination).stdout)
    states = {check["name"]: check["state"] for check in there}
    assert states["lis lis"] == "ok"
    assert states["database"] == "ok"
    assert states["prefect"] == "note"
    assert all(check["remedy"] for check in there if check["state"] != "ok")


def asked(sphero: Sphero, *arguments: str) -> Any:
    """What a command prints as JSON."""
    answer = sphero(*arguments)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)
