"""How many real fields the limits of quality accept, and how many spoilt ones they refuse; prints the table of deploy/docs/quality.md.

    python -m tests.quality_figures DATA [--half report|tune] [--every N] [--aspect A]

DATA is a folder of images. Those of one case, whose names agree up to the last ``_`` or whose numbers lie in one block, share one cell diameter.
Fields are halved by their place in the sorted list: limits were tuned on the even ones and are reported on the odd ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from sphero_core.evaluation.spoil import SPOILT
from sphero_core.image import read_image
from sphero_core.quality import assess_field
from sphero_core.scale import case_cell_diameter, measure_cell_diameters

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
SCALE_FIELDS = 8  # as many as the service measures a case's scale in


def cases_in(folder: Path, block: int) -> dict[str, list[Path]]:
    """Images by case: by what comes before the last ``_`` of their names or, where these are numbers, by blocks of so many."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(each for each in folder.rglob("*") if each.suffix.casefold() in SUFFIXES):
        number = int(path.stem) // block if path.stem.isdigit() else path.stem.rpartition("_")[0]
        found[f"{path.parent}:{number}"].append(path)
    return found


def main(arguments: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality_figures", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="spoil only every N-th field")
    parser.add_argument("--aspect", type=float, default=1.0, help="display width over height of one stored pixel")
    parser.add_argument("--block", type=int, default=10, help="numbered images of one smear")
    given = parser.parse_args(arguments)
    looked_at = 0
    reasons: Counter[str] = Counter()
    accepted, refused, tried, milliseconds = 0, Counter[str](), Counter[str](), []
    rng = np.random.default_rng(20261125)
    place = 0
    for paths in cases_in(given.data, given.block).values():
        fields = [read_image(path, pixel_aspect=given.aspect) for path in paths]
        diameter = case_cell_diameter([measure_cell_diameters(field.pixels) for field in fields[:SCALE_FIELDS]])
        for field in fields:
            place += 1
            if place % 2 == (given.half == "tune"):
                continue
            started = time.perf_counter()
            quality = assess_field(field.pixels, diameter)
            milliseconds.append(1e3 * (time.perf_counter() - started))
            looked_at += 1
            accepted += quality.accepted
            reasons.update(reason.split(":")[0] for reason in quality.reasons)
            if looked_at % given.every or diameter is None:
                continue
            for spoilt in SPOILT:
                tried[spoilt.name] += 1
                refused[spoilt.name] += not assess_field(spoilt.change(field.pixels, diameter, rng), diameter).accepted
    if not looked_at:
        print("no image is there", file=sys.stderr)
        return 1
    print(f"| as it is | accepted | {accepted} of {looked_at} | {accepted / looked_at:.1%} |")
    for spoilt in SPOILT:
        share = refused[spoilt.name] / tried[spoilt.name]
        print(f"| {spoilt.text} | refused | {refused[spoilt.name]} of {tried[spoilt.name]} | {share:.1%} |")
    everything = refused.total() / tried.total()
    print(f"| all spoilt | refused | {refused.total()} of {tried.total()} | {everything:.1%} |")
    print(f"median {np.median(milliseconds):.1f} ms a field; why fields as they are were refused: {dict(reasons)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
