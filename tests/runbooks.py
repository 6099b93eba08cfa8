"""The runbooks walked through: a laboratory with a simulated LIS and a real Orthanc, each part broken in turn, and `sphero doctor` asked.

python -m tests.runbooks        # what was broken, the line of doctor that named it, and the seconds that it took
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.cli.init import TEMPLATE
from integrations.hl7.simulator import LisSimulator
from tests.dicom_peers import Orthanc
from tests.running import ROOT
from tests.support import free_port

_MORE = """
[[hl7.destination]]
name = "lis"
host = "127.0.0.1"
port = {lis}

[[dicom.archive]]
name = "archive"
kind = "dimse"
host = "127.0.0.1"
port = {dicom}
ae_title = "ORTHANC"

[[dicom.store]]
name = "pacs"
kind = "dicomweb"
url = "http://127.0.0.1:{http}/dicom-web"
"""

Line = tuple[str, str, str]
"""State, what was found, and the remedy."""
Doctor = Callable[[Path, Mapping[str, str]], dict[str, Line]]
"""Asks doctor with a settings file and more environment; gives its lines by name."""


@dataclass
class Laboratory:
    """Settings as `sphero init` writes them, with a LIS and an archive that work."""

    folder: Path
    lis: LisSimulator
    orthanc: Orthanc

    @property
    def file(self) -> Path:
        """The settings."""
        return self.folder / "sphero.toml"

    @property
    def incoming(self) -> Path:
        """The watched folder."""
        return self.folder / "sphero-data" / "incoming"

    @contextmanager
    def incoming_away(self) -> Iterator[None]:
        """As a share that is not mounted."""
        away = self.incoming.rename(self.folder / "away")
        self.incoming.write_text("")
        yield
        self.incoming.unlink()
        away.rename(self.incoming)

    @contextmanager
    def orthanc_away(self) -> Iterator[None]:
        """Stopped, and started again."""
        self.orthanc.stop()
        yield
        self.orthanc.start()


@contextmanager
def laboratory(folder: Path) -> Iterator[Laboratory]:
    """A laboratory in which everything works."""
    with LisSimulator() as lis, Orthanc() as orthanc:
        made = Laboratory(folder, lis, orthanc)
        more = _MORE.format(lis=lis.port, dicom=orthanc.port, http=orthanc.http_port)
        made.file.write_text(TEMPLATE.replace("port = 4200", f"port = {free_port()}") + more, encoding="utf-8")
        made.incoming.mkdir(parents=True)
        yield made


@contextmanager
def nothing(_: Laboratory) -> Iterator[None]:
    """Broken by a setting only."""
    yield


@contextmanager
def _closed(lis: LisSimulator) -> Iterator[None]:
    lis.close()
    yield


@dataclass(frozen=True)
class Fault:
    """One thing broken.

    Attributes
    ----------
    lines : tuple of str
        Names of the lines of doctor that must fail, and no others.
    remedy : str
        What each remedy must speak of.
    runbook : str
        That is about it.
    """

    name: str
    lines: tuple[str, ...]
    remedy: str
    runbook: str
    broken: Callable[[Laboratory], AbstractContextManager[None]] = nothing
    environment: Mapping[str, str] = field(default_factory=dict)


NOWHERE = "http://127.0.0.1:9/api"
DATABASE = "postgresql+psycopg://u@127.0.0.1:9/x"
FAULTS = (
    Fault("archive and store are away", ("archive archive", "store pacs"), "[[dicom.", "archive-down.md", Laboratory.orthanc_away),
    Fault("the watched folder is away", ("incoming folder",), "mount the share", "install.md", Laboratory.incoming_away),
    Fault("little room", ("disk",), "[disk]", "disk-full.md", environment={"SPHERO_DISK__WARN_BELOW_MIB": "9000000"}),
    Fault("no model", ("model",), "[model] bundle", "model-dies.md", environment={"SPHERO_MODEL__BUNDLE": "nowhere"}),
    Fault("no Prefect", ("prefect",), "[prefect] api_url", "prefect-down.md", environment={"SPHERO_PREFECT__API_URL": NOWHERE}),
    Fault("no database", ("database",), "[database] url", "database-down.md", environment={"SPHERO_DATABASE__URL": DATABASE}),
    Fault("a setting is misspelt", ("settings",), "sphero.toml", "service-down.md", environment={"SPHERO_DISK__STOP": "1"}),
    Fault("the LIS is away", ("lis lis",), "messages wait", "lis-down.md", lambda lab: _closed(lab.lis)),
)  # fmt: skip
"""The last cannot be mended."""


def walk(lab: Laboratory, doctor: Doctor) -> Iterator[tuple[Fault, dict[str, Line], float]]:
    """Break one thing after the other; gives what doctor says, and the seconds that it took."""
    for fault in FAULTS:
        with fault.broken(lab):
            begun = time.monotonic()
            said = doctor(lab.file, fault.environment)
            yield fault, said, time.monotonic() - begun


def failing(said: Mapping[str, Line]) -> set[str]:
    """The lines that say that something is wrong."""
    return {name for name, (state, _, _) in said.items() if state == "fail"}


def as_an_operator_does(file: Path, environment: Mapping[str, str]) -> dict[str, Line]:
    """Run `sphero doctor`."""
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", "doctor", "--json"],
        cwd=file.parent,
        env={**os.environ, "SPHERO_CONFIG": str(file), "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        timeout=300,
        check=False,
    )
    return {each["name"]: (each["state"], each["found"], each["remedy"]) for each in json.loads(done.stdout)}


def main() -> None:
    """Walk through them and print a table."""
    with tempfile.TemporaryDirectory() as folder, laboratory(Path(folder)) as lab:
        well = failing(as_an_operator_does(lab.file, {}))
        print(f"everything works: {len(well)} lines fail")
        for fault, said, seconds in walk(lab, as_an_operator_does):
            for name in sorted(failing(said)):
                _, found, remedy = said[name]
                print(f"{fault.name} ({fault.runbook}): {seconds:.1f} s: {name}: {found} -> {remedy}", flush=True)


if __name__ == "__main__":
    main()
