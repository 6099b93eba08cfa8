"""Syslog messages (RFC 5424) over TLS (RFC 5425), as PS3.15 A.6 asks for audit messages.

Syslog knows no answer. What is taken for delivered: every byte was acknowledged by the other machine's TCP, and the
receiver did not break the connection before it was closed in order. Everything else is sent again; a repeat is known by
its ``sequenceId``.
"""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from integrations.errors import AuditNotTaken, TlsError
from integrations.tls import ClientTls
from integrations.wire import prepare, send_all

PRIORITY = 10 * 8 + 5
"""Facility 10 (security and authorisation), severity 5 (notice)."""

MESSAGE_ID = "DICOM+RFC3881"
LARGEST_SEQUENCE = 2**31 - 1
CONNECT_SECONDS = 10.0
SEND_SECONDS = 60.0
CLOSE_SECONDS = 5.0
_LOOK_SECONDS = 0.005


def syslog_message(body: bytes, *, at: datetime, host: str, application: str, process: int, sequence: int) -> bytes:
    """Return one message, with its length in front as RFC 5425 asks.

    Parameters
    ----------
    body : bytes
        In UTF-8; the byte order mark of RFC 5424 is put before it.
    sequence : int
        Counts from 1; becomes the ``sequenceId`` of RFC 5424 section 7.3.1, which begins anew beyond 2,147,483,647.
    """
    stamp = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    number = (sequence - 1) % LARGEST_SEQUENCE + 1
    header = (
        f"<{PRIORITY}>1 {stamp} {_name(host, 255)} {_name(application, 48)} {process} {MESSAGE_ID} "
        f'[meta sequenceId="{number}"] '
    )
    content = header.encode("ascii") + b"\xef\xbb\xbf" + body
    return str(len(content)).encode("ascii") + b" " + content


class SyslogTls:
    """The way to a syslog receiver; each batch is one connection.

    Parameters
    ----------
    host, port
        Where it listens.
    tls : ClientTls
    """

    def __init__(self, host: str, port: int, tls: ClientTls, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._clock = clock

    def send(self, messages: Sequence[bytes]) -> None:
        """Hand over messages that carry their lengths; none gives the connection a try.

        Raises
        ------
        AuditNotTaken
            It is not certain that they arrived: send all of them again.
        """
        where = f"{self._host}:{self._port}"
        try:
            with socket.create_connection((self._host, self._port), timeout=CONNECT_SECONDS) as connection:
                prepare(connection)
                secured, _ = self._tls.secure(connection, CONNECT_SECONDS)
                with secured:
                    send_all(secured, b"".join(messages), SEND_SECONDS, self._clock)
                    self._await_acknowledged(secured)
                    _close(secured)
        except TlsError as error:
            raise AuditNotTaken(f"{where}: {error}") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise AuditNotTaken(f"{where} does not take audit messages ({reason})") from None

    def _await_acknowledged(self, connection: ssl.SSLSocket) -> None:
        """Wait until the other machine's TCP has everything."""
        end = self._clock() + SEND_SECONDS
        while _unacknowledged(connection):
            if self._clock() >= end:
                raise TimeoutError
            time.sleep(_LOOK_SECONDS)


def _unacknowledged(connection: socket.socket) -> int:
    (waiting,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))
    return int(waiting)


def _close(connection: ssl.SSLSocket) -> None:
    """Say that it is the end, and see whether the receiver breaks off instead (RFC 5425 section 4.4)."""
    connection.settimeout(CLOSE_SECONDS)
    try:
        connection.unwrap()
    except (TimeoutError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return  # it has everything, and closes in its own way
    except ssl.SSLError as error:
        # A receiver may have begun to say something itself; that it received us is known already.
        if error.reason not in ("APPLICATION_DATA_AFTER_CLOSE_NOTIFY", "UNEXPECTED_EOF_WHILE_READING"):
            raise


def _name(text: str, longest: int) -> str:
    """A header field: printable ASCII without blanks, or the nil value."""
    return "".join(char for char in text if "!" <= char <= "~")[:longest] or "-"
