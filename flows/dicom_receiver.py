"""The DICOM receiver: its settings, the store and the database behind it, and what senders are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from db.errors import DatabaseError
from db.instance_views import InstanceOutcome
from db.session import Database
from flows.dicom_accept import InstanceDesk
from flows.dicom_pledges import PledgeDesk
from flows.dicom_settings import ReceiverSettings
from flows.log import tell
from integrations.addresses import parse_networks
from integrations.dicom.association_server import Gate
from integrations.dicom.limits import AssociationLimits
from integrations.dicom.part10 import EncodedInstance, InstanceStore
from integrations.dicom.pledge import Requester
from integrations.dicom.store_scp import StoreScp
from integrations.errors import InstanceConflict, InstanceNotTaken, StoreError
from integrations.tls import TlsFiles

SOURCE = "receiver"
_MIB = 1024 * 1024


def _no_checkpoint(_step: str) -> None:
    pass


class DicomReceiver:
    """Takes instances into our store and database.

    Parameters
    ----------
    settings : ReceiverSettings
    database : Database
        With its tables.
    store : Path
        Root of our store.
    port : int or None
        Instead of that of the settings; 0 for any free one.
    check_room : callable
        Raises `StoreFull` while nothing may be taken in: senders are told to try again (0xA700).
    checkpoint : callable
        Called with each step of `integrations.dicom.part10` and `flows.dicom_accept`, so that tests can stop there.

    Raises
    ------
    TlsError
        A certificate file cannot be used.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        database: Database,
        store: Path,
        *,
        port: int | None = None,
        check_room: Callable[[], None] = lambda: None,
        checkpoint: Callable[[str], None] = _no_checkpoint,
    ) -> None:
        self._store = InstanceStore(store, SOURCE, checkpoint=checkpoint)
        self._desk = InstanceDesk(database, self._store, check_room=check_room, checkpoint=checkpoint)
        self._scp = StoreScp(
            self._take,
            title=settings.ae_title,
            host=settings.host,
            port=settings.port if port is None else port,
            callers=settings.allowed_ae_titles,
            gate=make_gate(settings),
            ask=self._ask,
        )
        self._pledges = PledgeDesk(
            database,
            store,
            requesters=make_requesters(settings),
            own_title=settings.ae_title,
            open_association=self._scp.open_association,
        )

    @property
    def port(self) -> int:
        """Where it listens, once it is started."""
        return self._scp.port

    @property
    def is_listening(self) -> bool:
        """Whether peers can connect."""
        return self._scp.is_listening

    def start(self) -> None:
        """Remove what a killed receiver left half written, and listen.

        Raises
        ------
        OSError
            The address cannot be had.
        StoreError
        """
        self._store.prepare()
        self._scp.start()
        self._pledges.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Take no more; an instance in hand is still answered, within `seconds`."""
        self._pledges.stop(seconds / 2)
        self._scp.stop(seconds)

    def _ask(self, requester: str, transaction_uid: str, references: tuple[tuple[str, str], ...]) -> None:
        self._pledges.ask(requester, transaction_uid, references)

    def _take(self, instance: EncodedInstance, caller: str) -> None:
        try:
            received = self._desk.accept(instance, source=SOURCE, calling_ae=caller)
        except (StoreError, DatabaseError) as error:
            raise InstanceNotTaken(tell(error)) from None
        if received.outcome is InstanceOutcome.CONFLICT:
            raise InstanceConflict("another instance has this SOP instance UID; both are kept")


def make_requesters(settings: ReceiverSettings) -> dict[str, Requester]:
    """Where answers to requests for commitment go to, by AE title.

    Raises
    ------
    TlsError
        A certificate file cannot be used.
    """
    return {
        each.ae_title: Requester(
            each.ae_title, each.host, each.port, tls=_files(settings).client_context() if each.tls else None
        )
        for each in settings.requester
    }


def _files(settings: ReceiverSettings) -> TlsFiles:
    return TlsFiles(settings.ca_file, settings.cert_file, settings.key_file, settings.key_password_file)


def make_gate(settings: ReceiverSettings) -> Gate:
    """Who may connect to the receiver, and how.

    Raises
    ------
    TlsError
        A certificate file cannot be used.
    """
    files = _files(settings)
    if settings.tls:
        files.server_context()  # here already: a wrong file is to stop the start, not each connection
    return Gate(
        limits=AssociationLimits(
            max_associations=settings.max_associations,
            max_data_set_bytes=settings.max_object_mib * _MIB,
            handshake_seconds=settings.handshake_seconds,
            idle_seconds=settings.idle_seconds,
            pdu_seconds=min(AssociationLimits().pdu_seconds, settings.idle_seconds),
        ),
        allowed=parse_networks(settings.allowed_addresses),
        tls=files.server_context if settings.tls else None,
    )
