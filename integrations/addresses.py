"""Addresses of peers, and which of them may connect."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(addresses: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks, such as ``10.1.2.3`` and ``10.1.0.0/16``.

    Raises
    ------
    ValueError
        If one is neither.
    """
    return tuple(ipaddress.ip_network(address) for address in addresses)


def is_admitted(peer: str, allowed: tuple[Network, ...]) -> bool:
    """Whether a peer may connect.

    Parameters
    ----------
    peer : str
        Its address as the system tells it; one of IPv4 that came in over IPv6 counts as what it is.
    allowed : tuple of networks
        Empty for all.
    """
    address = ipaddress.ip_address(peer.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return not allowed or any(address in network for network in allowed)
