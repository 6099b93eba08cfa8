"""The DICOM systems that we call, built from the settings."""

from __future__ import annotations

import os
from datetime import timedelta

from flows.dicom_poll import Wanted
from flows.dicom_settings import PeerSettings, ReceiverSettings, StoreSettings
from flows.errors import SettingsError
from integrations.dicom.catalogue import IMAGE_CLASSES
from integrations.dicom.dicomweb import WebService, WebStore
from integrations.dicom.fetching import Store
from integrations.dicom.peer import Credentials, Entity
from integrations.tls import TlsFiles

MIB = 2**20


def make_credentials(peer: PeerSettings) -> Credentials:
    """How to sign in; files and variables are read anew each time, so that a changed password is taken up.

    Raises
    ------
    SettingsError
        Names the key whose file or variable cannot be read.
    """
    return Credentials(
        user=peer.user,
        password=_secret(peer, "password") if peer.user else "",
        token=_secret(peer, "token"),
    )


def _secret(peer: PeerSettings, what: str) -> str:
    file, variable = getattr(peer, f"{what}_file"), getattr(peer, f"{what}_variable")
    if variable:
        if variable not in os.environ:
            raise SettingsError(f"{peer.name}: {what}_variable names {variable}, which is not in the environment")
        return os.environ[variable]
    if file is None:
        return ""
    try:
        return str(file.read_text(encoding="utf-8").partition("\n")[0].strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(f"{peer.name}: {what}_file {file} cannot be read ({reason})") from None


def make_peer_tls(peer: PeerSettings) -> TlsFiles | None:
    """The certificate files of a system that we call; None in the clear."""
    return TlsFiles(peer.ca_file, peer.cert_file, peer.key_file, peer.key_password_file) if peer.tls else None


def make_entity(peer: PeerSettings) -> Entity:
    """An application entity that we call.

    Raises
    ------
    SettingsError
    """
    return Entity(
        host=peer.host,
        port=peer.port,
        ae_title=peer.ae_title,
        own_ae_title=peer.own_ae_title,
        connect_seconds=peer.connect_seconds,
        timeout_seconds=peer.timeout_seconds,
        tls=make_peer_tls(peer),
        server_name=peer.server_name,
        credentials=make_credentials(peer),
    )


def make_web_service(peer: PeerSettings) -> WebService:
    """A DICOMweb service that we call.

    Raises
    ------
    SettingsError
    """
    return WebService(
        url=peer.url,
        connect_seconds=peer.connect_seconds,
        timeout_seconds=peer.timeout_seconds,
        tls=make_peer_tls(peer),
        server_name=peer.server_name,
        credentials=make_credentials(peer),
    )


def make_web_store(peer: PeerSettings, *, page_size: int = 1, max_bytes: int = MIB) -> WebStore:
    """A DICOMweb service that is asked what it has.

    Raises
    ------
    SettingsError, TlsError
    """
    return WebStore(make_web_service(peer), page_size=page_size, max_bytes=max_bytes)


def make_store(settings: StoreSettings, receiver: ReceiverSettings) -> Store:
    """A store that is asked for images.

    Raises
    ------
    SettingsError, TlsError
    """
    most = settings.max_object_mib * MIB
    if settings.kind == "dicomweb":
        return make_web_store(settings, page_size=settings.page_size, max_bytes=most)
    from integrations.dicom.query import DimseStore  # brings pynetdicom, two seconds

    move_to = receiver.ae_title if settings.retrieve == "c-move" else ""
    return DimseStore(make_entity(settings), move_to=move_to, max_bytes=most)


def make_wanted(settings: StoreSettings) -> Wanted:
    """Which of its instances are wanted."""
    return Wanted(
        modalities=settings.modalities,
        sop_classes=frozenset(settings.sop_classes or IMAGE_CLASSES),
        days_back=settings.days_back,
        sweep_days=settings.sweep_days,
        sweep_every=timedelta(hours=settings.sweep_hours),
    )
