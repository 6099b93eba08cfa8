"""What `sphero doctor` looks at: one thing each, with what to do where it is not well."""

from __future__ import annotations

import errno
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from db.context import utc_now
from db.errors import DatabaseError
from db.session import Database
from db.upgrade import SchemaState
from flows.database_checks import database_checks
from flows.dicom_checks import dicom_checks
from flows.disk import free_space
from flows.findings import Check, is_loopback
from flows.host_checks import host_checks
from flows.log import tell
from flows.prefect_server import answers
from flows.roles import own_share
from flows.scanners import Scanners
from flows.security_checks import security_checks
from flows.setting_types import TlsListenerSection, TlsSection
from flows.settings import Destination, ListenerSettings, Settings
from flows.wiring import make_client, make_profile, make_tls_files
from integrations.errors import Hl7Error, TlsError
from integrations.hl7.message import build_message
from integrations.hl7.profile import SendPictures
from integrations.hl7.sample import SAMPLES
from integrations.tls import validities
from sphero_core.bundle import load_bundle, resolve_bundle
from sphero_core.errors import BundleError

CONNECT_SECONDS = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EXPIRES_SOON = timedelta(days=30)


def checks(settings: Settings) -> Iterator[Check]:
    """Look at everything that is this machine's, one after the other."""
    settings = own_share(settings)
    yield _bundle(settings)
    yield _disk(settings)
    yield from security_checks(settings)
    yield _folder("data folder", settings.data, "set [paths] data to a folder of the service's user")
    if settings.folder.enabled:
        yield _folder(
            "incoming folder", settings.incoming, "set [folder] path, mount the share, give the user its rights"
        )
    yield from Scanners(settings.scanner).checks()
    yield from database_checks(settings)
    yield from host_checks(settings)
    yield _prefect(settings)
    if not settings.hl7.destination:
        yield Check("lis", "note", "no destination is set: results stay here", "add [[hl7.destination]] to sphero.toml")
    for destination in settings.hl7.destination:
        yield _profile(settings, destination)
        yield from checks_of_certificates(f"tls {destination.name}", destination)
        yield destination_check(destination)
        yield from _waiting(settings, destination)
    if settings.hl7.listener.enabled:
        yield from checks_of_certificates("tls listener", settings.hl7.listener)
        yield listener_check(settings.hl7.listener)
    elif settings.hl7.require_order:
        found = "[hl7] require_order is set, but no orders come in: every case is held"
        yield Check("orders", "fail", found, "set [hl7.listener] enabled = true")
    yield from checks_of_certificates("tls http", settings.http)
    yield from dicom_checks(settings, checks_of_certificates)


def _bundle(settings: Settings) -> Check:
    try:
        bundle = load_bundle(resolve_bundle(settings.model.bundle))
    except (BundleError, OSError) as error:
        return Check("model", "fail", tell(error), "set [model] bundle, or install the program anew")
    return Check("model", "ok", f"{bundle.id.name} {bundle.id.version}, SHA-256 {bundle.id.sha256[:12]}")


def _disk(settings: Settings) -> Check:
    name, free = min(free_space(settings).items(), key=lambda item: item[1])
    found = f"{free / 1024**3:.1f} GiB free for: {name}"
    remedy = "free some, or move it to a larger disk, see [paths] data and [disk]"
    if free < settings.disk.stop_bytes:
        return Check("disk", "fail", f"{found}; nothing is taken in", remedy)
    if free < settings.disk.warn_bytes:
        return Check("disk", "fail", f"{found}; less than [disk] warn_below_mib", remedy)
    return Check("disk", "ok", found)


def _folder(name: str, folder: Path, remedy: str) -> Check:
    if not folder.exists():
        return Check(name, "note", f"{folder} is not there yet", "`sphero up` makes it")
    try:
        with tempfile.TemporaryFile(dir=folder):
            next(folder.iterdir(), None)
    except OSError as error:
        return Check(name, "fail", f"{folder} cannot be used ({error.strerror})", remedy)
    return Check(name, "ok", str(folder))


def _prefect(settings: Settings) -> Check:
    there = answers(settings.prefect_api_url, CONNECT_SECONDS)
    if there:
        return Check("prefect", "ok", f"answers at {settings.prefect_ui_url}")
    if settings.embedded_prefect:
        return Check("prefect", "note", "does not run", "`sphero up` starts it")
    remedy = "see [prefect] api_url; it ends in /api"
    return Check("prefect", "fail", f"does not answer at {settings.prefect_api_url}", remedy)


def _profile(settings: Settings, destination: Destination) -> Check:
    name = f"profile {destination.name}"
    try:
        profile = make_profile(settings, destination)
        for sample in SAMPLES.values():
            build_message(sample, profile, destination.name)
    except Hl7Error as error:
        return Check(name, "fail", tell(error), "correct it; `sphero init` writes one with every key")
    told_otherwise = profile.pictures.url or settings.http.public_url
    if profile.pictures.send is SendPictures.POINTER and not told_otherwise and settings.http.host in LOOPBACK:
        remedy = "set [pictures] url in the profile, or [http] host"
        return Check(name, "note", f"{profile.name}: pictures point to {settings.http_url}, this machine only", remedy)
    if profile.report.send is SendPictures.POINTER and not settings.review.user_header:
        remedy = (
            "set [review] user_header to the header in which your identity provider puts the login, or embed the report"
        )
        return Check(name, "fail", f"{profile.name}: reports are pointed to, but who reads one cannot be known", remedy)
    return Check(name, "ok", f"{profile.name}: {profile.message}, HL7 {profile.version}, {profile.charset.value}")


def destination_check(destination: Destination) -> Check:
    """Connect to a destination, without sending anything."""
    name = f"lis {destination.name}"
    if destination.folder is not None:
        return _batch_folder(name, destination.folder)
    where = f"{destination.host}:{destination.port}"
    try:
        with make_client(destination) as client:
            problem, server = client.probe(), client.peer_validity()
    except TlsError as error:
        return Check(name, "fail", tell(error), "correct the files of [[hl7.destination]]; messages wait")
    if problem is not None:
        keys = "host, port, server_name, ca_file and cert_file" if destination.tls else "host and port"
        remedy = f"see [[hl7.destination]] {keys}, the firewall, and whether the interface engine runs; messages wait"
        return Check(name, "fail", f"{where} cannot be reached ({problem})", remedy)
    if server is not None and server.ends - utc_now() < EXPIRES_SOON:
        return Check(name, "note", f"its certificate expires on {server.ends:%Y-%m-%d}", "have the receiver renew it")
    return Check(name, "ok", f"{where} takes connections{' under TLS' if destination.tls else ''}")


def _batch_folder(name: str, folder: Path) -> Check:
    remedy = "see [[hl7.destination]] folder, mount the share, give the service's user its rights; messages wait"
    if not folder.is_dir():
        return Check(name, "fail", f"{folder} is not there", remedy)
    check = _folder(name, folder, remedy)
    return replace(check, found=f"{folder} takes files") if check.state == "ok" else check


def listener_check(listener: ListenerSettings) -> Check:
    """Whether orders are taken, or could be."""
    where = f"{listener.host}:{listener.port}"
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    try:
        socket.create_server((listener.host, listener.port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return Check("orders", "ok", f"{where} is listened on")
        reason = error.strerror or type(error).__name__
        return Check("orders", "fail", f"{where} cannot be listened on ({reason})", "see [hl7.listener] host and port")
    if not listener.allowed_addresses and not listener.tls and not is_loopback(listener.host):
        found = f"{where} takes orders from every address, in the clear"
        return Check("orders", "note", found, "set [hl7.listener] allowed_addresses, or tls with ca_file")
    return Check("orders", "note", f"{where} is free", "`sphero up` listens there")


def checks_of_certificates(name: str, section: TlsSection) -> Iterator[Check]:
    """Of each file that holds certificates, the one that expires first."""
    if not section.tls:
        return
    files = make_tls_files(section)
    try:
        found = list(validities(files))
        if isinstance(section, TlsListenerSection):
            files.server_context()
        else:
            files.client_context()
    except TlsError as error:
        yield Check(name, "fail", tell(error), "correct it, or have the certificate issued anew")
        return
    now = utc_now()
    for key in dict.fromkeys(each.key for each in found):
        first = min((each for each in found if each.key == key), key=lambda each: each.ends)
        if first.begins > now:
            yield Check(name, "fail", f"{key} is valid from {first.begins:%Y-%m-%d} on only", "see the machine's clock")
        elif first.ends <= now:
            yield Check(
                name, "fail", f"{key} has expired on {first.ends:%Y-%m-%d}", "have it renewed; no restart needed"
            )
        elif first.ends - now < EXPIRES_SOON:
            yield Check(name, "note", f"{key} expires on {first.ends:%Y-%m-%d}", "have it renewed; no restart needed")
        else:
            yield Check(name, "ok", f"{key} is valid until {first.ends:%Y-%m-%d}")


def _waiting(settings: Settings, destination: Destination) -> Iterator[Check]:
    try:
        counts = _counts(settings, destination)
    except DatabaseError:
        return
    if counts.get("parked"):
        yield Check(
            f"outbox {destination.name}",
            "fail",
            f"{counts['parked']} messages were refused",
            "`sphero message list --state parked`",
        )


def _counts(settings: Settings, destination: Destination) -> dict[str, int]:
    database = Database(settings.database.url, busy_seconds=CONNECT_SECONDS)
    try:
        if database.check().state is not SchemaState.CURRENT:
            return {}
        with database.reading() as work:
            return {state.value: count for state, count in work.outbox.summary(destination.name).counts.items()}
    finally:
        database.close()
