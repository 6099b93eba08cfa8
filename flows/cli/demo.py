"""`sphero demo`: the main job end to end."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.message import readable
from flows.cli.output import fail

if TYPE_CHECKING:
    from flows.demo import Demonstration

DEFAULT = Path("sphero-data/demo")


def demo(
    workdir: Annotated[Path, typer.Option(metavar="DIR", help="Where everything is kept; made if missing.")] = DEFAULT,
) -> None:
    """Show the main job end to end: a drawn case, analysed, recorded, and acknowledged by a simulated LIS.

    Ends by itself and leaves nothing running.
    """
    from flows.cli.progress import shown
    from flows.demo import demonstrate
    from flows.log import set_up_logging

    set_up_logging(as_json=False, level=logging.WARNING)
    with shown("starting", None) as progress:
        done = demonstrate(workdir.absolute(), progress.say)
    _print(done, workdir)
    if not done.acknowledged:
        fail("the acknowledgement is not an AA for our control id")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # Prefect's client would try to reach the server that has ended


def _print(done: Demonstration, workdir: Path) -> None:
    from flows.demo import relative
    from flows.run_texts import percentage

    true = [cell for field in done.drawn.fields for cell in field.cells if not cell.touches_border]
    red = [cell for cell in true if cell.cell_class.is_red_cell]
    spherocytes = sum(cell.cell_class.value == "Spherocyte" for cell in red)
    counts, message, settings = done.result.report.counts, done.message, done.settings
    print(f"drawn   {len(done.drawn.files)} fields with {len(red)} red cells, {spherocytes} of them spherocytes")
    print(f"counted {counts.red_cells} red cells, {counts.spherocytes} of them spherocytes: {percentage(counts)}")
    print(f"\nORU^R01 to {message.destination}, control id {message.control_id}\n{readable(message.body)}")
    print(f"\nits acknowledgement ({message.ack_code})\n{readable(message.ack or b'')}")
    print("\nwhere to look")
    print(f"  overlays   {relative(done.overlays[0].parent)}")
    for overlay in done.overlays:
        print(f"             {overlay.name}")
    print(f"  database   {settings.database.url.removeprefix('sqlite:///')}")
    print(f"  case       SPHERO_CONFIG={workdir / 'sphero.toml'} sphero case show {message.case_id}")
    print(f"  Prefect    SPHERO_CONFIG={workdir / 'sphero.toml'} sphero up, then {settings.prefect_ui_url}")
