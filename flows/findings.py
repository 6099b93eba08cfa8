"""What a check finds: the lines of `sphero doctor`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    state : str
        ``ok``, ``note`` (nothing wrong, but worth knowing) or ``fail``.
    found : str
    remedy : str
        What to do; empty where nothing is.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
