"""Cases from a folder of images to signed and corrected results at python-hl7's server, with the shipped model.

    python -m tests.signed_cases --out FOLDER [--images NAME=FOLDER ...] [--pixel-aspect A] [--fields N]

Beside them it draws one case without spherocytes and one with them, which is withdrawn at last. For each it prints what the LIS has received, and
writes the report for people of each version. Images are copied, never changed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hl7

from tests.running import ROOT, RunningService, ThirdPartyLis, manifest
from tests.support import free_port

SETTINGS: Mapping[str, str] = {
    "SPHERO_REVIEW__AUTHORITY": "HOSP",
    "SPHERO_REVIEW__PERSON": json.dumps(
        [{"login": "apruefer", "identifier": "4711", "family": "Pruefer", "given": "Anna"}]
    ),
}
PATIENCE_SECONDS = 1800.0
PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


def sphero(service: RunningService, *words: str) -> str:
    """Run a command as a person would, beside the service; gives what it printed."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
    environment = {
        **os.environ,
        **SETTINGS,
        "SPHERO_CONFIG": str(service.folder / "sphero.toml"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def drawn(folder: Path) -> dict[str, Path]:
    """A normal smear and one with spherocytes."""
    from sphero_core.synthetic import SmearStyle
    from sphero_core.synthetic_case import write_synthetic_case

    styles = {
        "normal": SmearStyle(width=1280, height=960, red_cells=130, spherocyte_share=0.0),
        "spherocytes": SmearStyle(width=1280, height=960, red_cells=130, spherocyte_share=0.2),
    }
    for seed, (name, style) in enumerate(styles.items()):
        write_synthetic_case(folder / name, seed, 8, style=style)
    return {name: folder / name for name in styles}


def sign_and_correct(
    service: RunningService, lis: ThirdPartyLis, name: str, images: Path, fields: int, aspect: float
) -> None:
    """One case: reported, signed, a cell relabelled, signed again."""
    files = [path for path in sorted(images.iterdir()) if path.suffix.lower() in PICTURES][:fields]
    before, started = service.delivered(), time.monotonic()
    contents = {f"field-{number:03d}{path.suffix.lower()}": path.read_bytes() for number, path in enumerate(files, 1)}
    service.drop(name, contents, manifest(f"P-{name}", len(files), pixel_aspect=aspect))
    service.wait_delivered(before + 1, PATIENCE_SECONDS)
    reported = time.monotonic() - started
    out = service.folder / f"report-{name}"
    sphero(service, "case", "export", name, "--out", str(out / "preliminary"))
    sphero(service, "case", "sign", name, "--by", "apruefer", "--comment", "Seen with the smear.")
    service.wait_delivered(before + 2)
    sphero(service, "case", "export", name, "--out", str(out / "final"))
    lines = [line.split(",") for line in (out / "final" / "cells.csv").read_text().splitlines()]
    number, kind, border = (lines[0].index(name) for name in ("cell", "class", "border"))
    # Cells at the border do not count: another class for one of them would change nothing that is told.
    first = next(line for line in lines[1:] if line[kind] in ("RBC", "Spherocyte") and line[border] == "false")
    other = "Spherocyte" if first[kind] == "RBC" else "RBC"
    sphero(service, "case", "relabel", name, f"1.{first[number]}", other)
    sphero(service, "case", "sign", name, "--by", "apruefer")
    service.wait_delivered(before + 3)
    sphero(service, "case", "export", name, "--out", str(out / "corrected"))
    messages = [hl7.parse(body.decode()) for body in lis.received[before:]]
    print(f"\n{name}: {len(files)} fields, preliminary after {reported:.0f} s; reports in {out}", flush=True)
    for message in messages:
        print("  " + _line(message), flush=True)
    assert [str(message.segment("OBR")[25]) for message in messages] == ["P", "F", "C"]


def withdraw(service: RunningService, lis: ThirdPartyLis, name: str) -> None:
    """A case that turns out to be another patient's."""
    before = service.delivered()
    with service.database.reading() as work:
        case_id = work.identities.find(name)  # the accession number is free for the right patient afterwards
    assert case_id is not None
    sphero(service, "case", "reject", name, "--wrong-patient", "--reason", "Tubes were exchanged.", "--by", "apruefer")
    service.wait_delivered(before + 1)
    sphero(
        service,
        "case",
        "export",
        case_id,
        "--what",
        "report",
        "--out",
        str(service.folder / f"report-{name}" / "withdrawn"),
    )
    message = hl7.parse(lis.received[-1].decode())
    states = sorted({f"OBX-11 {row[11]}" for row in message.segments("OBX")})
    print(f"\n{name} withdrawn: {message.segment('OBR')[25]}, {', '.join(states)}", flush=True)


def _line(message: Any) -> str:
    found = {str(row[3]).split("^")[0]: str(row[5]) for row in message.segments("OBX")}
    request = message.segment("OBR")
    signed = str(request[32]) if len(request) > 32 else ""
    observer = next((str(row[16]) for row in message.segments("OBX") if len(row) > 16 and str(row[16])), "")
    grade = found.get("802-9", "").split("^")
    return f"{request[25]}  {found['6742-1']}  grade {grade[3] if len(grade) > 3 else '-'}  OBR-32 {signed or '-'}  OBX-16 {observer or '-'}"


def main() -> None:
    """Run the cases one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--fields", type=int, default=8)
    parser.add_argument("--pixel-aspect", type=float, default=1.0)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    cases = {name: Path(folder) for name, _, folder in (each.partition("=") for each in asked.images)}
    cases |= drawn(asked.out / "drawn")
    with (
        ThirdPartyLis(free_port()) as lis,
        RunningService(asked.out, lis.port, field_seconds=None, more=SETTINGS) as service,
    ):
        service.start()
        for name, folder in cases.items():
            aspect = asked.pixel_aspect if folder.parent != asked.out / "drawn" else 1.0
            sign_and_correct(service, lis, name, folder, asked.fields, aspect)
        withdraw(service, lis, next(reversed(cases)))
        service.stop()


if __name__ == "__main__":
    main()
