"""The connections of a DICOM server: who may connect, TLS, and an end for everything that a peer begins.

pynetdicom 3.0.4 serves each association in threads of its own, but shakes hands under TLS in its one accepting thread,
waits for ever for the rest of a PDU, and gathers whatever is sent. Here the handshake happens in the connection's own
thread with a deadline, and PDUs (PS3.8 section 9.3), messages and data sets have limits in bytes and time.
"""

from __future__ import annotations

import ipaddress
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from integrations.dicom.pdus import decoded
from integrations.errors import TlsError
from integrations.hl7.listener import Network
from integrations.hl7.wire import prepare

log = logging.getLogger(__name__)

_CLOSED = "Evt17"  # transport connection closed (PS3.8 table 9-10)
_LOOK_SECONDS = 0.002  # so long an answer of ours may wait for its turn
_PAUSE_SECONDS = 0.0002  # between two turns
_BACKLOG = 64
_MOST_TOLD = 1000
_SLACK = 8  # connections beyond the associations: those are told so in DICOM, which needs a connection


@dataclass(frozen=True, slots=True)
class AssociationLimits:
    """How much and how long an association may take.

    Attributes
    ----------
    max_associations : int
        At the same time; one more is rejected as transient, so that its requestor tries again.
    max_data_set_bytes : int
        Of one C-STORE.
    max_command_bytes : int
        Of one command set.
    pdu_bytes : int
        The PDU length that we ask for (PS3.8 annex D.1).
    max_pdu_bytes : int
        Longer PDUs end the connection: association requests, and peers that ignore what we ask for.
    max_waiting : int
        Messages that one association may send before the first is answered.
    handshake_seconds : float
        For the TLS handshake, and once more for the association request.
    pdu_seconds : float
        From the first byte of a PDU to its last, and for handing over one of ours.
    idle_seconds : float
        Without any PDU of the peer.
    """

    max_associations: int = 16
    max_data_set_bytes: int = 512 * 1024 * 1024
    max_command_bytes: int = 64 * 1024
    pdu_bytes: int = 131_072
    max_pdu_bytes: int = 1024 * 1024
    max_waiting: int = 4
    handshake_seconds: float = 15.0
    pdu_seconds: float = 30.0
    idle_seconds: float = 60.0


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

    def admits(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether an address may connect."""
        return not self.allowed or any(address in network for network in self.allowed)

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
        super().__init__(*arguments, request_handler=_Handler, **named)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept, and nothing more: what takes time happens in `process_request_thread`."""
        connection, address = self.socket.accept()
        return connection, address

    def verify_request(self, request: socket.socket, client_address: Any) -> bool:
        """Whether a connection is served at all; else it is closed at once."""
        peer = client_address[0]
        if not self.gate.admits(_address(peer)):
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
    """Begins an association, with our socket and our collector of messages in place of pynetdicom's."""

    server: AssociationServer

    def _create_association(self) -> Any:
        association = super()._create_association()
        limits = self.server.gate.limits
        association.dul.socket = _Connection(association.dul.socket, limits)
        association.dimse = _Messages(association, limits)
        association.dul._run_loop_delay = _PAUSE_SECONDS  # noqa: SLF001  # `_Connection.ready` waits instead
        association.bind(evt.EVT_CONN_CLOSE, _give_up_waiting)
        decode = association.dul._decode_pdu  # noqa: SLF001  # the one place where PDUs are taken apart
        association.dul._decode_pdu = lambda pdu: decoded(pdu, decode)  # noqa: SLF001
        return association


class _Connection(AssociationSocket):  # type: ignore[misc]
    """A connection on which every PDU has a deadline and a limit; reads whole PDUs, not pieces of 4 KiB."""

    def __init__(self, made: AssociationSocket, limits: AssociationLimits) -> None:
        # No `super().__init__`: that would report the connection to the state machine a second time.
        self.__dict__.update(made.__dict__)
        self._limits = limits

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits a moment for it, where pynetdicom sleeps and then looks again."""
        connection = self.socket
        if connection is None or not self._is_connected:
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        try:
            return bool(select.select([connection], [], [], _LOOK_SECONDS)[0])
        except (OSError, ValueError):
            self.event_queue.put(_CLOSED)
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes; fewer when the peer has closed.

        Raises
        ------
        OSError
            Also as `TimeoutError`; pynetdicom then closes the connection.
        """
        if nr_bytes > self._limits.max_pdu_bytes:
            raise ConnectionAbortedError
        buffer = bytearray(nr_bytes)
        got, deadline = 0, time.monotonic() + self._limits.pdu_seconds
        with memoryview(buffer) as view:
            while got < nr_bytes:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self.socket.settimeout(left)
                count = self.socket.recv_into(view[got:])
                if not count:
                    break
                got += count
        del buffer[got:]
        return buffer

    def send(self, bytestream: bytes) -> None:
        """Send a PDU; a peer that does not take it in time loses the connection."""
        try:
            self.socket.settimeout(self._limits.pdu_seconds)
        except (OSError, AttributeError):  # another thread has closed it
            self.event_queue.put(_CLOSED)
            return
        super().send(bytestream)


class _Messages(DIMSEServiceProvider):  # type: ignore[misc]
    """Gathers the fragments of messages (PS3.7 section 6.3.1, PS3.8 annex E), up to the limits."""

    message: Any

    def __init__(self, association: Any, limits: AssociationLimits) -> None:
        super().__init__(association)
        self._limits = limits
        self._ended = False

    def receive_primitive(self, primitive: Any) -> None:
        """Add the fragments of one PDU; what is too large ends the association."""
        if self._ended:
            return
        data = command = 0
        for _, fragment in primitive.presentation_data_value_list:
            if fragment[0] & 1:
                command += len(fragment) - 1
            else:
                data += len(fragment) - 1
        if self.message is not None:
            data += self.message.data_set.tell()
            command += self.message.encoded_command_set.tell()
        if data > self._limits.max_data_set_bytes or command > self._limits.max_command_bytes:
            self._end(f"an object has more than the {self._limits.max_data_set_bytes:,} bytes that are taken")
        elif self.msg_queue.qsize() >= self._limits.max_waiting:
            self._end("it sends on without waiting for answers")
        else:
            super().receive_primitive(primitive)

    def _end(self, reason: str) -> None:
        self._ended = True
        self.message = None
        log.warning("the association with %r is ended: %s", self.assoc.requestor.ae_title, reason)
        # This is the thread that would have to send the abort which `abort` waits for.
        threading.Thread(target=self.assoc.abort, name="abort", daemon=True).start()


def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(peer.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


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
