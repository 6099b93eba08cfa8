"""The main job end to end on a case that is drawn: what `sphero demo` shows.

Everything is the real thing: the service with its Prefect server, the shipped model, the database, and a simulated LIS
that listens on a port. Only the smear is drawn.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from db.states import MessageState
from db.views import MessageView
from flows.analyse import CaseResult
from flows.config import FILE_NAME, load_settings
from flows.errors import ServiceError
from flows.service import Service
from flows.settings import Settings
from integrations.errors import AckUnreadable
from integrations.hl7.ack import AckCode, read_ack
from integrations.hl7.simulator import LisSimulator
from sphero_core.synthetic import SmearStyle
from sphero_core.synthetic_case import SyntheticCase, write_synthetic_case

FIELDS = 4
STYLE = SmearStyle(width=1280, height=960, red_cells=130, overlap=0.08, platelets=8)
LOOPBACK = "127.0.0.1"
PREFERRED_PORTS = {"prefect": 4200, "http": 8080, "lis": 2575}

_TOML = """\
# Settings of a demonstration; `sphero up` with SPHERO_CONFIG naming this file runs the service on its data again.

[site]
name = "DEMO"

[paths]
data = "data"

[folder]
scan_seconds = 0.5
stable_seconds = 0.5
quiet_seconds = 5.0

[prefect]
port = {prefect}

[http]
port = {http}

[[hl7.destination]]
name = "lis"
host = "127.0.0.1"
port = {lis}
"""


@dataclass(frozen=True, slots=True, eq=False)
class Demonstration:
    """What happened.

    Attributes
    ----------
    settings : Settings
    drawn : SyntheticCase
    result : CaseResult
    message : MessageView
    overlays : tuple of Path
    """

    settings: Settings
    drawn: SyntheticCase
    result: CaseResult
    message: MessageView
    overlays: tuple[Path, ...]

    @property
    def acknowledged(self) -> bool:
        """Whether the LIS accepted the message by its own control id."""
        try:
            ack = read_ack(self.message.ack or b"")
        except AckUnreadable:
            return False
        return ack.code is AckCode.AA and ack.control_id == self.message.control_id


def demonstrate(workdir: Path, say: Callable[[str], None], *, seconds: float = 240.0) -> Demonstration:
    """Draw a case, start a LIS and the service, wait for the acknowledgement, and end everything again.

    Parameters
    ----------
    workdir : Path
        Made if missing; what it holds already stays, and the new case joins it.
    say : callable
        Told what is being done.
    seconds : float
        Until the case must be delivered, once the service is ready.

    Raises
    ------
    ServiceError, ModelError, PrefectUnavailable, DatabaseError
    """
    settings = prepare(workdir)
    destination = settings.hl7.destination[0]
    with LisSimulator(destination.port, out=workdir / "lis") as lis:
        service = Service(settings)
        try:
            say("drawing a case")
            drawn, folder = draw(workdir)
            service.start(lambda part: say(f"starting: {part}"))
            say("the case goes its way")
            folder.rename(settings.incoming / folder.name)
            message = _wait_for_delivery(service, folder.name, seconds)
            if not lis.messages:
                raise ServiceError("the message is told to be delivered, but the LIS has none")
            return _told(service, drawn, message)
        finally:
            say("ending")
            service.stop()


def prepare(workdir: Path) -> Settings:
    """Write the demonstration's settings, with ports that are free, and read them."""
    workdir.mkdir(parents=True, exist_ok=True)
    file = workdir / FILE_NAME
    ports = {
        name: port if _is_free(port) else _free_port() for name, port in (_ports_in(file) or PREFERRED_PORTS).items()
    }
    file.write_text(_TOML.format(**ports), encoding="utf-8")
    return load_settings(file.absolute())


def draw(workdir: Path) -> tuple[SyntheticCase, Path]:
    """Draw a case into a folder beside the incoming one, so that it can be moved there at once."""
    number = f"DEMO-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder, truth = workdir / "drawn" / number, workdir / "drawn" / f"{number}.coco.json"
    drawn = write_synthetic_case(folder, secrets.randbits(31), FIELDS, style=STYLE, truth=truth)
    manifest = {
        "placer_order": f"PL-{number}",
        "expected_fields": FIELDS,
        "collected": datetime.now(UTC).isoformat(timespec="seconds"),
        "patient": {"id": "123456", "issuer": "DEMO", "family": "Muster", "given": "Erika", "birth_date": "1980-01-01"},
    }
    (folder / "case.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    return drawn, folder


def _wait_for_delivery(service: Service, accession: str, seconds: float) -> MessageView:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with service.database.reading() as work:
            case_id = work.identities.find(accession)
            messages = work.outbox.of_case(case_id) if case_id else ()
            case = work.cases.get(case_id) if case_id else None
        if messages and messages[0].state is MessageState.DELIVERED:
            return messages[0]
        if case is not None and case.hold_reasons:
            raise ServiceError(f"the case is held: {', '.join(case.hold_reasons)}")
        if messages and messages[0].state is MessageState.PARKED:
            raise ServiceError(f"the LIS refused the message: {messages[0].reason}")
        time.sleep(0.1)
    raise ServiceError(f"the case was not delivered within {seconds:g} s; see {service.places.logs}")


def _told(service: Service, drawn: SyntheticCase, message: MessageView) -> Demonstration:
    from flows.analyse import read_result

    with service.database.reading() as work:
        result = read_result(work, message.case_id)
        pictures = work.reports.pictures_of(message.case_id)
    overlays = tuple(service.pictures.file(picture.picture_id) for picture in pictures)
    if result is None:
        raise ServiceError("the message was sent without a report; this is a fault of the program")
    return Demonstration(service.settings, drawn, result, message, overlays)


def _ports_in(file: Path) -> dict[str, int] | None:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
        return {
            "prefect": int(values["prefect"]["port"]),
            "http": int(values["http"]["port"]),
            "lis": int(values["hl7"]["destination"][0]["port"]),
        }
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def relative(path: Path) -> str:
    """A path as it is typed from here."""
    return os.path.relpath(path)
