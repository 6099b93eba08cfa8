"""What is deployed in Prefect, and the environment it is told to run in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.deployments import DEPLOYED
from flows.errors import SettingsError
from flows.old_runs import OTHERS, WATCHING
from flows.prefect_environment import client_environment, server_environment
from flows.prefect_yaml import prefect_yaml
from flows.settings import Paths, PrefectSettings, Settings

FILE = Path(__file__).parents[2] / "deploy" / "prefect.yaml"


def test_the_file_says_what_is_deployed() -> None:
    assert FILE.read_text(encoding="utf-8") == prefect_yaml(), "run python -m flows.prefect_yaml > deploy/prefect.yaml"
    described = yaml.safe_load(prefect_yaml())["deployments"]
    assert [each["description"] for each in described] == [each.description for each in DEPLOYED.values()]
    assert [each.get("schedules", [{}])[0].get("cron") for each in described] == [
        each.cron for each in DEPLOYED.values()
    ]


def test_old_runs_of_every_deployment_are_removed_some_day() -> None:
    assert sorted((*WATCHING, *OTHERS)) == sorted(DEPLOYED)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "auth").write_text("sphero:secret\n")
    return Settings(paths=Paths(data=tmp_path), prefect=PrefectSettings(auth_file=tmp_path / "auth"))


def test_prefect_understands_what_the_server_is_told(settings: Settings) -> None:
    """Each variable is one that Prefect knows, under the name that it has in the version that is pinned."""
    told = (
        "from prefect.settings import get_current_settings as now; s = now().server;"
        "print(s.analytics_enabled, s.ui.show_promotional_content, s.api.csrf_protection_enabled,"
        " s.events.retention_period.days, sorted(s.services.db_vacuum.enabled), s.services.db_vacuum.retention_period.days,"
        " s.api.auth_string.get_secret_value(), now().ui_url)"
    )
    said = subprocess.run(
        [sys.executable, "-c", told], env=server_environment(settings), capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == (
        "False False True 2 ['events', 'flow_runs'] 90 sphero:secret http://127.0.0.1:4200"
    ), said.stderr


def test_client_and_server_share_the_password_and_no_setting_of_another_server_is_taken(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere.example/api")
    server, client = server_environment(settings), client_environment(settings)
    assert "PREFECT_API_URL" not in server
    assert client["PREFECT_API_AUTH_STRING"] == server["PREFECT_SERVER_API_AUTH_STRING"] == "sphero:secret"
    assert client["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert "sphero:secret" not in repr(settings)


@pytest.mark.parametrize("content", ["", "\n", "nocolon\n"])
def test_a_password_file_that_cannot_be_used_is_told_and_not_shown(settings: Settings, content: str) -> None:
    file = settings.prefect.auth_file
    assert file is not None
    file.write_text(content)
    with pytest.raises(SettingsError, match="auth_file") as caught:
        server_environment(settings)
    assert "nocolon" not in str(caught.value)
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        client_environment(settings)


def test_behind_a_proxy_the_pages_ask_the_address_that_people_use(tmp_path: Path) -> None:
    public = PrefectSettings(public_url="https://prefect.example.org/")
    settings = Settings(paths=Paths(data=tmp_path), prefect=public)
    environment = server_environment(settings)
    assert environment["PREFECT_SERVER_UI_API_URL"] == "https://prefect.example.org/api"
    assert environment["PREFECT_UI_URL"] == "https://prefect.example.org"
