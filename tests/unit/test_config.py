"""Settings: what is wrong is named with what is allowed, and never with its value."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli.init import TEMPLATE
from flows.config import check_settings, load_settings
from flows.errors import SettingsError
from flows.settings import Settings
from sphero_core.grading import DAVIS

SECRET = "hunter2"
DESTINATIONS = """
[[hl7.destination]]
name = "a"
host = "h"
port = 1
profile = "lis.toml"
[[hl7.destination]]
name = "b"
host = "h"
port = 1
profile = "oul-r22"
"""


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("SPHERO_")]:
        monkeypatch.delenv(variable)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"folder": {"scan_second": 3}}, "[folder] scan_second: there is no such key; did you mean scan_seconds?"),
        ({"foldr": {}}, "[foldr]: there is no such key; did you mean folder?"),
        ({"site": {"release_policy": "draft"}}, "[site] release_policy: must be one of 'preliminary', 'hold', 'final'"),
        ({"site": {"time_zone": "Mars/Olympus"}}, "[site] time_zone: must be a name of the IANA time zone list"),
        ({"site": {"grade_scheme": "ours"}}, "[site] grade_scheme: must be one of davis, icsh-2015"),
        ({"site": {"scheme": {"davis": {"1+": 3.0}}}}, '[site] scheme: "davis" is shipped and cannot be changed'),
        ({"site": {"scheme": {"ours": {"1+": 9.0, "2+": 3.0}}}}, "[site] scheme: the cut-offs must rise"),
        ({"http": {"port": 0}}, "[http] port: input should be greater than or equal to 1"),
        ({"folder": {"pixel_aspect": float("nan")}}, "[folder] pixel_aspect: input should be"),
        ({"hl7": {"destination": [{"host": "h", "port": 1}]}}, "[[hl7.destination]] name: must be given"),
        (
            {"hl7": {"destination": [{"name": "a", "host": "h", "port": 1, "profile": {"charset": "latin"}}]}},
            "[[hl7.destination]] profile: must be the name of a shipped profile or a path",
        ),
        (
            {"hl7": {"destination": [{"name": "a", "host": "h", "port": 1}, {"name": "a", "host": "i", "port": 1}]}},
            "[[hl7.destination]] name: 'a' stands twice",
        ),
        (
            {"hl7": {"destination": [{"name": "a", "host": "h", "port": 1, "ca_file": "ca.pem"}]}},
            "[[hl7.destination]] ca_file: is given, but tls is not: set tls = true",
        ),
        (
            {"hl7": {"destination": [{"name": "a", "host": "h", "port": 1, "tls": True, "key_file": "k"}]}},
            "[[hl7.destination]] key_file: is given without cert_file",
        ),
        ({"hl7": {"listener": {"tls": True}}}, "[hl7.listener] cert_file: must be given: a TLS listener needs"),
        (
            {"hl7": {"listener": {"allowed_addresses": ["lis.example"]}}},
            '[[hl7.listener]] allowed_addresses: must be an address or a network, such as "10.1.2.3"',
        ),
        ({"hl7": {"destination": [{"name": "a", "port": 1}]}}, "[[hl7.destination]] host: must be given"),
        ({"hl7": {"destination": [{"name": "a", "host": "h"}]}}, "[[hl7.destination]] port: must be given"),
        (
            {"hl7": {"destination": [{"name": "a", "kind": "batch"}]}},
            '[[hl7.destination]] folder: must be given where kind is "batch"',
        ),
        (
            {"hl7": {"destination": [{"name": "a", "kind": "batch", "folder": "f", "host": "h"}]}},
            '[[hl7.destination]] host: is not for kind = "batch"',
        ),
        (
            {"hl7": {"destination": [{"name": "a", "host": "h", "port": 1, "folder": "f"}]}},
            '[[hl7.destination]] folder: is not for kind = "mllp"',
        ),
        ({"prefect": {"api_url": "prefect:4200"}}, "[prefect] api_url: must be empty or begin with http://"),
    ],
)
def test_wrong_settings_are_named_with_what_is_allowed(values: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_settings(values, Path("/site"))
    assert told in str(caught.value)


def test_every_wrong_key_is_told_at_once_and_no_value() -> None:
    values = {"database": {"url": [SECRET]}, "http": {"port": SECRET}, "paths": {"dat": SECRET}}
    with pytest.raises(SettingsError) as caught:
        check_settings(values, Path("/site"))
    told = str(caught.value)
    assert all(key in told for key in ("[database] url", "[http] port", "[paths] dat"))
    assert SECRET not in told
    assert SECRET not in repr(caught.value.__context__)


def test_paths_are_meant_from_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "site" / "sphero.toml"
    file.parent.mkdir()
    file.write_text('[paths]\ndata = "kept"\n[model]\nbundle = "mine"\n' + DESTINATIONS)
    settings = load_settings(file)
    assert settings.data == tmp_path / "site" / "kept"
    assert settings.incoming == tmp_path / "site" / "kept" / "incoming"
    assert settings.database.url == f"sqlite:///{tmp_path}/site/kept/sphero.db"
    assert settings.model.bundle == str(tmp_path / "site" / "mine")
    assert [each.profile for each in settings.hl7.destination] == [str(tmp_path / "site" / "lis.toml"), "oul-r22"]


def test_the_environment_goes_before_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.toml").write_text("[folder]\nscan_seconds = 9\nquiet_seconds = 8\n")
    monkeypatch.setenv("SPHERO_CONFIG", "other.toml")
    monkeypatch.setenv("SPHERO_FOLDER__SCAN_SECONDS", "2")
    monkeypatch.setenv("SPHERO_HL7__DESTINATION", json.dumps([{"name": "lis", "host": "h", "port": 2575}]))
    settings = load_settings(folder=tmp_path)
    assert (settings.folder.scan_seconds, settings.folder.quiet_seconds) == (2.0, 8.0)
    assert settings.hl7.destination[0].host == "h"


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "SPHERO_FOLDR__SCAN_SECONDS",
            "2",
            "SPHERO_FOLDR__SCAN_SECONDS: there is no such section; did you mean SPHERO_FOLDER?",
        ),
        ("SPHERO_FOLDER__SCAN_SECOND", "2", "[folder] scan_second: there is no such key"),
        ("SPHERO_HL7__DESTINATION", "[", "lists and tables are given as JSON"),
    ],
)
def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(folder=Path("/nowhere"))
    assert told in str(caught.value)


@pytest.mark.parametrize("content", [b"[folder\n", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sphero.toml").write_bytes(content)
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load_settings(folder=tmp_path)


def test_the_file_that_init_writes_says_what_the_defaults_are(tmp_path: Path) -> None:
    (tmp_path / "sphero.toml").write_text(TEMPLATE)
    assert load_settings(folder=tmp_path) == check_settings({}, tmp_path)


def test_the_file_that_init_writes_names_every_key() -> None:
    uncommented = "\n".join(line.removeprefix("# ") for line in TEMPLATE.splitlines())
    missing = [
        f"{section}.{key}"
        for section, values in sections(Settings().model_dump())
        for key in values
        if f"\n{key} = " not in uncommented and f"[{section}.{key}" not in uncommented
    ]
    assert missing == []


def sections(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every section, those within others too."""
    for name, inner in values.items():
        if isinstance(inner, dict):
            yield prefix + name, inner
            yield from sections(inner, f"{prefix}{name}.")


def test_tls_files_are_meant_from_the_folder_of_the_file() -> None:
    destination = {"name": "a", "host": "h", "port": 1, "tls": True, "ca_file": "tls/ca.pem", "cert_file": "/etc/c.pem"}
    listener = {"tls": True, "cert_file": "c.pem", "key_file": "c.key"}
    hl7 = check_settings({"hl7": {"destination": [destination], "listener": listener}}, Path("/site")).hl7
    assert (hl7.destination[0].ca_file, hl7.destination[0].cert_file) == (Path("/site/tls/ca.pem"), Path("/etc/c.pem"))
    assert hl7.listener.key_file == Path("/site/c.key")


def test_a_site_grades_by_its_own_scheme() -> None:
    values = {"site": {"grade_scheme": "ours", "scheme": {"ours": {"2+": 5.0, "1+": 1.0}}}}
    scheme = check_settings(values, Path("/")).site.grading
    assert (scheme.name, scheme.grade_of(1.0), scheme.grade_of(5.0)) == ("ours", "1+", "2+")
    assert check_settings({}, Path("/")).site.grading is DAVIS


def test_addresses_for_people() -> None:
    settings = check_settings({"http": {"host": "0.0.0.0", "port": 9}, "prefect": {"port": 7}}, Path("/site"))  # noqa: S104  # nothing listens
    assert (settings.http_url, settings.prefect_ui_url) == ("http://127.0.0.1:9", "http://127.0.0.1:7")
    external = check_settings({"prefect": {"api_url": "http://prefect.example:4200/api"}}, Path("/site"))
    assert (external.prefect_ui_url, external.embedded_prefect) == ("http://prefect.example:4200", False)
