"""Everything that brings results to DICOM archives, built from the settings.

What speaks DICOM is imported where it is made: pynetdicom takes two seconds, and most sites have no such archive.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from db.context import utc_now
from db.session import Database
from flows.archive import ArchivePlan, Archiving
from flows.archive_objects import Tools
from flows.archive_transport import ArchiveClient, ArchiveTransport
from flows.deliver import Sender
from flows.dicom_settings import ArchiveSettings
from flows.dicom_wiring import make_entity, make_web_service
from flows.duties import Duties, destination_duty
from flows.errors import PortTaken, SettingsError
from flows.places import Places, places_of
from flows.settings import Settings
from integrations.dicom.codes import CodeBook, Concept
from integrations.dicom.evidence import ObjectKind, Software
from integrations.dicom.object_store import ObjectStore
from integrations.dicom.storing import longest_attempt
from integrations.dicom.stow import StowClient
from integrations.errors import ObjectRefused
from integrations.tls import TlsFiles

if TYPE_CHECKING:
    from flows.commitments import Commitments
    from integrations.dicom.commitment import CommitmentReport
    from integrations.dicom.commitment_listener import CommitmentListener

LARGEST_BYTES = 256 * 1024 * 1024  # an uncompressed field of 85 megapixels; the lease covers sending it
LEASE_MARGIN = 30.0
AT_ONCE = 10


def make_code_book(settings: Settings) -> CodeBook:
    """Our codes with those of the site.

    Raises
    ------
    SettingsError
        Names the key.
    """
    mapped = {}
    for name, (value, scheme, meaning) in settings.dicom.codes.items():
        try:
            mapped[name] = Concept(value, scheme, meaning)
        except ObjectRefused as error:
            raise SettingsError(f"[dicom.codes] {name}: {error}") from None
    try:
        return CodeBook(mapped)
    except ObjectRefused as error:
        raise SettingsError(f"[dicom.codes] {error}") from None


def make_archiving(settings: Settings, places: Places, database: Database) -> Archiving:
    """What makes and queues the objects of cases.

    Raises
    ------
    SettingsError
    """
    return Archiving(
        database=database,
        tools=Tools(
            store=places.store,
            objects=ObjectStore(places.objects),
            software=Software(version("spheroflow"), institution=settings.site.name[:64]),
            codes=make_code_book(settings),
            pixel_aspect=settings.folder.pixel_aspect,
        ),
        archives={
            each.name: ArchivePlan(frozenset(ObjectKind(kind) for kind in each.objects), each.commitment)
            for each in settings.dicom.archive
        },
    )


def make_archive_client(archive: ArchiveSettings) -> ArchiveClient:
    """The connection to an archive; nothing is opened yet.

    Raises
    ------
    SettingsError, TlsError
    """
    if archive.kind == "dicomweb":
        return StowClient(make_web_service(archive))
    from integrations.dicom.store_scu import StoreScu

    return StoreScu(make_entity(archive))


def make_archive_senders(settings: Settings, database: Database, owner: str, duties: Duties) -> dict[str, Sender]:
    """One sender for each archive.

    Raises
    ------
    SettingsError, TlsError
    """
    objects = ObjectStore(places_of(settings).objects)
    return {
        archive.name: Sender(
            name=archive.name,
            database=database,
            transport=ArchiveTransport(make_archive_client(archive), objects),
            owner=owner,
            lease_seconds=longest_attempt(archive.timeout_seconds, LARGEST_BYTES)
            + archive.connect_seconds
            + LEASE_MARGIN,
            clock=utc_now,
            at_once=AT_ONCE,
            permitted=duties.may(destination_duty(archive.name)),
        )
        for archive in settings.dicom.archive
    }


class Archives:
    """What archives need beside their senders: files that nothing names are removed, and commitments asked for."""

    def __init__(self, settings: Settings, places: Places, database: Database, duties: Duties) -> None:
        self._archiving = make_archiving(settings, places, database)
        confirms = any(each.commitment for each in settings.dicom.archive)
        self._commitments = make_commitments(settings, database, duties) if confirms else None
        section = settings.dicom.commitment
        self._address = f"{section.host}:{section.port}"

    def start(self) -> None:
        """Begin.

        Raises
        ------
        PortTaken, TlsError, DatabaseError
        """
        self._archiving.sweep(time.time())
        if self._commitments is None:
            return
        try:
            self._commitments.start()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PortTaken(f"{self._address} cannot be listened on ({reason}); see [dicom.commitment]") from None

    def stop(self) -> None:
        """End."""
        if self._commitments is not None:
            self._commitments.stop()


def make_commitments(settings: Settings, database: Database, duties: Duties) -> Commitments:
    """What asks archives whether they keep what they took; nothing is opened yet."""
    from flows.commitments import Commitments
    from integrations.dicom.commitment_listener import CommitmentListener

    confirming: Mapping[str, ArchiveSettings] = {each.name: each for each in settings.dicom.archive if each.commitment}
    section = settings.dicom.commitment

    def listener(on_report: Callable[[CommitmentReport], None]) -> CommitmentListener:
        tls = TlsFiles(section.ca_file, section.cert_file, section.key_file, section.key_password_file)
        return CommitmentListener(
            on_report,
            ae_title=section.ae_title,
            host=section.host,
            port=section.port,
            allowed_ae_titles=[each.ae_title for each in confirming.values()],
            tls=tls if section.tls else None,
        )

    return Commitments(
        database=database,
        entities={name: functools.partial(make_entity, each) for name, each in confirming.items()},
        make_listener=listener,
        patience_seconds=section.patience_seconds,
        clock=utc_now,
        permitted=lambda name: duties.holds(destination_duty(name)),
    )
