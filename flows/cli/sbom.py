"""`sphero sbom`: what the program is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def sbom(
    lock: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A lock with hashes; the service's by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write; standard output by default.")
    ] = None,
) -> None:
    """Write the bill of materials of what a lock installs, as CycloneDX 1.5."""
    from importlib.metadata import version

    from flows.sbom import SHIPPED_LOCK, bill_of_materials, installed_licence

    text = (lock or SHIPPED_LOCK).read_text(encoding="utf-8")
    document = json.dumps(bill_of_materials(text, version("spheroflow"), licence=installed_licence), indent=1)
    if out is None:
        print(document)
    else:
        out.write_text(f"{document}\n", encoding="utf-8")
