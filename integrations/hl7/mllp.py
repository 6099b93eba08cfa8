"""The MLLP client: one kept-alive connection to one destination, every step with its deadline.

What it never does: wait without end, take another message's acknowledgement for ours, or say that nothing was sent
when something may have been. So a failure before the first byte is *refused*, and any failure after it is *unknown*:
the same bytes are then to be sent again, and the receiver matches the repeat by its control id.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from integrations.errors import AckUnreadable, FramingError, TlsError
from integrations.hl7.ack import (
    MAX_ACK_BYTES,
    Ack,
    AckCode,
    AckPolicy,
    Decision,
    Outcome,
    build_ack,
    control_id_of,
    read_ack,
)
from integrations.hl7.connect import open_connection
from integrations.hl7.framing import BlockReader, frame
from integrations.hl7.header import read_header
from integrations.hl7.reception import new_control_id
from integrations.tls import LONG_SETTLE_SECONDS, ClientTls, Validity, peer_validity, tls_words
from integrations.wire import CHUNK, receive, send_all

Connect = Callable[[str, int, float], socket.socket]


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
    tls_timeout : float
        Seconds for the TLS handshake.
    application_ack : bool
        Whether, after a commit (CA), the application's acknowledgement is waited for on the same connection, for
        `ack_timeout` once more: for messages that ask for it in MSH-16.
    """

    name: str
    host: str
    port: int
    connect_timeout: float = 10.0
    send_timeout: float = 10.0
    ack_timeout: float = 30.0
    max_ack_bytes: int = MAX_ACK_BYTES
    tls_timeout: float = 10.0
    application_ack: bool = False

    @property
    def longest(self) -> float:
        """Seconds after which a call to `MllpClient.send` has ended in any case, TLS or not."""
        acks = 2 if self.application_ack else 1
        secure = self.tls_timeout + LONG_SETTLE_SECONDS
        return self.connect_timeout + secure + self.send_timeout + acks * self.ack_timeout


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt ended.

    Attributes
    ----------
    outcome : Outcome
    ack : Ack or None
        Only when the receiver answered; a commit (CA) of an *unknown* outcome was not followed by what was to come.
    raw : bytes
        The acknowledgement as it came; may hold personal data, hence not in the `repr`.
    reason : str
        In words, without content of any message.
    seconds : float
        From the call to its end.
    status : str
        What a receiver that speaks another protocol answered, such as ``0xA700``.
    """

    outcome: Outcome
    reason: str
    seconds: float
    ack: Ack | None = None
    raw: bytes = field(default=b"", repr=False)
    status: str = ""

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
    answered: bool = False


class _Unknown(Exception):
    """The attempt failed after something may have been sent."""

    def __init__(self, reason: str, ack: Ack | None = None, raw: bytes = b"") -> None:
        super().__init__(reason)
        self.ack = ack
        self.raw = raw


class _Refused(Exception):
    """The other side says that it took nothing."""


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
    tls : ClientTls or None
        None for plain TCP.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float] = time.monotonic,
        connect: Connect | None = None,
        tls: ClientTls | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._connect = connect or open_connection
        self.tls = tls
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

        Ends within the endpoint's timeouts together (`Endpoint.longest`).

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
        except (OSError, TlsError) as error:
            return Delivery(Outcome.REFUSED, f"no connection: {_words(error)}", self._clock() - started)
        try:
            self._hand_over(connection, block)
            ack, raw = self._await_answer(connection, control_id)
        except _Refused as error:
            self.close()
            return Delivery(Outcome.REFUSED, str(error), self._clock() - started)
        except _Unknown as error:
            self.close()
            return Delivery(Outcome.UNKNOWN, str(error), self._clock() - started, error.ack, error.raw)
        except BaseException:
            # An interrupt between send and acknowledgement: what comes later must not meet the next message.
            self.close()
            raise
        return Delivery(ack.outcome, f"answered {ack.code}", self._clock() - started, ack, raw)

    def probe(self) -> str | None:
        """Connect without sending; return None, or in words why it fails."""
        try:
            self._ready_connection()
        except (OSError, TlsError) as error:
            return _words(error)
        return None

    def peer_validity(self) -> Validity | None:
        """Until when the other side's certificate is valid; None without a TLS connection."""
        connection = self._connection.socket if self._connection else None
        return peer_validity(connection) if isinstance(connection, ssl.SSLSocket) else None

    def _ready_connection(self) -> _Connection:
        """Return a connection on which nothing old waits to be taken for new."""
        if self._connection is not None and not self._drained(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _open(self) -> _Connection:
        endpoint = self.endpoint
        opened = self._connect(endpoint.host, endpoint.port, endpoint.connect_timeout)
        if self.tls is None:
            return _Connection(opened, BlockReader(endpoint.max_ack_bytes))
        try:
            secured, early = self.tls.secure(opened, endpoint.tls_timeout)
        except BaseException:
            opened.close()
            raise
        connection = _Connection(secured, BlockReader(endpoint.max_ack_bytes))
        connection.blocks.feed(early)
        return connection

    def _drained(self, connection: _Connection) -> bool:
        """Discard what arrived since the last answer; False if the peer is gone or talks without being asked."""
        arrived = 0
        try:
            connection.socket.setblocking(False)
            while arrived < CHUNK:
                data = connection.socket.recv(CHUNK)
                if not data:
                    return False
                arrived += len(data)
                connection.blocks.feed(data)
            return False
        except (BlockingIOError, ssl.SSLWantReadError):
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
            send_all(connection.socket, block, self.endpoint.send_timeout, self._clock)
        except TimeoutError:
            raise _Unknown(f"not all bytes were taken within {self.endpoint.send_timeout:g} s") from None
        except OSError as error:
            self._raise_refusal(connection, error)
            raise _Unknown(f"the connection broke while sending: {_words(error)}") from None

    def _raise_refusal(self, connection: _Connection, error: OSError) -> None:
        """Tell a refusal of our certificate, which came late, from a connection that broke."""
        if self.tls is not None and not connection.answered and self.tls.is_refusal(error):
            raise _Refused(_words(error)) from None

    def _await_answer(self, connection: _Connection, control_id: str) -> tuple[Ack, bytes]:
        """Wait for the answer that is the last one (HL7 2.5.1, 2.9.3)."""
        commit, raw = self._await_ack(connection, control_id)
        if commit.code is not AckCode.CA or not self.endpoint.application_ack:
            return commit, raw
        try:
            final, answer = self._await_ack(connection, control_id, pass_over=AckCode.CA)
        except _Unknown as error:
            raise _Unknown(f"committed (CA), and then: {error}", commit, raw) from None
        self._commit(connection, answer)
        return final, answer

    def _commit(self, connection: _Connection, answer: bytes) -> None:
        """Commit an application acknowledgement whose sender asks for it; its fate does not change ours."""
        with suppress(ValueError, OSError):
            if read_header(answer).commit_ack.asks(success=True):
                commit = build_ack(answer, AckCode.CA, control_id=new_control_id(), now=datetime.now(UTC))
                send_all(connection.socket, frame(commit), self.endpoint.send_timeout, self._clock)

    def _await_ack(
        self, connection: _Connection, control_id: str, pass_over: AckCode | None = None
    ) -> tuple[Ack, bytes]:
        deadline = self._clock() + self.endpoint.ack_timeout
        foreign = 0
        while (remaining := deadline - self._clock()) > 0:
            try:
                raw = connection.blocks.next_block()
                if raw is not None:
                    ack = read_ack(raw, self.endpoint.max_ack_bytes)
                    connection.answered = True
                    if ack.control_id != control_id:
                        foreign += 1  # a late or a foreign one: crediting it to this message would lose data silently
                    elif ack.code is not pass_over:
                        return ack, raw
                    continue
                data = receive(connection.socket, remaining)
            except TimeoutError:
                break
            except (AckUnreadable, FramingError) as error:
                raise _Unknown(f"a garbled answer: {error}") from None
            except OSError as error:
                self._raise_refusal(connection, error)
                raise _Unknown(f"the connection broke before the acknowledgement: {_words(error)}") from None
            if not data:
                raise _Unknown("the connection was closed before the acknowledgement")
            connection.blocks.feed(data)
        others = f", {foreign} for other messages were discarded" if foreign else ""
        raise _Unknown(f"no acknowledgement within {self.endpoint.ack_timeout:g} s{others}")


def _words(error: OSError | TlsError) -> str:
    if isinstance(error, ssl.SSLError):
        return tls_words(error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
