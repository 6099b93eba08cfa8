"""The MLLP client: one kept-alive connection to one destination, every step with its deadline.

What it never does: wait without end, take another message's acknowledgement for ours, or say that nothing was sent
when something may have been. So a failure before the first byte is *refused*, and any failure after it is *unknown*:
the same bytes are then to be sent again, and the receiver matches the repeat by its control id.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from integrations.errors import AckUnreadable, FramingError
from integrations.hl7.ack import MAX_ACK_BYTES, Ack, AckCode, AckPolicy, Decision, Outcome, control_id_of, read_ack
from integrations.hl7.framing import BlockReader, frame

Connect = Callable[[str, int, float], socket.socket]
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a destination listens, and how long each step may take.

    Attributes
    ----------
    name, host : str
    port : int
    connect_timeout, send_timeout, ack_timeout : float
        Seconds for the name look-up with the connection, for handing over all bytes, for the acknowledgement.
    max_ack_bytes : int
        A larger acknowledgement is not read.
    """

    name: str
    host: str
    port: int
    connect_timeout: float = 10.0
    send_timeout: float = 10.0
    ack_timeout: float = 30.0
    max_ack_bytes: int = MAX_ACK_BYTES


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt ended.

    Attributes
    ----------
    outcome : Outcome
    ack : Ack or None
        Only when the receiver answered.
    raw : bytes
        The acknowledgement as it came; may hold personal data, hence not in the `repr`.
    reason : str
        In words, without content of any message.
    seconds : float
        From the call to its end.
    """

    outcome: Outcome
    reason: str
    seconds: float
    ack: Ack | None = None
    raw: bytes = field(default=b"", repr=False)

    @property
    def code(self) -> AckCode | None:
        """MSA-1 when the receiver answered."""
        return self.ack.code if self.ack else None

    def decision(self, policy: AckPolicy) -> Decision:
        """What becomes of the message under a destination's policy."""
        return policy.decide(self.outcome, self.code)


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    blocks: BlockReader


class _Unknown(Exception):
    """The attempt failed after something may have been sent."""


class MllpClient:
    """Sends messages to one destination, one at a time, over one connection that is kept.

    Not for several threads at once: a destination has one sender, and many receivers allow one connection only.

    Parameters
    ----------
    endpoint : Endpoint
    clock : callable
        Monotonic seconds.
    connect : callable
        ``(host, port, timeout) -> socket``; raises `OSError`.
    """

    def __init__(
        self, endpoint: Endpoint, *, clock: Callable[[], float] = time.monotonic, connect: Connect | None = None
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._connect = connect or open_connection
        self._connection: _Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one; a later `send` opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.socket.close()

    def send(self, message: bytes) -> Delivery:
        """Send a message and wait for its acknowledgement.

        Ends within the endpoint's three timeouts together.

        Parameters
        ----------
        message : bytes
            Without framing; its MSH-10 is what the acknowledgement must name.

        Raises
        ------
        FramingError
            If the bytes cannot be framed or have no MSH-10. Nothing was sent. Failures of the other side and of
            the network are values, not exceptions.
        """
        started = self._clock()
        block = frame(message)
        control_id = control_id_of(message)
        if not control_id:
            raise FramingError("the message has no control id (MSH-10); its acknowledgement could not be known")
        try:
            connection = self._ready_connection()
        except OSError as error:
            return Delivery(Outcome.REFUSED, f"no connection: {_words(error)}", self._clock() - started)
        try:
            self._hand_over(connection, block)
            ack, raw = self._await_ack(connection, control_id)
        except _Unknown as error:
            self.close()
            return Delivery(Outcome.UNKNOWN, str(error), self._clock() - started)
        except BaseException:
            # An interrupt between send and acknowledgement: what comes later must not meet the next message.
            self.close()
            raise
        return Delivery(ack.outcome, f"answered {ack.code}", self._clock() - started, ack, raw)

    def probe(self) -> str | None:
        """Connect without sending; return None, or in words why it fails."""
        try:
            self._ready_connection()
        except OSError as error:
            return _words(error)
        return None

    def _ready_connection(self) -> _Connection:
        """Return a connection on which nothing old waits to be taken for new."""
        if self._connection is not None and not self._drained(self._connection):
            self.close()
        if self._connection is None:
            endpoint = self._endpoint
            opened = self._connect(endpoint.host, endpoint.port, endpoint.connect_timeout)
            self._connection = _Connection(opened, BlockReader(endpoint.max_ack_bytes))
        return self._connection

    def _drained(self, connection: _Connection) -> bool:
        """Discard what arrived since the last answer; False if the peer is gone or talks without being asked."""
        try:
            connection.socket.setblocking(False)
            data = connection.socket.recv(_CHUNK)
            if not data or len(data) == _CHUNK:
                return False
            connection.blocks.feed(data)
        except BlockingIOError:
            pass
        except OSError:
            return False
        try:
            while connection.blocks.next_block() is not None:
                pass
        except FramingError:
            return False
        return not connection.blocks.pending

    def _hand_over(self, connection: _Connection, block: bytes) -> None:
        try:
            connection.socket.settimeout(self._endpoint.send_timeout)
            connection.socket.sendall(block)
        except TimeoutError:
            raise _Unknown(f"not all bytes were taken within {self._endpoint.send_timeout:g} s") from None
        except OSError as error:
            raise _Unknown(f"the connection broke while sending: {_words(error)}") from None

    def _await_ack(self, connection: _Connection, control_id: str) -> tuple[Ack, bytes]:
        deadline = self._clock() + self._endpoint.ack_timeout
        foreign = 0
        while (remaining := deadline - self._clock()) > 0:
            try:
                raw = connection.blocks.next_block()
                if raw is not None:
                    ack = read_ack(raw, self._endpoint.max_ack_bytes)
                    if ack.control_id == control_id:
                        return ack, raw
                    foreign += 1  # a late or a foreign one: crediting it to this message would lose data silently
                    continue
                connection.socket.settimeout(remaining)
                data = connection.socket.recv(_CHUNK)
            except TimeoutError:
                break
            except (AckUnreadable, FramingError) as error:
                raise _Unknown(f"a garbled answer: {error}") from None
            except OSError as error:
                raise _Unknown(f"the connection broke before the acknowledgement: {_words(error)}") from None
            if not data:
                raise _Unknown("the connection was closed before the acknowledgement")
            connection.blocks.feed(data)
        others = f", {foreign} for other messages were discarded" if foreign else ""
        raise _Unknown(f"no acknowledgement within {self._endpoint.ack_timeout:g} s{others}")


def open_connection(host: str, port: int, timeout: float) -> socket.socket:
    """Connect over TCP, within `timeout` seconds for all addresses of the host together.

    Raises
    ------
    OSError
        If the host is unknown or none of its addresses answers.
    """
    deadline = time.monotonic() + timeout
    failure: OSError = TimeoutError(f"not connected within {timeout:g} s")
    for family, kind, protocol, _, address in _addresses(host, port, timeout):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        attempt = socket.socket(family, kind, protocol)
        try:
            attempt.settimeout(remaining)
            attempt.connect(address)
            attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            attempt.close()
            failure = error
        else:
            return attempt
    raise failure


_AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


def _addresses(host: str, port: int, timeout: float) -> list[_AddressInfo]:
    """Look a name up; the system's resolver knows no deadline, so it gets a thread that can be left behind."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    answer: queue.Queue[list[_AddressInfo] | OSError] = queue.Queue()

    def look_up() -> None:
        try:
            answer.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            answer.put(error)
        except UnicodeError:
            answer.put(OSError("the host's name is not one that can be looked up"))

    threading.Thread(target=look_up, name="name look-up", daemon=True).start()
    try:
        found = answer.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError(f"the host's name was not resolved within {timeout:g} s") from None
    if isinstance(found, OSError):
        raise found
    return found


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
