"""A receiving system to try against: an MLLP server that keeps what it gets and acknowledges it, or misbehaves.

For tests, the demonstration and the command line; it is no LIS and checks nothing but the framing.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from integrations.errors import FramingError
from integrations.hl7.ack import AckCode, build_ack, control_id_of
from integrations.hl7.faults import Fault, answer_for
from integrations.hl7.framing import BlockReader
from integrations.tls import TlsFiles
from integrations.wire import shut_down

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
_POLL_SECONDS = 0.1
_HANDSHAKE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message as it arrived.

    Attributes
    ----------
    number : int
        From 1, in the order of arrival.
    control_id : str
        Its MSH-10.
    body : bytes
        Without framing.
    """

    number: int
    control_id: str
    body: bytes = field(repr=False)


def _now() -> datetime:
    return datetime.now(UTC)


class LisSimulator:
    """An MLLP server in threads of this process.

    Listens as soon as it is made; use it as a context manager, or call `close`.

    Parameters
    ----------
    port : int
        0 for any free one; `port` says which.
    host : str
    fault : Fault or None
        How it misbehaves, until `heal`.
    out : Path or None
        Folder in which each message is kept as ``000001.hl7``.
    pause_seconds : float
        Between the pieces of a slow or split acknowledgement.
    on_message : callable or None
        Called with each message when it is kept, before it is answered.
    now : callable
        Time of day for MSH-7 of the acknowledgements.
    tls : TlsFiles or None
        Serve under TLS with this certificate and key; with `ca_file`, clients must have a certificate.

    Raises
    ------
    OSError
        If the port cannot be had or the folder not be made.
    TlsError
        If a file of `tls` cannot be used.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        fault: Fault | None = None,
        out: Path | None = None,
        pause_seconds: float = 0.05,
        on_message: Callable[[ReceivedMessage], None] | None = None,
        now: Callable[[], datetime] = _now,
        tls: TlsFiles | None = None,
    ) -> None:
        self.host = host
        self.context = tls.server_context() if tls is not None else None
        self._fault = fault
        self._out = out
        self._pause_seconds = pause_seconds
        self._on_message = on_message
        self._now = now
        self._messages: list[ReceivedMessage] = []
        self._late = b""
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._sessions: dict[_Session, threading.Thread] = {}
        self._acceptor: threading.Thread | None = None
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
        except OSError:
            self._listener.close()
            raise
        self.port: int = self._listener.getsockname()[1]
        if fault is not Fault.REFUSE:
            self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def messages(self) -> tuple[ReceivedMessage, ...]:
        """What arrived so far, repeats included."""
        with self._changed:
            return tuple(self._messages)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._changed:
            return len(self._sessions)

    def wait_for(self, count: int, timeout: float) -> bool:
        """Wait until `count` messages have arrived; False if they have not within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._messages) >= count, timeout)

    def heal(self) -> None:
        """Behave from now on; connections that a fault holds are closed."""
        self._fault = None
        if self._acceptor is None:
            self._listen()
        self._close_sessions()

    def close(self) -> None:
        """Stop listening, close every connection, and wait for the threads."""
        self._stopping.set()
        if self._acceptor is not None:
            self._acceptor.join()
        self._listener.close()
        self._close_sessions()

    def _listen(self) -> None:
        self._listener.listen(64)
        self._listener.settimeout(_POLL_SECONDS)
        self._acceptor = threading.Thread(target=self._accept, name="lis-simulator", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with self._changed:
                if self._fault is Fault.ONE_SESSION and self._sessions:
                    connection.close()
                    continue
                session = _Session(self, connection)
                thread = threading.Thread(target=session.run, name="lis-simulator session", daemon=True)
                self._sessions[session] = thread
            thread.start()

    def _close_sessions(self) -> None:
        with self._changed:
            sessions = dict(self._sessions)
        for session in sessions:
            session.stop()
        for thread in sessions.values():
            thread.join()

    # What a session asks of its server.

    def keep(self, body: bytes) -> ReceivedMessage:
        """Keep a message."""
        with self._changed:
            message = ReceivedMessage(len(self._messages) + 1, control_id_of(body), body)
            if self._out is not None:
                (self._out / f"{message.number:06d}.hl7").write_bytes(body)
            self._messages.append(message)
            self._changed.notify_all()
        if self._on_message is not None:
            self._on_message(message)
        return message

    def forget(self, session: _Session) -> None:
        """Take a session that has ended off the list."""
        with self._changed:
            self._sessions.pop(session, None)
            self._changed.notify_all()

    def swap_late(self, answer: bytes) -> bytes:
        """Keep an answer for the next message; return the one kept before."""
        with self._changed:
            before, self._late = self._late, answer
        return before

    @property
    def fault(self) -> Fault | None:
        """How it misbehaves."""
        return self._fault

    @property
    def pause_seconds(self) -> float:
        """Between the pieces of an acknowledgement."""
        return self._pause_seconds

    def build_ack(self, message: bytes, code: AckCode, answers: str | None) -> bytes:
        """Build an acknowledgement with the simulator's own control id and time."""
        with self._changed:
            number = len(self._messages)
        return build_ack(message, code, control_id=f"SIM{number:06d}", now=self._now(), answers=answers)


class _Session:
    """One connection; the `Peer` of the faults."""

    def __init__(self, server: LisSimulator, connection: socket.socket) -> None:
        self._server = server
        self._socket = connection
        self._stopping = threading.Event()

    @property
    def socket(self) -> socket.socket:
        return self._socket

    def ack(self, message: bytes, code: AckCode = AckCode.AA, answers: str | None = None) -> bytes:
        return self._server.build_ack(message, code, answers)

    def pause(self) -> bool:
        return not self._stopping.wait(self._server.pause_seconds)

    def swap_late(self, answer: bytes) -> bytes:
        return self._server.swap_late(answer)

    def stop(self) -> None:
        """End the session from another thread; a blocked read or write returns."""
        self._stopping.set()
        with suppress(OSError):  # the peer may have been faster
            shut_down(self._socket, socket.SHUT_RDWR)

    def run(self) -> None:
        """Serve until the peer leaves, a fault ends it, or `stop`."""
        try:
            if self._server.fault is Fault.HALF_OPEN:
                self._stopping.wait()
            else:
                self._hand_shake(self._server.context)
                self._serve()
        except (OSError, FramingError):
            pass  # a peer that breaks off or talks nonsense is not the simulator's failure
        finally:
            self._socket.close()
            self._server.forget(self)

    def _hand_shake(self, context: ssl.SSLContext | None) -> None:
        if context is not None:
            self._socket.settimeout(_HANDSHAKE_SECONDS)
            self._socket = context.wrap_socket(self._socket, server_side=True)
            self._socket.settimeout(None)

    def _serve(self) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        blocks = BlockReader(MAX_MESSAGE_BYTES)
        while not self._stopping.is_set():
            body = blocks.next_block()
            if body is None:
                data = self._socket.recv(64 * 1024)
                if not data:
                    return
                blocks.feed(data)
                continue
            self._server.keep(body)
            if not answer_for(self._server.fault)(self, body):
                return


def run_simulator(
    port: int = 2575,
    *,
    host: str = "127.0.0.1",
    fault: Fault | None = None,
    out: Path | None = None,
    tls: TlsFiles | None = None,
    echo: Callable[[str], None] = print,
    stop: threading.Event | None = None,
) -> None:
    """Serve until `stop` is set or the keyboard interrupts, telling each message by its control id.

    Parameters
    ----------
    port, host, fault, out, tls
        As in `LisSimulator`.
    echo : callable
        Gets one line of text each time.
    stop : threading.Event or None

    Raises
    ------
    OSError
        If the port cannot be had or the folder not be made.
    TlsError
        If a file of `tls` cannot be used.
    """

    def told(message: ReceivedMessage) -> None:
        echo(f"{message.number}: control id {message.control_id or '(none)'}, {len(message.body)} bytes")

    stop = stop or threading.Event()
    with LisSimulator(port, host=host, fault=fault, out=out, on_message=told, tls=tls) as simulator:
        how = (", TLS" if tls else "") + (f", fault {fault}" if fault else "")
        echo(f"LIS simulator listening on {host}:{simulator.port}{how}")
        try:
            while not stop.is_set():
                stop.wait(_POLL_SECONDS)
        except KeyboardInterrupt:
            pass
        echo(f"LIS simulator stopped after {len(simulator.messages)} messages")
