"""Secrets come from files and are hidden wherever settings are shown; who may read what is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from flows.config import check_settings, load_settings
from flows.errors import SettingsError
from flows.places import places_of
from flows.secret_files import hidden, shown
from flows.security_checks import secret_files, security_checks
from tests.unit.test_config import _no_settings_of_this_machine  # noqa: F401  # a fixture for every test here

SECRET = "hunter2"
URL = f"postgresql+psycopg://sphero:{SECRET}@db.example/sphero"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (URL, "postgresql+psycopg://sphero:***@db.example/sphero"),
        (f"postgresql+psycopg://db.example/sphero?user=x&password={SECRET}", "postgresql+psycopg://db.example/sphero?user=x&password=***"),
        (f"https://hooks.example/in?token={SECRET}&a=1", "https://hooks.example/in?token=***&a=1"),
        (f"https://a:{SECRET}@h/x", "https://a:***@h/x"),
        (f"redis://:{SECRET}@h", "redis://:***@h"),
        ("sqlite:////srv/sphero/sphero.db", "sqlite:////srv/sphero/sphero.db"),
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
    ],
)  # fmt: skip
def test_passwords_in_addresses_are_hidden(text: str, told: str) -> None:
    assert hidden(text) == told


def test_of_a_webhook_only_the_host_is_shown(tmp_path: Path) -> None:
    settings = check_settings({"alerts": {"webhook_url": f"https://hooks.example/services/{SECRET}"}}, tmp_path)
    for text in (repr(settings), str(shown(settings))):
        assert SECRET not in text
        assert "https://hooks.example/***" in text


def test_no_representation_of_settings_shows_a_password(tmp_path: Path) -> None:
    settings = check_settings({"database": {"url": URL}}, tmp_path)
    for text in (repr(settings), str(settings), repr(settings.database), f"{settings.database}", str(shown(settings))):
        assert SECRET not in text
        assert "***" in text
    assert settings.database.url == URL


def test_settings_are_shown_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sphero.toml"
    file.write_text(f'[database]\nurl = "{URL}"\n[[hl7.destination]]\nname = "lis"\nhost = "h"\nport = 2575\n')
    monkeypatch.setenv("SPHERO_CONFIG", str(file))
    plain = CliRunner().invoke(app, ["config", "show"])
    assert plain.exit_code == 0, plain.output
    assert SECRET not in plain.output
    assert '[database]\nurl = "postgresql+psycopg://sphero:***@db.example/sphero"' in plain.output
    assert "[[hl7.destination]]\ntls = false\n" in plain.output
    assert 'name = "lis"\n' in plain.output
    told = json.loads(CliRunner().invoke(app, ["config", "show", "--json"]).output)
    assert told["hl7"]["destination"][0]["port"] == 2575
    assert SECRET not in str(told)


def test_any_value_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "url"
    secret.write_text(f"{URL}\n")
    monkeypatch.setenv("SPHERO_DATABASE__URL_FILE", str(secret))
    assert load_settings(folder=tmp_path).database.url == URL
    monkeypatch.setenv("SPHERO_DATABASE__URL", URL)
    with pytest.raises(SettingsError, match="SPHERO_DATABASE__URL and SPHERO_DATABASE__URL_FILE are both given"):
        load_settings(folder=tmp_path)
    monkeypatch.delenv("SPHERO_DATABASE__URL")
    secret.unlink()
    with pytest.raises(SettingsError, match="SPHERO_DATABASE__URL_FILE: its file cannot be read"):
        load_settings(folder=tmp_path)


def test_a_key_that_is_a_file_by_itself_is_none_of_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPHERO_HTTP__TLS", "true")
    monkeypatch.setenv("SPHERO_HTTP__CERT_FILE", "cert.pem")
    assert load_settings(folder=tmp_path).http.cert_file == tmp_path / "cert.pem"
    monkeypatch.setenv("SPHERO_HTTP__COLOUR_FILE", "x")
    with pytest.raises(SettingsError, match="colour_file: there is no such key"):
        load_settings(folder=tmp_path)


def test_what_is_kept_is_the_service_users_only_and_doctor_finds_what_is_not(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("")
    key.chmod(0o644)
    destination = {"name": "lis", "host": "h", "port": 1, "tls": True, "cert_file": "c.pem", "key_file": "key.pem"}
    settings = check_settings({"hl7": {"destination": [destination]}, "http": {"host": "10.1.2.3"}}, tmp_path)
    places = places_of(settings)
    places.make()
    found = {check.name: check for check in security_checks(settings)}
    assert found["rights"].state == "ok"
    assert found["secrets"].found.endswith(str(key))
    assert found["http"].state == "note"
    assert list(secret_files(settings)) == [key]
    places.store.chmod(0o755)
    found = {check.name: check for check in security_checks(settings)}
    assert (found["rights"].state, found["rights"].remedy) == ("fail", f"chmod go= {places.store}")


def test_running_as_root_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = check_settings({}, tmp_path)
    for user, state in ((0, "note"), (1000, "ok")):
        monkeypatch.setattr("os.geteuid", lambda user=user: user)
        assert next(check for check in security_checks(settings) if check.name == "user").state == state
