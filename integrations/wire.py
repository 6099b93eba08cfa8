"""What client and listener do alike with a socket, be it plain or under TLS."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

CHUNK = 64 * 1024

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


def prepare(connection: socket.socket) -> None:
    """Send small blocks at once, and find out within two minutes that the other machine is gone (half-open)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def send_all(
    connection: socket.socket, data: bytes, seconds: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Hand all bytes over within `seconds` together; `sendall` under TLS would give each record as long anew.

    Raises
    ------
    TimeoutError
    OSError
    """
    deadline = clock() + seconds
    view = memoryview(data)
    while view:
        remaining = deadline - clock()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)
        view = view[connection.send(view) :]


def receive(connection: socket.socket, seconds: float) -> bytes:
    """Bytes that have arrived, at the latest after `seconds`; empty when the peer has closed.

    Raises
    ------
    TimeoutError
    OSError
    """
    if seconds <= 0:
        raise TimeoutError
    connection.settimeout(seconds)
    try:
        return connection.recv(CHUNK)
    except ssl.SSLZeroReturnError:
        return b""


def hang_up(connection: socket.socket, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
    """Close so that what was sent last arrives: unread bytes would turn the close into a reset, which discards it."""
    deadline = clock() + seconds
    with suppress(OSError):
        shut_down(connection, socket.SHUT_WR)
        while receive(connection, deadline - clock()):
            pass
    connection.close()


def shut_down(connection: socket.socket, how: int) -> None:
    """Shut one or both ways of the TCP connection; `SSLSocket.shutdown` would go on in the clear on the other."""
    socket.socket.shutdown(connection, how)
