"""The MLLP listener: takes messages from many senders at once, every step with its deadline.

    handler = ...                    # bytes of a message in, bytes of its acknowledgement out; see `Handler`
    with MllpListener(handler, host="0.0.0.0", port=2576, allowed=("10.1.0.0/16",)) as listener:
        ...                          # serves until the block ends

A thread accepts, and each connection has a thread of its own, in which the TLS handshake happens, too: a peer that
connects and says nothing holds up nobody else. Nothing that a peer or the handler does ends the listener.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from integrations.addresses import is_admitted, parse_networks
from integrations.errors import BlockTooLarge, FramingError, TlsError
from integrations.hl7.framing import BlockReader, frame
from integrations.hl7.header import MAX_HEADER_BYTES
from integrations.hl7.reception import Handler, Reception, Reply
from integrations.wire import hang_up, prepare, receive, send_all, shut_down

log = logging.getLogger(__name__)

_BACKLOG = 64
_PAUSE_SECONDS = 0.2  # after `accept` failed, as it does when the process has no descriptor left
_HANG_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """How long each step of a connection may take, and how much it may bring.

    Attributes
    ----------
    handshake_seconds : float
        For the TLS handshake.
    idle_seconds : float
        Between two messages. A machine that is gone is found out sooner, by TCP keep-alive.
    block_seconds : float
        From the first byte of a message to its last, however the bytes come.
    write_seconds : float
        For handing over one answer.
    max_bytes, max_segments : int
        Of one message; more is answered AR (CR in the enhanced mode), and after too many bytes the connection closed.
    max_connections : int
        One more is closed at once.
    """

    handshake_seconds: float = 10.0
    idle_seconds: float = 3600.0
    block_seconds: float = 30.0
    write_seconds: float = 10.0
    max_bytes: int = 1024 * 1024
    max_segments: int = 1000
    max_connections: int = 16


class MllpListener:
    """An MLLP server in threads of this process.

    Parameters
    ----------
    handler : Handler
    host : str
    port : int
        0 for any free one; `port` says which, once it is started.
    limits : ListenerLimits
    allowed : iterable of str
        Addresses and networks that may connect; empty for all.
    tls : callable or None
        Gives the server's context for each connection, so that a renewed certificate is taken up; None for plain TCP.
        May raise `TlsError`: that connection is closed.
    reception : Reception or None
        How received messages are answered; by default one of `handler` with the limits.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: ListenerLimits | None = None,
        allowed: Iterable[str] = (),
        tls: Callable[[], ssl.SSLContext] | None = None,
        reception: Reception | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.port = port
        self.limits = limits or ListenerLimits()
        self.reception = reception or Reception(handler, max_segments=self.limits.max_segments)
        self.tls = tls
        self.clock = clock
        self._allowed = parse_networks(allowed)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._sessions: dict[_Session, threading.Thread] = {}
        self._told: set[str] = set()
        self._socket: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._changed:
            return len(self._sessions)

    @property
    def is_stopping(self) -> bool:
        """Whether no more messages are taken."""
        return self._stopping.is_set()

    @property
    def is_listening(self) -> bool:
        """Whether peers can connect."""
        return self._acceptor is not None and self._acceptor.is_alive() and not self.is_stopping

    def start(self) -> None:
        """Listen; on return peers can connect.

        Raises
        ------
        OSError
            If the address cannot be had.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
        self.port = self._socket.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._socket,), name="mllp listener", daemon=True)
        self._acceptor.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Take no more; a message that is being handled is still answered, within `seconds` for all together.

        A handler that takes longer is left behind in its thread; its answer is not sent.
        """
        self._stopping.set()
        if self._socket is not None and self._acceptor is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            self._acceptor.join()
            self._socket.close()
        deadline = self.clock() + seconds
        with self._changed:
            sessions = dict(self._sessions)
        for session in sessions:
            session.read_no_more()
        for thread in sessions.values():
            thread.join(max(0.0, deadline - self.clock()))
        for session in sessions:
            session.abort()

    def forget(self, session: _Session) -> None:
        """Take a session that has ended off the list."""
        with self._changed:
            self._sessions.pop(session, None)
            self._changed.notify_all()

    # ---------------------------------------------------------------------------------------------------------- inside
    def _accept(self, listening: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, address = listening.accept()
            except OSError as error:
                if not self._stopping.wait(_PAUSE_SECONDS):
                    log.warning("a connection could not be accepted: %s", error.strerror)
                continue
            try:
                self._begin(connection, str(address[0]))
            except (OSError, RuntimeError) as error:  # the peer is gone again; or no thread can be had
                log.warning("a connection could not be served: %s", type(error).__name__)
                connection.close()

    def _begin(self, connection: socket.socket, peer: str) -> None:
        reason = self._turned_away(peer)
        if reason:
            self._tell_once(f"connections from {peer} are closed: {reason}")
            connection.close()
            return
        prepare(connection)
        session = _Session(self, connection, peer)
        thread = threading.Thread(target=session.run, name=f"mllp session {peer}", daemon=True)
        with self._changed:
            self._sessions[session] = thread
        try:
            thread.start()
        except RuntimeError:
            self.forget(session)
            raise

    def _turned_away(self, peer: str) -> str:
        if not is_admitted(peer, self._allowed):
            return "the address is not in allowed_addresses"
        if self.connections >= self.limits.max_connections:
            return f"{self.limits.max_connections} are open already"
        return ""

    def _tell_once(self, what: str) -> None:
        if what not in self._told and len(self._told) < 1000:  # a scan of ports must not fill the log
            self._told.add(what)
            log.warning("%s", what)


class _Session:
    """One connection."""

    def __init__(self, listener: MllpListener, connection: socket.socket, peer: str) -> None:
        self._listener = listener
        self._limits = listener.limits
        self._clock = listener.clock
        self._socket = connection
        self._peer = peer

    def read_no_more(self) -> None:
        """Let a blocked read return, from another thread; what is at work is still answered."""
        with suppress(OSError):  # the peer may have been faster
            shut_down(self._socket, socket.SHUT_RD)

    def abort(self) -> None:
        """End at once, from another thread."""
        with suppress(OSError):
            shut_down(self._socket, socket.SHUT_RDWR)

    def run(self) -> None:
        """Serve until the peer leaves, a deadline passes, or the listener stops."""
        try:
            if self._listener.tls is not None:
                self._hand_shake(self._listener.tls())
            self._serve()
        except TimeoutError as error:
            log.warning("the connection from %s was closed: %s", self._peer, error)
        except (FramingError, TlsError) as error:
            log.warning("the connection from %s was closed: %s", self._peer, error)
        except OSError as error:
            log.info("the connection from %s broke: %s", self._peer, error.strerror or type(error).__name__)
        finally:
            self._socket.close()
            self._listener.forget(self)

    def _hand_shake(self, context: ssl.SSLContext) -> None:
        self._socket.settimeout(self._limits.handshake_seconds)
        self._socket = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        try:
            self._socket.do_handshake()
        except TimeoutError:
            raise TimeoutError(f"no TLS handshake within {self._limits.handshake_seconds:g} s") from None
        except ssl.SSLError as error:
            raise TlsError(f"the TLS handshake failed ({error.reason or 'no reason given'})") from None

    def _serve(self) -> None:
        blocks = BlockReader(self._limits.max_bytes)
        deadline, waiting_for = self._clock() + self._limits.idle_seconds, ""
        while not self._listener.is_stopping:
            try:
                body = blocks.next_block()
            except BlockTooLarge:
                log.warning("a message of %s is larger than is taken", self._peer)
                begun = blocks.begun(MAX_HEADER_BYTES)
                self._send(self._listener.reception.too_large(begun, self._limits.max_bytes))
                return
            if body is not None:
                if not self._send(self._listener.reception.answer(body)):
                    return
                deadline, waiting_for = self._clock() + self._limits.idle_seconds, ""
                continue
            if blocks.pending and not waiting_for:
                deadline = self._clock() + self._limits.block_seconds
                waiting_for = f"a message was not whole within {self._limits.block_seconds:g} s"
            try:
                data = receive(self._socket, deadline - self._clock())
            except TimeoutError:
                raise TimeoutError(waiting_for or f"no message within {self._limits.idle_seconds:g} s") from None
            if not data:
                return
            blocks.feed(data)

    def _send(self, reply: Reply) -> bool:
        """Send the answers; False when the connection is to be closed."""
        for message in reply.messages:
            try:
                send_all(self._socket, frame(message), self._limits.write_seconds, self._clock)
            except TimeoutError:
                raise TimeoutError(f"an answer was not taken within {self._limits.write_seconds:g} s") from None
        if not reply.keep:
            hang_up(self._socket, _HANG_UP_SECONDS, self._clock)
        return reply.keep
