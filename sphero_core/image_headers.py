"""What an image file says about itself: a small reader of JPEG, PNG and TIFF headers.

Written here rather than left to a decoder, so that size and layout are known *before* any decoder runs, and a hostile
header ends in one of our own errors. Bounded in every loop.

Sources: ITU-T T.81 annex B (JPEG markers), PNG specification (third edition) clauses 5 and 11; for TIFF see
`sphero_core.image_tiff`.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

from sphero_core.errors import DamagedImage, UnsupportedImage
from sphero_core.image_frame import Colour, FrameHeader, refuse_no_pixels, take
from sphero_core.image_tiff import exif_orientation, tiff_frames

JPEG, PNG, TIFF = "image/jpeg", "image/png", "image/tiff"

_MAX_PNG_CHUNKS = 2_000  # before the pixels
_MAX_JPEG_SEGMENTS = 2_000  # ICC profiles and previews may fill some hundred segments of 64 KiB

_OTHER_FORMATS = {
    b"BM": "a BMP",
    b"GIF8": "a GIF",
    b"RIFF": "a WebP or another RIFF file",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000",
    b"\xff\x4f\xff\x51": "a JPEG 2000",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"\xd0\xcf\x11\xe0": "an office document or a microscope vendor's own container",
}
_REMEDY = "export the field as JPEG, PNG or TIFF"


@dataclass(frozen=True, slots=True)
class Header:
    """A file's media type and its frames, in order."""

    media_type: str
    frames: tuple[FrameHeader, ...]


def read_header(stream: BinaryIO, max_frames: int) -> Header:
    """Read the header of an image, whatever its name says.

    Parameters
    ----------
    stream : binary file
        Seekable; read from its start.
    max_frames : int
        Pages of a TIFF above this are refused.

    Raises
    ------
    UnsupportedImage, DamagedImage, ImageTooLarge
    """
    stream.seek(0)
    start = stream.read(132)
    if not start:
        raise DamagedImage("The file is empty (0 bytes): copy it again from the microscope.")
    if start.startswith(b"\xff\xd8\xff"):
        return Header(JPEG, (_jpeg(stream),))
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return Header(PNG, (_png(stream),))
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return Header(TIFF, tiff_frames(stream, max_frames))
    raise UnsupportedImage(_what_else(start))


def _what_else(start: bytes) -> str:
    for magic, name in _OTHER_FORMATS.items():
        if start.startswith(magic):
            return f"The file is {name}, which is not read here: {_REMEDY}."
    if start[128:132] == b"DICM":
        return (
            "The file is DICOM, which is not read here: use `sphero analyze`, the watched folder or the DICOM receiver."
        )
    if not any(start):
        return f"The file holds only zeros where a header belongs: copy it again, or {_REMEDY}."
    return f"The content is not a JPEG, PNG or TIFF image, whatever the name says: {_REMEDY}."


# ----------------------------------------------------------------------------------------------------------------- JPEG
_SOF_READ = {0xC0, 0xC1, 0xC2}  # baseline, extended sequential, progressive; Huffman coded
_SOF_ALL = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(stream: BinaryIO) -> FrameHeader:
    stream.seek(2)
    orientation: int | None = None
    for _ in range(_MAX_JPEG_SEGMENTS):
        marker = _jpeg_marker(stream)
        if marker in (0x01, *range(0xD0, 0xD9)):  # stand-alone
            continue
        if marker in (0xD9, 0xDA):
            break
        length = int(struct.unpack(">H", take(stream, 2))[0])
        if length < 2:
            break
        if marker in _SOF_ALL:
            return _jpeg_frame(marker, take(stream, length - 2), orientation or 1)
        if marker == 0xE1 and orientation is None:
            orientation = exif_orientation(take(stream, length - 2))
        else:
            stream.seek(length - 2, io.SEEK_CUR)
    raise DamagedImage("The JPEG header is corrupt: no picture size was found; copy the file again.")


def _jpeg_marker(stream: BinaryIO) -> int:
    if take(stream, 1) != b"\xff":
        raise DamagedImage("The JPEG header is corrupt: a marker is missing; copy the file again.")
    for _ in range(64):  # fill bytes
        code = take(stream, 1)[0]
        if code != 0xFF:
            return code
    raise DamagedImage("The JPEG header is corrupt: a marker is missing; copy the file again.")


def _jpeg_frame(marker: int, body: bytes, orientation: int) -> FrameHeader:
    if len(body) < 6:
        raise DamagedImage("The JPEG header is corrupt: the picture size is cut off; copy the file again.")
    bits, height, width, components = struct.unpack(">BHHB", body[:6])
    if marker not in _SOF_READ or bits != 8:
        raise UnsupportedImage(
            f"The JPEG is of a kind that is not read (coding 0x{marker:02X}, {bits} bits): save it as baseline, 8 bits."
        )
    if components == 4:
        raise UnsupportedImage("The JPEG is stored as CMYK (colours for print): save it as RGB.")
    if components not in (1, 3):
        raise UnsupportedImage(f"The JPEG has {components} colour components, not 1 or 3: save it as RGB.")
    refuse_no_pixels(width, height)
    return FrameHeader(0, width, height, 8, Colour.GREY if components == 1 else Colour.RGB, orientation=orientation)


# ------------------------------------------------------------------------------------------------------------------ PNG
_PNG_COLOUR = {0: Colour.GREY, 2: Colour.RGB, 3: Colour.PALETTE, 4: Colour.GREY, 6: Colour.RGB}


def _png(stream: BinaryIO) -> FrameHeader:
    stream.seek(8)
    length, kind, width, height, bits, colour = struct.unpack(">I4sIIBB", take(stream, 18))
    if kind != b"IHDR" or length != 13 or colour not in _PNG_COLOUR:
        raise DamagedImage("The PNG header is corrupt: copy the file again.")
    if bits < 8 and colour == 0:
        raise UnsupportedImage(f"The PNG has {bits} bits of grey per pixel, too few for a smear: save it with 8.")
    refuse_no_pixels(width, height)
    stream.seek(33)
    return FrameHeader(
        0, width, height, bits, _PNG_COLOUR[colour], alpha=colour in (4, 6), orientation=_png_orientation(stream)
    )


def _png_orientation(stream: BinaryIO) -> int:
    for _ in range(_MAX_PNG_CHUNKS):
        length, kind = struct.unpack(">I4s", take(stream, 8))
        if kind == b"eXIf" and length <= 1 << 16:
            return exif_orientation(take(stream, length)) or 1
        if kind in (b"IDAT", b"IEND"):
            break
        stream.seek(length + 4, io.SEEK_CUR)
    return 1
