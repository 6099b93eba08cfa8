"""Open connections of a listening port, as the kernel counts them: whatever process of ours holds them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from flows.settings import Settings

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED = "01"  # proc(5), include/net/tcp_states.h


def open_connections(port: int, tables: tuple[str, ...] = _TABLES) -> int:
    """Count the established connections whose local port this is; 0 where the system does not tell."""
    count = 0
    for table in tables:
        with suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                columns = line.split()
                count += columns[3] == _ESTABLISHED and int(columns[1].rpartition(":")[2], 16) == port
    return count


def listener_connections(settings: Settings) -> dict[str, int]:
    """Count the open connections of each of our listeners."""
    receiver, orders = settings.dicom.receiver, settings.hl7.listener
    ports = {"dicom": receiver.port if receiver.enabled else None, "orders": orders.port if orders.enabled else None}
    return {name: open_connections(port) for name, port in ports.items() if port is not None}
