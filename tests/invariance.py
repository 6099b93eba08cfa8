"""Whether the same field gives the same counts however it comes: as PNG, DICOM or JPEG, turned or mirrored; with the shipped model.

    python -m tests.invariance [--images NAME=PATTERN ...] [--pixel-aspect A] [--fields N] [--each-view]

PATTERN is a glob of the fields of one case, such as ``p01=barcelona/images/patient_01_*``; without `--images` two cases are drawn.
For each case it prints, for each way to bring its fields, how many fields have other counts, the red cells, and the percentage. Where the
bars stand: identical counts as lossless DICOM, within 1 % of the cells as JPEG of quality 95, within 1 percentage point turned or mirrored.

`--each-view` analyses pictures as they come, not in their usual view (`sphero_core.turning`): how much the network's own opinion turns with the picture.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray

from flows.cli.analyze_dicom import decoded
from sphero_core.case import FieldSource, analyse_case
from sphero_core.detector import Detector
from sphero_core.image import read_image
from sphero_core.turning import Turn
from sphero_core.types import CellClass, FieldFindings
from tests.dicom_objects import make_object, write_object

Pixels = NDArray[np.uint8]
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
JPEG_QUALITY = 95
MOST_JPEG_CHANGE = 0.01  # of the red cells
MOST_TURNED_CHANGE = 1.0  # percentage points


@dataclass(frozen=True, slots=True)
class Way:
    """A way in which the fields of a case may come.

    Attributes
    ----------
    name : str
    suffix : str
        Of the file that is written.
    change : callable
        What is done to the pixels.
    """

    name: str
    suffix: str = ".png"
    change: Callable[[Pixels], Pixels] = lambda pixels: pixels


AS_PNG = Way("PNG")
AS_DICOM = Way("DICOM, lossless", ".dcm")
AS_JPEG = Way(f"JPEG, quality {JPEG_QUALITY}", ".jpg")
TURNED = (
    Way("turned by 90 degrees", change=lambda pixels: np.rot90(pixels, 1)),
    Way("turned by 180 degrees", change=lambda pixels: np.rot90(pixels, 2)),
    Way("turned by 270 degrees", change=lambda pixels: np.rot90(pixels, 3)),
    Way("mirrored left to right", change=lambda pixels: pixels[:, ::-1]),
    Way("mirrored top to bottom", change=lambda pixels: pixels[::-1]),
)
WAYS = (AS_PNG, AS_DICOM, AS_JPEG, *TURNED)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one way came to: red cells and spherocytes of each field, None where it was refused."""

    fields: tuple[tuple[int, int] | None, ...]

    @property
    def red_cells(self) -> int:
        """Of the case."""
        return sum(field[0] for field in self.fields if field)

    @property
    def spherocytes(self) -> int:
        """Of the case."""
        return sum(field[1] for field in self.fields if field)

    @property
    def percent(self) -> float:
        """Spherocytes of a hundred red cells; NaN without any."""
        return 100 * self.spherocytes / self.red_cells if self.red_cells else float("nan")

    def differing(self, other: Counted) -> int:
        """Fields whose counts are not the same."""
        return sum(a != b for a, b in zip(self.fields, other.fields, strict=True))


def write_field(folder: Path, number: int, pixels: Pixels, way: Way) -> Path:
    """Write a field as `way` says."""
    changed = np.ascontiguousarray(way.change(pixels))
    path = folder / f"{number:03d}{way.suffix}"
    if way.suffix == ".dcm":
        return write_object(path, make_object(changed, number=number))
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if way.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), cv2.cvtColor(changed, cv2.COLOR_RGB2BGR), options)
    return path


def count_ways(detector: Detector, fields: Sequence[Pixels], ways: Sequence[Way] = WAYS) -> dict[str, Counted]:
    """Count one case in each way.

    Parameters
    ----------
    detector : Detector
    fields : sequence of ndarray of uint8, shape (height, width, 3)
        RGB in true proportion.
    ways : sequence of Way
    """
    counted = {}
    with tempfile.TemporaryDirectory() as folder:
        for place, way in enumerate(ways):
            there = Path(folder) / str(place)
            there.mkdir()
            sources = [
                FieldSource(write_field(there, number, pixels, way), f"field {number}")
                for number, pixels in enumerate(fields, start=1)
            ]
            if way.suffix == ".dcm":
                sources = decoded(sources, there, pixel_aspect=None, um_per_pixel=None)
            counted[way.name] = Counted(tuple(_counts(each.findings) for each in analyse_case(detector, sources)))
    return counted


def _counts(findings: FieldFindings | None) -> tuple[int, int] | None:
    if findings is None or not findings.quality.accepted:
        return None
    red = [cell for cell in findings.cells if cell.cell_class.is_red_cell and not cell.touches_border]
    return len(red), sum(cell.cell_class is CellClass.SPHEROCYTE for cell in red)


def missed(counted: Mapping[str, Counted]) -> list[str]:
    """The ways that miss their bar."""
    base = counted[AS_PNG.name]
    bars: dict[str, Callable[[Counted], bool]] = {
        AS_DICOM.name: lambda each: each == base,
        AS_JPEG.name: lambda each: abs(each.red_cells - base.red_cells) <= MOST_JPEG_CHANGE * base.red_cells,
        **{way.name: lambda each: abs(each.percent - base.percent) <= MOST_TURNED_CHANGE for way in TURNED},
    }
    return [name for name, holds in bars.items() if name in counted and not holds(counted[name])]


def load_shipped() -> Detector:
    """The shipped model."""
    from sphero_core.bundle import load_bundle, shipped_bundle
    from sphero_core.detector import load_detector

    return load_detector(load_bundle(shipped_bundle()))


@contextmanager
def as_they_come() -> Iterator[None]:
    """No picture is brought to its usual view."""
    unturned = Turn(transposed=False, across=False, down=False)
    with (
        patch("sphero_core.analysis.usual_turn", lambda _: unturned),
        patch("sphero_core.scale.usual_view", unturned.apply),
        patch("sphero_core.quality.usual_view", unturned.apply),
    ):
        yield


@functools.cache
def drawn(share: float, fields: int) -> tuple[Pixels, ...]:
    """The fields of a drawn smear."""
    from sphero_core.synthetic import draw_smear
    from sphero_core.synthetic_style import SmearStyle

    rng = np.random.default_rng(20261125)
    style = SmearStyle(width=640, height=480, red_cells=34, spherocyte_share=share)
    return tuple(draw_smear(style, rng).pixels for _ in range(fields))


def read_fields(pattern: str, most: int, aspect: float) -> list[Pixels]:
    """The fields that a pattern names, spread over the case if there are more than `most`."""
    named = Path(pattern)
    paths = [path for path in sorted(named.parent.glob(named.name)) if path.suffix.casefold() in SUFFIXES]
    chosen = paths if len(paths) <= most else [paths[i * len(paths) // most] for i in range(most)]
    return [read_image(path, pixel_aspect=aspect).pixels for path in chosen]


def main(arguments: list[str]) -> int:
    """Print the table; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.invariance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", action="append", default=[], metavar="NAME=PATTERN")
    parser.add_argument("--fields", type=int, default=12)
    parser.add_argument("--pixel-aspect", type=float, default=1.0)
    parser.add_argument("--each-view", action="store_true")
    asked = parser.parse_args(arguments)
    patterns = dict(each.split("=", 1) for each in asked.images)
    cases: dict[str, Sequence[Pixels]] = {
        name: read_fields(pattern, asked.fields, asked.pixel_aspect) for name, pattern in patterns.items()
    } or {"normal, drawn": drawn(0.0, asked.fields), "spherocytes, drawn": drawn(0.2, asked.fields)}
    detector, failed = load_shipped(), 0
    print("| case | its fields | other counts in | red cells | spherocytes | percentage | |\n|" + " --- |" * 7)
    for case, fields in cases.items():
        if not fields:
            parser.error(f"{case}: no image is there")
        with as_they_come() if asked.each_view else nullcontext():
            counted = count_ways(detector, fields)
        bad = missed(counted)
        failed += len(bad)
        base = counted[AS_PNG.name]
        for name, each in counted.items():
            verdict = "" if name == AS_PNG.name else "**missed**" if name in bad else "holds"
            print(
                f"| {case} | {name} | {each.differing(base)} of {len(fields)} | {each.red_cells} | {each.spherocytes}"
                f" | {each.percent:.1f} % | {verdict} |",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
