"""What `sphero doctor` and `sphero dicom echo` look at: the receiver, each store, each archive."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

from db.errors import DatabaseError
from db.session import Database
from db.upgrade import SchemaState
from flows.dicom_settings import ArchiveSettings, PeerSettings, ReceiverSettings, StoreSettings
from flows.dicom_wiring import make_entity, make_store, make_web_store
from flows.errors import SettingsError
from flows.findings import Check, is_loopback
from flows.log import tell
from flows.setting_types import TlsSection
from flows.settings import Settings
from integrations.dicom.peer import echo
from integrations.errors import IntegrationError

CONNECT_SECONDS = 5.0
Certificates = Callable[[str, TlsSection], Iterator[Check]]


def dicom_checks(settings: Settings, certificates: Certificates) -> Iterator[Check]:
    """Look at everything of DICOM that is set.

    Parameters
    ----------
    certificates : callable
        Looks at the certificate files of a section.
    """
    dicom = settings.dicom
    if dicom.receiver.enabled:
        yield from certificates("tls receiver", dicom.receiver)
        yield receiver_check(dicom.receiver)
    for store in dicom.store:
        yield from certificates(f"tls {store.name}", store)
        yield peer_check(store, dicom.receiver)
        yield from _failures(settings, store)
    for archive in dicom.archive:
        yield from certificates(f"tls {archive.name}", archive)
        yield peer_check(archive, dicom.receiver)


def receiver_check(receiver: ReceiverSettings) -> Check:
    """Whether images are taken, or could be."""
    where = f"{receiver.ae_title} at {receiver.host}:{receiver.port}"
    family = socket.AF_INET6 if ":" in receiver.host else socket.AF_INET
    try:
        socket.create_server((receiver.host, receiver.port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return Check("receiver", "ok", f"{where} is listened on")
        reason = error.strerror or type(error).__name__
        return Check(
            "receiver", "fail", f"{where} cannot be listened on ({reason})", "see [dicom.receiver] host and port"
        )
    open_to_all = not receiver.allowed_addresses and not receiver.tls and not is_loopback(receiver.host)
    if open_to_all:
        found = f"{where} takes images from every address, in the clear"
        return Check("receiver", "note", found, "set [dicom.receiver] allowed_addresses, or tls with ca_file")
    return Check("receiver", "note", f"{where} is free", "`sphero up` listens there")


def peer_check(peer: PeerSettings, receiver: ReceiverSettings) -> Check:
    """Whether a store or an archive answers and lets us in: C-ECHO and what it offers us, or QIDO-RS."""
    kind = {StoreSettings: "store", ArchiveSettings: "archive"}.get(type(peer), "peer")
    remedies = {
        "store": f"see [[dicom.store]] {peer.name}; its images stay there",
        "archive": f"see [[dicom.archive]] {peer.name}; results wait",
        "peer": "see the address, and its settings for us",
    }
    try:
        _ask(peer, receiver)
    except (SettingsError, IntegrationError) as error:
        return Check(f"{kind} {peer.name}", "fail", tell(error), remedies[kind])
    if peer.user and not peer.tls and not is_loopback(peer.host or peer.url.split("/")[2].partition(":")[0]):
        return Check(f"{kind} {peer.name}", "note", f"{peer.address} gets the password in the clear", "use TLS")
    return Check(f"{kind} {peer.name}", "ok", f"{peer.address} answers {_what(peer)}")


def _ask(peer: PeerSettings, receiver: ReceiverSettings) -> None:
    if isinstance(peer, StoreSettings):
        with closing(make_store(peer, receiver)) as store:
            store.check()
    elif peer.kind == "dimse":
        echo(make_entity(peer))
    else:
        with closing(make_web_store(peer)) as store:
            store.check()


def _what(peer: PeerSettings) -> str:
    if peer.kind == "dicomweb":
        return "QIDO-RS"
    if isinstance(peer, ArchiveSettings):
        return "C-ECHO"
    return "C-ECHO, and offers C-FIND with " + str(getattr(peer, "retrieve", "")).upper()


def _failures(settings: Settings, store: StoreSettings) -> Iterator[Check]:
    database = Database(settings.database.url, busy_seconds=CONNECT_SECONDS)
    try:
        if database.check().state is not SchemaState.CURRENT:
            return
        with database.reading() as work:
            found = work.cursors.failures(store.name)
    except DatabaseError:
        return
    finally:
        database.close()
    if found:
        told = f"{len(found)} images did not come; the last reason: {found[0].reason}"
        yield Check(
            f"images {store.name}", "note", told, "they are tried again, at last once a day; see the store's log"
        )
