"""One image in a file as its header describes it; shared by the header readers and the decoders."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from sphero_core.errors import DamagedImage


class Colour(StrEnum):
    """How samples become colour."""

    GREY = "grey"
    RGB = "rgb"
    PALETTE = "palette"


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """One image in a file.

    Attributes
    ----------
    page : int
        Position in the file's chain of pages (0 but for TIFF).
    width, height : int
        Stored size in pixels, before orientation.
    bits : int
        Per sample.
    colour : Colour
    inverted : bool
        Grey with white as zero.
    alpha : bool
        Whether the last sample is (straight) opacity.
    orientation : int
        Exif orientation, 1 (upright) to 8.
    """

    page: int
    width: int
    height: int
    bits: int
    colour: Colour
    inverted: bool = False
    alpha: bool = False
    orientation: int = 1


def take(stream: BinaryIO, count: int) -> bytes:
    """Read exactly `count` bytes, or raise DamagedImage."""
    data = stream.read(count)
    if len(data) != count:
        raise DamagedImage("The header is cut off: the file is truncated; copy it again from the microscope.")
    return data


def refuse_no_pixels(width: int, height: int) -> None:
    """Raise DamagedImage for a size without pixels."""
    if width < 1 or height < 1:
        raise DamagedImage(f"The header claims {width} x {height} pixels: the file is corrupt; copy it again.")
