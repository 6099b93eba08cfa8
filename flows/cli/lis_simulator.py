"""`sphero lis-simulator`: a receiver to try against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.output import fail


def lis_simulator(
    port: Annotated[int, typer.Option(help="TCP port.")] = 2575,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    fault: Annotated[str, typer.Option(help="How it misbehaves, such as silent, ae or late-ack.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder in which each message is kept.")] = None,
) -> None:
    """Receive results over MLLP and acknowledge them, or misbehave on purpose. Ends on Ctrl-C."""
    from integrations.hl7.faults import Fault
    from integrations.hl7.simulator import run_simulator

    if fault and fault not in list(Fault):
        raise typer.BadParameter(f"known faults are {', '.join(Fault)}", param_hint="--fault")
    try:
        run_simulator(port, host=host, fault=Fault(fault) if fault else None, out=out)
    except OSError as error:
        fail(f"{host}:{port} cannot be listened on, or the folder not be written ({error.strerror})")
