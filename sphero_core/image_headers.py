"""What an image file says about itself: a small reader of JPEG, PNG and TIFF headers.

Written here rather than left to a decoder, so that size and layout are known *before* any decoder runs, and a hostile
header ends in one of our own errors. Bounded in every loop.

Sources: ITU-T T.81 annex B (JPEG markers), PNG specification (third edition) clauses 5 and 11, TIFF 6.0 section 2,
the BigTIFF extension of libtiff, Exif 2.32 clause 4.6.4 (orientation, tag 274).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from sphero_core.errors import DamagedImage, ImageTooLarge, UnsupportedImage

JPEG, PNG, TIFF = "image/jpeg", "image/png", "image/tiff"

_MAX_JPEG_SEGMENTS = 2_000  # ICC profiles and previews may fill some hundred segments of 64 KiB
_MAX_IFD_ENTRIES = 4_096
_MAX_TAG_VALUES = 16  # enough for BitsPerSample and the like; longer tags (strip tables) are not read

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
        return Header(TIFF, _tiff(stream, max_frames))
    raise UnsupportedImage(_what_else(start))


def _what_else(start: bytes) -> str:
    for magic, name in _OTHER_FORMATS.items():
        if start.startswith(magic):
            return f"The file is {name}, which is not read here: {_REMEDY}."
    if start[128:132] == b"DICM":
        return "The file is DICOM, which the folder does not take: send it to the DICOM receiver or export it as TIFF."
    if not any(start):
        return f"The file holds only zeros where a header belongs: copy it again, or {_REMEDY}."
    return f"The content is not a JPEG, PNG or TIFF image, whatever the name says: {_REMEDY}."


def _take(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise DamagedImage("The header is cut off: the file is truncated; copy it again from the microscope.")
    return data


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
        length = int(struct.unpack(">H", _take(stream, 2))[0])
        if length < 2:
            break
        if marker in _SOF_ALL:
            return _jpeg_frame(marker, _take(stream, length - 2), orientation or 1)
        if marker == 0xE1 and orientation is None:
            orientation = exif_orientation(_take(stream, length - 2))
        else:
            stream.seek(length - 2, io.SEEK_CUR)
    raise DamagedImage("The JPEG header is corrupt: no picture size was found; copy the file again.")


def _jpeg_marker(stream: BinaryIO) -> int:
    if _take(stream, 1) != b"\xff":
        raise DamagedImage("The JPEG header is corrupt: a marker is missing; copy the file again.")
    for _ in range(64):  # fill bytes
        code = _take(stream, 1)[0]
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
    _refuse_no_pixels(width, height)
    return FrameHeader(0, width, height, 8, Colour.GREY if components == 1 else Colour.RGB, orientation=orientation)


def exif_orientation(segment: bytes) -> int | None:
    """Orientation from a JPEG APP1 segment or a PNG eXIf chunk; None when it holds none that can be read."""
    blob = segment.removeprefix(b"Exif\0\0")
    try:
        tags, _ = _Ifds(io.BytesIO(blob)).read_first()
    except (DamagedImage, UnsupportedImage):
        return None  # pictures with broken Exif are common and show upright in every viewer
    value = tags.get(274, (0,))[0]
    return value if 1 <= value <= 8 else None


# ------------------------------------------------------------------------------------------------------------------ PNG
_PNG_COLOUR = {0: Colour.GREY, 2: Colour.RGB, 3: Colour.PALETTE, 4: Colour.GREY, 6: Colour.RGB}


def _png(stream: BinaryIO) -> FrameHeader:
    stream.seek(8)
    length, kind, width, height, bits, colour = struct.unpack(">I4sIIBB", _take(stream, 18))
    if kind != b"IHDR" or length != 13 or colour not in _PNG_COLOUR:
        raise DamagedImage("The PNG header is corrupt: copy the file again.")
    if bits < 8 and colour == 0:
        raise UnsupportedImage(f"The PNG has {bits} bits of grey per pixel, too few for a smear: save it with 8.")
    _refuse_no_pixels(width, height)
    return FrameHeader(0, width, height, bits, _PNG_COLOUR[colour], alpha=colour in (4, 6))


# ----------------------------------------------------------------------------------------------------------------- TIFF
Tags = dict[int, tuple[int, ...]]
_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_COMPRESSIONS = {1, 5, 7, 8, 32773, 32946, 50000}  # none, LZW, JPEG, deflate (both numbers), PackBits, Zstandard


class _Ifds:
    """The chain of image file directories, classic or BigTIFF, either byte order."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.seek(0)
        magic = _take(stream, 4)
        if magic not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise DamagedImage("The TIFF header is corrupt: copy the file again.")
        self._order = "<" if magic[:2] == b"II" else ">"
        self._big = b"+" in magic
        if self._big:
            _take(stream, 4)
        self._first = self._number("Q" if self._big else "I")

    def _number(self, code: str) -> int:
        layout = struct.Struct(self._order + code)
        return int(layout.unpack(_take(self._stream, layout.size))[0])

    def read_first(self) -> tuple[Tags, int]:
        return self.read(self._first)

    def read(self, offset: int) -> tuple[Tags, int]:
        """Tags of the directory at `offset`, and the offset of the next (0: none)."""
        self._stream.seek(offset)
        count = self._number("Q" if self._big else "H")
        if not 0 < count <= _MAX_IFD_ENTRIES:
            raise DamagedImage("The TIFF directory is corrupt: copy the file again.")
        size = 20 if self._big else 12
        entries = _take(self._stream, count * size)
        following = self._number("Q" if self._big else "I")
        tags: Tags = {}
        for start in range(0, len(entries), size):
            tag, values = self._entry(entries[start : start + size])
            if values:
                tags.setdefault(tag, values)
        return tags, following

    def _entry(self, entry: bytes) -> tuple[int, tuple[int, ...]]:
        tag, kind, count = struct.unpack(self._order + ("HHQ" if self._big else "HHI"), entry[: 12 if self._big else 8])
        if kind not in _TYPES or not 0 < count <= _MAX_TAG_VALUES:
            return tag, ()
        layout = struct.Struct(f"{self._order}{count}{_TYPES[kind]}")
        value = entry[12:] if self._big else entry[8:]
        if layout.size > len(value):
            self._stream.seek(struct.unpack(self._order + ("Q" if self._big else "I"), value)[0])
            value = _take(self._stream, layout.size)
        return tag, layout.unpack(value[: layout.size])


def _tiff(stream: BinaryIO, max_frames: int) -> tuple[FrameHeader, ...]:
    ifds = _Ifds(stream)
    tags, following = ifds.read_first()
    frames: list[FrameHeader] = []
    seen: set[int] = set()
    page = 0
    while True:
        if not tags.get(254, (0,))[0] & 0b101:  # previews and transparency masks are no fields
            frames.append(_tiff_frame(page, tags))
        if not following:
            break
        if following in seen:
            raise DamagedImage("The TIFF's pages lead in a circle: the file is corrupt; export it again.")
        if page + 1 >= max_frames:
            raise ImageTooLarge(f"The TIFF has more than {max_frames} pages: split it into smaller files.")
        seen.add(following)
        tags, following = ifds.read(following)
        page += 1
    if not frames:
        raise UnsupportedImage("The TIFF holds only previews or masks, no full picture: export the field again.")
    return tuple(frames)


def _tiff_frame(page: int, tags: Tags) -> FrameHeader:
    width, height = tags.get(256, (0,))[0], tags.get(257, (0,))[0]
    _refuse_no_pixels(width, height)
    samples = tags.get(277, (1,))[0]
    depths = tags.get(258, (1,))
    bits, photometric = depths[0], tags.get(262, (-1,))[0]
    if set(tags.get(339, (1,))) != {1}:
        raise UnsupportedImage("The TIFF stores signed or floating point samples: save it with 8 or 16 bits unsigned.")
    if photometric == 5:
        raise UnsupportedImage("The TIFF is stored as CMYK (colours for print): save it as RGB.")
    if len(set(depths)) != 1 or bits not in ((1, 2, 4, 8) if photometric == 3 else (8, 16)):
        raise UnsupportedImage(f"The TIFF has {bits} bits per sample: save it with 8 or 16.")
    if tags.get(259, (1,))[0] not in _COMPRESSIONS:
        raise UnsupportedImage(
            f"The TIFF uses compression {tags[259][0]}, which is not read: save it uncompressed or with LZW or deflate."
        )
    colour, alpha = _tiff_colour(photometric, samples, bits, tags)
    if bits == 16 and samples > 1 and tags.get(284, (1,))[0] != 1:
        raise UnsupportedImage("The TIFF stores 16 bit colours in separate planes: save it with interleaved colours.")
    _refuse_wild_tiles(tags)
    orientation = tags.get(274, (1,))[0]
    return FrameHeader(page, width, height, bits, colour, photometric == 0, alpha, max(1, min(orientation, 8)))


def _tiff_colour(photometric: int, samples: int, bits: int, tags: Tags) -> tuple[Colour, bool]:
    colours = {0: (Colour.GREY, 1), 1: (Colour.GREY, 1), 2: (Colour.RGB, 3), 3: (Colour.PALETTE, 1), 6: (Colour.RGB, 3)}
    if photometric not in colours:
        raise UnsupportedImage(f"The TIFF uses colour model {photometric}, which is not read: save it as RGB.")
    colour, expected = colours[photometric]
    extra = tags.get(338, ())
    if samples == expected:
        return colour, False
    if samples != expected + 1 or (bits == 16 and (colour is not Colour.RGB or 1 in extra)):
        raise UnsupportedImage(f"The TIFF has {samples} samples per pixel in a layout that is not read: save it as RGB.")
    return colour, 1 in extra or 2 in extra


def _refuse_wild_tiles(tags: Tags) -> None:
    # A decoder allocates a whole tile, however small the picture is.
    tile_width, tile_height = tags.get(322, (1,))[0], tags.get(323, (1,))[0]
    if tile_width * tile_height > 1 << 24:
        raise ImageTooLarge(f"The TIFF's tiles of {tile_width} x {tile_height} pixels are too large to be decoded.")


def _refuse_no_pixels(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise DamagedImage(f"The header claims {width} x {height} pixels: the file is corrupt; copy it again.")
