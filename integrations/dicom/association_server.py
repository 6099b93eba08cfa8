"""The connections of a DICOM server: who may connect, TLS, and an end for everything that a peer begins.

pynetdicom 3.0.4 serves each association in threads of its own, but shakes hands under TLS in its one accepting thread,
waits for ever for the rest of a PDU, and gathers whatever is sent. Here the handshake happens in the connection's own
thread with a deadline; what is put in pynetdicom's place for the rest stands in `integrations.dicom.pdus` and
`integrations.dicom.messages`.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import evt
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from integrations.addresses import Network, is_admitted
from integrations.dicom.limits import AssociationLimits
from integrations.dicom.memory import Memories
from integrations.dicom.messages import Messages
from integrations.dicom.pdus import Connection, Outgoing, PduReader
from integrations.errors import TlsError
from integrations.wire import prepare

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.0002  # between two turns
_BACKLOG = 64
_MOST_TOLD = 1000
_SLACK = 8  # connections beyond the associations: those are told so in DICOM, which needs a connection


@dataclass(slots=True)
class Gate:
    """Who may connect, and how.

    Attributes
    ----------
    limits : AssociationLimits
    allowed : tuple of networks
        Empty for all.
    tls : callable or None
        Gives the server's context for each connection, so that a renewed certificate is taken up.
    """

    limits: AssociationLimits = field(default_factory=AssociationLimits)
    allowed: tuple[Network, ...] = ()
    tls: Callable[[], ssl.SSLContext] | None = None
    _told: set[str] = field(default_factory=set)

    def tell_once(self, what: str) -> None:
        """Log what a scan of ports must not fill the log with."""
        if what not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(what)
            log.warning("%s", what)


class AssociationServer(ThreadedAssociationServer):  # type: ignore[misc]
    """Accepts connections; each is served in threads of its own.

    Parameters
    ----------
    gate : Gate
    others
        As of pynetdicom, which makes it (`ApplicationEntity.make_server`).
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = _BACKLOG

    def __init__(self, *arguments: Any, gate: Gate, **named: Any) -> None:
        self.gate = gate
        self._shaking = 0
        self._counted = threading.Lock()
        self.memories = Memories()
        super().__init__(*arguments, request_handler=_Handler, **named)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept, and nothing more: what takes time happens in `process_request_thread`."""
        connection, address = self.socket.accept()
        return connection, address

    def verify_request(self, request: socket.socket, client_address: Any) -> bool:
        """Whether a connection is served at all; else it is closed at once."""
        peer = client_address[0]
        if not is_admitted(peer, self.gate.allowed):
            self.gate.tell_once(f"connections from {peer} are closed: the address is not in allowed_addresses")
            return False
        with self._counted:
            shaking = self._shaking
        if shaking + len(self.active_associations) >= self.gate.limits.max_associations + _SLACK:
            self.gate.tell_once(f"connections from {peer} are closed: too many are open already")
            return False
        prepare(request)
        return True

    def process_request_thread(self, request: socket.socket, client_address: Any) -> None:
        """Shake hands and begin the association; runs in a thread of the connection."""
        peer = client_address[0]
        with self._counted:
            self._shaking += 1
        try:
            self.finish_request(self._secured(request), client_address)
        except (TlsError, OSError) as error:
            reason = str(error) if isinstance(error, TlsError) else _words(error)
            log.warning("the connection from %s was closed: %s", peer, reason)
            self.shutdown_request(request)
        except Exception as error:  # noqa: BLE001  # the edge: one connection must not end the thread with a traceback
            log.error("the connection from %s was closed: unexpected %s", peer, type(error).__name__)  # noqa: TRY400
            self.shutdown_request(request)
        finally:
            with self._counted:
                self._shaking -= 1

    def _secured(self, request: socket.socket) -> socket.socket:
        if self.gate.tls is None:
            return request
        request.settimeout(self.gate.limits.handshake_seconds)
        # OpenSSL reads as often as the peer sends: the socket's time limit alone would begin anew with each byte.
        watchdog = threading.Timer(self.gate.limits.handshake_seconds, _cut, [request])
        watchdog.daemon = True
        watchdog.start()
        secured = self.gate.tls().wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        try:
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        finally:
            watchdog.cancel()
        return secured

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the base class's signature
        """Say that a connection could not be served; the base class would print a traceback."""
        log.warning("a connection from %s could not be served", client_address[0])


class _Handler(RequestHandler):  # type: ignore[misc]
    """Begins an association, with our connection, reader and collector of messages in place of pynetdicom's."""

    server: AssociationServer

    def _create_association(self) -> Any:
        association = super()._create_association()
        limits = self.server.gate.limits
        association.dul.socket = Connection(association.dul.socket, limits)
        association.dul.to_provider_queue = Outgoing(association.dul.socket)
        association.dimse = Messages(association, limits, self.server.memories)
        association.dul._read_pdu_data = PduReader(association, limits)  # noqa: SLF001  # the one place where PDUs come in
        association.dul._run_loop_delay = _PAUSE_SECONDS  # noqa: SLF001  # `Connection.ready` waits instead
        association.bind(evt.EVT_CONN_CLOSE, _give_up_waiting)
        return association


def _give_up_waiting(event: Any) -> None:
    """Free the place of a peer that left without asking for an association; pynetdicom keeps it as long as asking may take."""
    if event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(None)


def _cut(request: socket.socket) -> None:
    """End a connection under a thread that reads from it."""
    try:
        socket.socket.shutdown(request, socket.SHUT_RDWR)
    except OSError:
        log.debug("a connection ended by itself at its deadline")


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no TLS handshake in time"
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed ({(error.reason or 'no reason given').lower().replace('_', ' ')})"
    return error.strerror or type(error).__name__
