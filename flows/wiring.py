"""Every adapter, built from the settings: the only place that knows which class is used where."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from db.context import utc_now
from db.session import Database
from flows.analyse import CaseWork
from flows.archive_wiring import make_archive_senders, make_archiving
from flows.completion import Completion
from flows.deliver import AT_ONCE, Sender
from flows.dicom_accept import InstanceDesk
from flows.dicom_assembly import Assembly
from flows.dicom_folder import DicomFolder
from flows.dicom_stores import StoreLoop
from flows.disk import DiskGuard
from flows.duties import Duties, destination_duty
from flows.intake import Intake
from flows.message_pictures import MessagePictures
from flows.model_engine import engine_argument
from flows.model_process import ModelProcess
from flows.orders import OrderDesk
from flows.pictures import Pictures
from flows.places import Places
from flows.release import Release, ReleasePolicy
from flows.report_wiring import make_grader, make_message_reports
from flows.scanners import Scanners
from flows.services import Services
from flows.setting_types import TlsSection
from flows.settings import Destination, ListenerSettings, Settings
from flows.transports import BatchTransport, MllpTransport, Transport
from integrations.dicom.frames import FrameStore
from integrations.dicom.part10 import InstanceStore
from integrations.dicom.sandbox import Sandbox
from integrations.folder.memory import FileMemory
from integrations.folder.scanner import NoScanner, Scanner
from integrations.folder.staging import Staging
from integrations.hl7.ack import AckPolicy
from integrations.hl7.batch_file import BatchFolder
from integrations.hl7.escape import Charset
from integrations.hl7.listener import ListenerLimits, MllpListener
from integrations.hl7.mllp import Endpoint, MllpClient
from integrations.hl7.order import OrderRules
from integrations.hl7.profile import Profile
from integrations.hl7.profile_file import load_profile
from integrations.hl7.reception import Handler, Reception
from integrations.tls import ClientTls, TlsFiles
from sphero_core.bundle import resolve_bundle
from sphero_core.image import DEFAULT_LIMITS, probe_image
from sphero_core.types import ImageInfo

LEASE_MARGIN = 30.0
BATCH_SECONDS = 120.0  # what a file may take on a slow share
REAL_ENGINE = "flows.model_engine:load_engine"


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine the model process loads, and with what argument."""

    factory: str
    argument: str


def chosen_engine(settings: Settings) -> EngineChoice:
    """The real engine with bundle and limits of quality of the settings."""
    argument = engine_argument(resolve_bundle(settings.model.bundle), settings.quality.limits)
    return EngineChoice(REAL_ENGINE, argument)


def make_database(settings: Settings) -> Database:
    """Our database; nothing is opened yet."""
    return Database(settings.database.url)


def make_staging(places: Places) -> Staging:
    """From the watched folder into our store."""
    return Staging(
        incoming=places.incoming,
        store=places.store,
        quarantine=places.quarantine,
        inspect=probe_image,
        max_bytes=DEFAULT_LIMITS.max_bytes,
    )


def make_model(engine: EngineChoice, places: Places, inherit: tuple[int, ...] = ()) -> ModelProcess:
    """The model process, not started."""
    return ModelProcess(engine.factory, engine.argument, output=places.logs / "model.log", inherit=inherit)


def make_profile(settings: Settings, destination: Destination) -> Profile:
    """How messages for a destination are written.

    Raises
    ------
    ProfileError
        Names the file and every wrong key.
    """
    return load_profile(
        destination.profile,
        Path.cwd(),
        sending_application=settings.hl7.sending_application,
        sending_facility=settings.hl7.sending_facility or settings.site.name,
    )


def make_profiles(settings: Settings) -> dict[str, Profile]:
    """The profile of each destination; see `make_profile`."""
    return {destination.name: make_profile(settings, destination) for destination in settings.hl7.destination}


def make_endpoint(destination: Destination) -> Endpoint:
    """Where a destination listens."""
    return Endpoint(destination.name, destination.host, destination.port, ack_timeout=destination.ack_timeout_seconds)


def make_tls_files(section: TlsSection) -> TlsFiles:
    """The certificate files of a destination or of the listener."""
    return TlsFiles(section.ca_file, section.cert_file, section.key_file, section.key_password_file)


def make_client(destination: Destination, policy: AckPolicy | None = None) -> MllpClient:
    """The connection to a destination; nothing is opened yet.

    Raises
    ------
    TlsError
        If a certificate file cannot be used.
    """
    endpoint = make_endpoint(destination)
    if policy is not None:
        endpoint = replace(endpoint, application_ack=policy.wants_application_ack)
    if not destination.tls:
        return MllpClient(endpoint)
    files = make_tls_files(destination)
    files.client_context()  # here already: a wrong file is to stop the start, not each delivery
    return MllpClient(endpoint, tls=ClientTls(files, destination.server_name or destination.host))


def make_listener(settings: ListenerSettings, handler: Handler) -> MllpListener:
    """The listener for orders, not started.

    Raises
    ------
    TlsError
        If a certificate file cannot be used.
    """
    limits = ListenerLimits(max_connections=settings.max_connections, idle_seconds=settings.idle_seconds)
    files = make_tls_files(settings)
    if settings.tls:
        files.server_context()
    return MllpListener(
        handler,
        host=settings.host,
        port=settings.port,
        limits=limits,
        allowed=settings.allowed_addresses,
        tls=files.server_context if settings.tls else None,
        reception=Reception(handler, charset=Charset(settings.charset), max_segments=limits.max_segments),
    )


def make_transport(destination: Destination, policy: AckPolicy) -> tuple[Transport, float]:
    """The way to a destination, and how many seconds an attempt may take.

    Raises
    ------
    TlsError
        If a certificate file cannot be used.
    """
    if destination.kind == "batch" and destination.folder is not None:
        return BatchTransport(BatchFolder(destination.folder)), BATCH_SECONDS
    client = make_client(destination, policy)
    return MllpTransport(client, policy), client.endpoint.longest


def make_order_desk(settings: Settings, database: Database, released: Callable[[], None]) -> OrderDesk:
    """What the listener hands its messages to."""
    listener = settings.hl7.listener
    return OrderDesk(
        database=database,
        rules=OrderRules(
            accession_fields=listener.accession_fields,
            service_codes=frozenset(listener.service_codes),
            patient_authority=listener.patient_authority,
            default_authority=listener.default_authority,
        ),
        require_order=settings.hl7.require_order,
        time_zone=settings.time_zone,
        charset=Charset(listener.charset),
        clock=functools.partial(datetime.now, settings.time_zone),
        released=released,
    )


def make_senders(
    settings: Settings, database: Database, owner: str, profiles: Mapping[str, Profile], duties: Duties
) -> dict[str, Sender]:
    """One sender for each destination, and for each DICOM archive; none where this machine does not deliver."""
    if not settings.host.delivers:
        return {}
    senders = make_archive_senders(settings, database, owner, duties)
    for destination in settings.hl7.destination:
        transport, longest = make_transport(destination, profiles[destination.name].ack_policy)
        in_files = destination.kind == "batch"
        senders[destination.name] = Sender(
            name=destination.name,
            database=database,
            transport=transport,
            owner=owner,
            lease_seconds=longest + destination.gap_seconds + LEASE_MARGIN,
            clock=utc_now,
            gap_seconds=destination.gap_seconds,
            at_once=destination.batch_messages if in_files else AT_ONCE,
            patience_seconds=destination.batch_seconds if in_files else 0.0,
            permitted=duties.may(destination_duty(destination.name)),
        )
    return senders


def make_services(
    settings: Settings,
    places: Places,
    *,
    database: Database,
    staging: Staging,
    model: ModelProcess,
    senders: Mapping[str, Sender],
    stores: Mapping[str, StoreLoop],
    profiles: Mapping[str, Profile],
    pictures: Pictures,
    disk: DiskGuard,
    owner: str,
    duties: Duties,
    stopping: asyncio.Event,
    nudge: Callable[[], None],
) -> Services:
    """What the flows work with."""
    memory = FileMemory(places.taken)
    stable = settings.folder.stable_seconds
    assembly = Assembly(database, FrameStore(places.store, Sandbox()))
    scanner = (
        Scanner(places.incoming, stable_seconds=stable, clock=time.monotonic, memory=memory)
        if settings.folder.enabled
        else NoScanner()
    )
    intake = Intake(
        incoming=places.incoming,
        store=places.store,
        database=database,
        scanner=scanner,
        staging=staging,
        memory=memory,
        page_info=_page_info,
        dicom=DicomFolder(
            incoming=places.incoming,
            database=database,
            desk=InstanceDesk(database, InstanceStore(places.store, "folder"), check_room=disk.check),
            assembly=assembly,
        ),
    )
    completion = Completion(
        database=database,
        intake=intake,
        quiet_seconds=settings.folder.quiet_seconds,
        time_zone=settings.time_zone,
        clock=utc_now,
        require_order=settings.hl7.require_order,
        scanners=Scanners(settings.scanner),
    )
    work = CaseWork(
        database=database,
        store=places.store,
        release=Release(
            database=database,
            profiles=profiles,
            pictures=MessagePictures(file=pictures.file, url=settings.http_url),
            clock=functools.partial(datetime.now, settings.time_zone),
            policy=ReleasePolicy(settings.site.release_policy),
            archiving=make_archiving(settings, places, database),
            reports=make_message_reports(settings, places, database),
        ),
        pixel_aspect=settings.folder.pixel_aspect,
        grader=make_grader(settings),
        has_store=lambda: places.has_store,
    )
    return Services(
        settings=settings,
        places=places,
        database=database,
        intake=intake,
        assembly=assembly,
        completion=completion,
        work=work,
        model=model,
        senders=senders,
        disk=disk,
        stores=stores,
        owner=owner,
        duties=duties,
        picture_url=f"{settings.http_url}/pictures",
        scan_seconds=settings.folder.scan_seconds,
        stopping=stopping,
        nudge=nudge,
    )


def _page_info(path: Path, page: int) -> ImageInfo:
    return probe_image(path, frame=page)
