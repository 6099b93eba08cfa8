"""What is deployed: every setting, path, port and secret that unit, image, compose file and proxy name is there; none holds a secret.

No container engine runs here: this is what can be said without one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from flows.config import check_settings
from flows.settings import is_setting
from tests.support import peer
from tests.unit.test_docs import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
UNIT = DEPLOY / "systemd" / "spheroflow.service"
PROXY = (DEPLOY / "proxy" / "nginx.conf").read_text()
ALL = [
    path
    for path in DEPLOY.rglob("*")
    if path.is_file() and path.suffix in (".yaml", ".toml", ".conf", ".json", ".sql", ".service", "")
]

WORST_EXPOSURE = 2.0
"""Of `systemd-analyze security`: 0 is closed, 10 is open; a unit without hardening has 9.6."""

TEXTS = {"type": "array", "items": {"type": "string"}}
SERVICE = {
    "type": "object",
    "properties": {
        "build": {"type": "object", "required": ["context", "dockerfile"]},
        "image": {"type": "string", "pattern": r"^(spheroflow|[a-z0-9./-]+:[0-9][\w.-]*)$"},
        "depends_on": {"type": ["array", "object"]},
        "entrypoint": TEXTS,
        "command": TEXTS,
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "volumes": TEXTS,
        "secrets": TEXTS,
        "tmpfs": TEXTS,
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^\d+:\d+$"}},
        "networks": TEXTS,
        "profiles": TEXTS,
        "healthcheck": {"type": "object"},
        "restart": {"const": "unless-stopped"},
        "read_only": {"const": True},
        "cap_drop": {"const": ["ALL"]},
        "cap_add": TEXTS,
        "security_opt": {"const": ["no-new-privileges:true"]},
        "logging": {"type": "object"},
        "stop_grace_period": {"type": "string", "pattern": r"^\d+s$"},
        "mem_limit": {"type": "string", "pattern": r"^\d+[mg]$"},
        "pids_limit": {"type": "integer"},
    },
    "required": ["image", "networks", "restart", "read_only", "cap_drop", "security_opt", "logging"],
    "additionalProperties": False,
}
"""Of the Compose specification what is used here; what is not listed is a slip, or needs a look."""


def setting(variable: str) -> bool:
    place = variable.removeprefix("SPHERO_").lower().split("__")
    return is_setting(place) or is_setting([*place[:-1], place[-1].removesuffix("_file")])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened_and_names_what_is_there(name: str) -> None:
    service = SERVICES[name]
    jsonschema.Draft202012Validator(SERVICE).validate(service)
    assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert set(service.get("depends_on", ())) <= SERVICES.keys()
    for variable in service.get("environment", {}):
        assert not variable.startswith("SPHERO_") or setting(variable), variable
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        if source.startswith("./"):
            assert (DEPLOY / source).is_file(), source
        elif not source.startswith("$"):
            assert source in COMPOSE["volumes"], source
    for text in (*service.get("environment", {}).values(), *service.get("command", ())):
        for secret in re.findall(r"/run/secrets/(\w+)", text):
            assert secret in service["secrets"], secret


def test_every_secret_is_a_file_outside_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "deploy/secrets/" in ignored
    assert all(secret["file"].startswith("./secrets/") for secret in COMPOSE["secrets"].values())
    used = {name for service in SERVICES.values() for name in service.get("secrets", ())}
    assert used == COMPOSE["secrets"].keys()


def test_only_the_proxy_and_our_listeners_can_be_reached_from_outside() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"sphero", "proxy"}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    settings = check_settings(tomllib.loads((DEPLOY / "sphero.toml").read_text()), Path("/etc/sphero"))
    inside = {int(port.partition(":")[2]) for port in SERVICES["sphero"]["ports"]}
    assert inside == {settings.hl7.listener.port, settings.dicom.receiver.port}
    assert settings.hl7.listener.host == settings.dicom.receiver.host == "0.0.0.0"  # noqa: S104  # in the container


@pytest.mark.parametrize("file", ALL, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_no_file_holds_a_secret(file: Path) -> None:
    text = file.read_text(errors="replace")
    assert "PRIVATE KEY" not in text
    assert re.findall(r"://[^/\s:@]+:[^/\s@]+@", text) == []
    assert (
        re.findall(
            r"(?im)^\s*\w*(?:password|secret|token)\w*[ \t]*[:=][ \t]*[\"']?(?!/run/secrets/|\{|\$)[\w+/=]{6,}", text
        )
        == []
    )


def test_the_image_copies_what_is_there_and_does_not_run_as_root() -> None:
    lines = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    instructions = [line.split()[0] for line in lines if not line.startswith(" ")]
    known = {
        "ARG",
        "FROM",
        "WORKDIR",
        "RUN",
        "COPY",
        "ENV",
        "USER",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    assert set(instructions) <= known
    ignore = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert any(source == each or source.startswith(f"{each}/") for each in ignore), source
    (user,) = [line.split()[1] for line in lines if line.startswith("USER")]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} - {"tests"}
    assert packages <= {source for line in lines if line.startswith("COPY") for source in line.split()}
    for variable in re.findall(r"\b(SPHERO_\w+__\w+)=", DOCKERFILE):
        assert setting(variable), variable
    assert "--require-hashes" in DOCKERFILE
    assert "apt-get" not in DOCKERFILE


def test_the_image_runs_a_command_that_exists() -> None:
    from tests.unit.test_docs import COMMANDS

    (arguments,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    name, *options = json.loads(arguments)
    known = {option for parameter in COMMANDS[(name,)].params for option in parameter.opts}
    assert set(options) <= known


def test_the_unit_is_valid_and_closed(tmp_path: Path) -> None:
    analyze = peer("systemd", "systemd-analyze", remedy="apt-get install systemd")
    text = UNIT.read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert shlex.split(command)[1:] == ["up", "--log-json"]
    # What is named there is not installed here.
    here = tmp_path / UNIT.name
    here.write_text(text.replace(shlex.split(command)[0], "/bin/true").replace("/var/lib/sphero\nEnv", "/\nEnv"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", here], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    command_line = [str(analyze), "security", "--offline=true", "--no-pager", str(here)]
    shown = subprocess.run(command_line, capture_output=True, text=True, timeout=60, check=False).stdout
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", shown)
    assert float(exposure) <= WORST_EXPOSURE


def test_the_proxy_leads_to_services_and_lets_websockets_through() -> None:
    assert PROXY.count("{") == PROXY.count("}")
    targets = dict(re.findall(r"proxy_pass http://(\w+):(\d+);", PROXY))
    assert targets == {"sphero": "8080", "prefect": "4200"}
    assert targets.keys() <= SERVICES.keys()
    root = PROXY[PROXY.index("location / {") :]
    assert "proxy_set_header Upgrade $http_upgrade;" in root
    assert "proxy_set_header Connection $connection_upgrade;" in root
    assert set(re.findall(r"/run/secrets/(\w+)", PROXY)) == set(SERVICES["proxy"]["secrets"])
    (port,) = re.findall(r"listen (\d+) ssl", PROXY)
    assert SERVICES["proxy"]["ports"] == [f"443:{port}"]
    assert "/metrics" not in PROXY  # for monitoring only, from inside


def test_the_proxy_is_read_by_nginx(tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not here; the file is checked by its text alone")
    from tests.certificates import Authority

    files = Authority(tmp_path).sign("proxy")
    text = PROXY.replace("/run/secrets/proxy_certificate", str(files.cert_file))
    text = text.replace("/run/secrets/proxy_key", str(files.key_file)).replace("/run/nginx.pid", str(tmp_path / "pid"))
    for name in ("sphero", "prefect"):
        text = text.replace(f"http://{name}:", "http://127.0.0.1:")
    (tmp_path / "nginx.conf").write_text(text)
    command = [str(nginx), "-t", "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
