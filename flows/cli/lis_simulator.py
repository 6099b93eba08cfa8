"""`sphero lis-simulator`: a receiver to try against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.output import fail
from integrations.hl7.faults import Fault

_WIDTH = max(len(fault) for fault in Fault)
FAULTS = "\b\nFaults:\n" + "\n".join(f"  {fault:{_WIDTH}}  {fault.does}" for fault in Fault)


def lis_simulator(
    port: Annotated[int, typer.Option(help="TCP port.")] = 2575,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    fault: Annotated[
        str, typer.Option(metavar="NAME", help="How it misbehaves; the names stand below. None by default.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder in which each message is kept: 000001.hl7 and so on.")
    ] = None,
    cert_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Serve under TLS with this certificate (PEM).")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key, where it is not in the certificate's file.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Clients must have a certificate of these authorities.")
    ] = None,
) -> None:
    """Receive results over MLLP and acknowledge them, or misbehave on purpose. Ends on Ctrl-C."""
    from integrations.errors import TlsError
    from integrations.hl7.simulator import run_simulator
    from integrations.tls import TlsFiles

    if fault and fault not in list(Fault):
        raise typer.BadParameter(f"known faults are {', '.join(Fault)}", param_hint="--fault")
    if cert_file is None and (key_file or ca_file):
        raise typer.BadParameter("is needed for TLS", param_hint="--cert-file")
    tls = TlsFiles(ca_file, cert_file, key_file) if cert_file else None
    try:
        run_simulator(port, host=host, fault=Fault(fault) if fault else None, out=out, tls=tls)
    except TlsError as error:
        fail(error)
    except OSError as error:
        fail(f"{host}:{port} cannot be listened on, or the folder not be written ({error.strerror})")
