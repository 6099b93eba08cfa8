"""The ports of the service, looked at before anything begins: a second later the reason would stand in a child's log."""

from __future__ import annotations

import socket

from flows.errors import PortTaken
from flows.prefect_environment import SERVER_HOST
from flows.settings import Settings


def check_ports(settings: Settings) -> None:
    """See whether everything that is to listen can.

    Raises
    ------
    PortTaken
        Names the address and the key to change.
    """
    wanted = [(settings.http.host, settings.http.port, "[http] port")]
    if settings.embedded_prefect:
        wanted.append((SERVER_HOST, settings.prefect.port, "[prefect] port"))
    for section, part in (("[hl7.listener]", settings.hl7.listener), ("[dicom.receiver]", settings.dicom.receiver)):
        if part.enabled:
            wanted.append((part.host, part.port, f"{section} host and port"))
    for host, port, key in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PortTaken(f"{host}:{port} cannot be listened on ({reason}); see {key}") from None
