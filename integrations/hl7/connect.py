"""Connecting over TCP with one deadline for the name look-up and every address together."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time

from integrations.wire import prepare


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
            prepare(attempt)
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
