"""Small helpers that tests of every kind share: real peers, deadlines, ports."""

from __future__ import annotations

import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")

PEER_PREFIX = "missing peer "
REQUIRE_PEERS = "SPHERO_REQUIRE_PEERS"


def missing_peer(name: str, remedy: str) -> NoReturn:
    """Skip the test because a real peer is not on this machine; fail it instead where peers are required.

    Parameters
    ----------
    name : str
        The peer as it is named in the summary of the run, e.g. ``postgresql``.
    remedy : str
        What to do to have it.
    """
    reason = f"{PEER_PREFIX}{name}: {remedy}"
    if os.environ.get(REQUIRE_PEERS) == "1":
        pytest.fail(f"{reason} ({REQUIRE_PEERS}=1 forbids the skip)", pytrace=False)
    pytest.skip(reason)


def peer(name: str, *executables: str, remedy: str) -> Path:
    """Return the first of `executables` found on PATH, or treat the peer `name` as missing."""
    for executable in executables:
        if found := shutil.which(executable):
            return Path(found)
    missing_peer(name, remedy)


def wait_for(
    probe: Callable[[], T],
    deadline_s: float,
    *,
    what: str = "the expected state",
    every_s: float = 0.02,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> T:
    """Ask `probe` until its answer is true and return that answer.

    Parameters
    ----------
    probe : callable
        Asked at once and then every `every_s` seconds; it should not raise while the state is on its way.
    deadline_s : float
        Seconds after which waiting is given up.
    what : str
        What is waited for, in words for the failure.

    Raises
    ------
    TimeoutError
        The deadline passed; the message holds the last answer.
    """
    end = clock() + deadline_s
    while True:
        answer = probe()
        if answer:
            return answer
        if clock() >= end:
            message = f"{what} did not come within {deadline_s:g} s; the last answer was {answer!r}"
            raise TimeoutError(message)
        pause(every_s)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that was free a moment ago; prefer binding port 0 where the program under test can.

    It lies outside the range from which the kernel gives a connection its own end, so that none takes it before its
    server listens.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(10_000, lowest) if lowest > 11_000 else range(61_000, 65_536)
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, random.choice(candidates)))
            return int(probe.getsockname()[1])
