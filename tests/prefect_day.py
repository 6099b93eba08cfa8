"""A made-up day in Prefect, and pictures of what its pages show then.

Several good cases, one that is held for want of a patient, one that the LIS refuses, one without a usable image, one with a
field put aside; with the shipped detector, on drawn smears. Needs Chromium.

    python -m tests.prefect_day --out runs/day
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sphero_core.synthetic import SmearStyle
from sphero_core.synthetic_case import write_synthetic_case
from tests.acceptance.browser import Browser
from tests.running import Prefect, RunningService, ThirdPartyLis, manifest
from tests.support import free_port, wait_for

STYLE = SmearStyle(width=960, height=720, red_cells=80, overlap=0.08, platelets=5)
GOOD, REFUSED, HELD, EMPTY, PARTLY = ("DAY-1", "DAY-2", "DAY-3"), "DAY-REFUSED", "DAY-HELD", "DAY-EMPTY", "DAY-PARTLY"
PERSONAL = (*GOOD, REFUSED, HELD, EMPTY, PARTLY, "FamilyP", "Zoe", "P1")
NO_IMAGE = b"this is no picture\n"
DAY_SECONDS = 900.0


def main() -> None:
    """Live the day, and take the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--fields", type=int, default=3, help="of each case")
    parser.add_argument("--fake", action="store_true", help="a made-up detector, which is faster")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        ThirdPartyLis(free_port(), answer=lambda message: "AR" if REFUSED.encode() in message else "AA") as lis,
        RunningService(Path(folder), lis.port, field_seconds=0.1 if arguments.fake else None) as service,
    ):
        service.start(DAY_SECONDS)
        prefect = Prefect(service.prefect_port)
        live(service, arguments.fields)
        wait_for(lambda: has_come_to_its_end(prefect), DAY_SECONDS, what="the end of the day", every_s=1.0)
        for flow in ("housekeeping", "verify-audit"):
            prefect.run_now(flow)
        look(service, prefect, prefect.run_now("reconcile"), arguments.out)
        service.stop()


def live(service: RunningService, fields: int) -> None:
    """Drop the cases of the day."""
    for number, accession in enumerate((*GOOD, REFUSED, HELD, EMPTY, PARTLY), start=1):
        files = smear(service.folder / f"drawn-{number}", number, fields)
        if accession == EMPTY:
            files = dict.fromkeys(files, NO_IMAGE)
        elif accession == PARTLY:
            files["field-01.png"] = files["field-01.png"][:2000]
        service.drop(accession, files, None if accession == HELD else manifest(f"P1{number}", fields))


def smear(folder: Path, seed: int, fields: int) -> dict[str, bytes]:
    """Images of one specimen."""
    write_synthetic_case(folder, seed, fields, style=STYLE)
    return {path.name: path.read_bytes() for path in sorted(folder.glob("field-*.png"))}


def has_come_to_its_end(prefect: Prefect) -> bool:
    """Whether every case of the day has its outcome."""
    names = sorted(run["state_name"] for run in prefect.runs("process-case"))
    return names == sorted(["Delivered"] * (len(GOOD) + 1) + ["Parked", "Held", "NoResult"])


def look(service: RunningService, prefect: Prefect, reconciled: Mapping[str, Any], out: Path) -> None:
    """Take a picture of each page that a person would open, and see that none names anybody.

    Parameters
    ----------
    service : RunningService
    prefect : Prefect
    reconciled : mapping
        The run that lists what waits for a person.
    out : Path
    """
    root = f"http://127.0.0.1:{service.prefect_port}"
    cases = {name: service.id_of(name) for name in (GOOD[0], REFUSED, HELD, EMPTY, PARTLY)}
    shown: list[str] = []
    with Browser() as browser:

        def page(name: str, path: str, *texts: str, height: int = 1000) -> None:
            text = browser.open(f"{root}{path}", *texts)
            browser.picture(out / f"{name}.png", height)
            shown.append(text)
            (out / f"{name}.txt").write_text(text)

        page("dashboard", "/dashboard", "Flow Runs", "sphero")
        page("runs", "/runs", cases[HELD], "Held", "Parked", "NoResult", height=2000)
        page("deployments", "/deployments", "verify-audit", "poll-store", height=1400)
        for name, accession, told in (
            ("held", HELD, "no patient is named"),
            ("parked", REFUSED, "a person must look"),
            ("no-result", EMPTY, "No result: "),
            ("partly", PARTLY, "fields were put aside"),
            ("good", GOOD[0], "accepted with AA"),
        ):
            run = prefect.run_of(cases[accession])
            page(f"run-{name}", f"/runs/flow-run/{run['id']}", cases[accession], told, height=1400)
        run = prefect.run_of(cases[GOOD[0]])
        for artifact in prefect.artifacts(run):
            kind = artifact["type"] if "Gallery" not in (artifact["description"] or "") else "gallery"
            page(f"artifact-{kind}", f"/artifacts/artifact/{artifact['id']}", cases[GOOD[0]], height=1800)
        page("artifacts", "/artifacts", "waits-for-a-person")
        (listed,) = prefect.artifacts(reconciled)
        page("waits-for-a-person", f"/artifacts/artifact/{listed['id']}", "no patient is named", cases[HELD])
        page("automations", "/automations")
        page("work-pool", "/work-pools/work-pool/sphero", "sphero")
    leaks = [(text[:40], personal) for text in shown for personal in PERSONAL if personal in text]
    assert not leaks, leaks


if __name__ == "__main__":
    main()
