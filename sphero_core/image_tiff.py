"""What a TIFF or BigTIFF says about its pages, in either byte order; Exif data has the same form.

Every loop is bounded and every offset comes from a stranger. Sources: TIFF 6.0 section 2, the BigTIFF extension of
libtiff, Exif 2.32 clause 4.6.4 (orientation, tag 274).
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

from sphero_core.errors import DamagedImage, ImageTooLarge, UnsupportedImage
from sphero_core.image_frame import Colour, FrameHeader, refuse_no_pixels, take

_MAX_IFD_ENTRIES = 4_096
_MAX_TAG_VALUES = 16  # enough for BitsPerSample and the like; longer tags (strip tables) are not read

Tags = dict[int, tuple[int, ...]]
_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_COMPRESSIONS = {1, 5, 7, 8, 32773, 32946, 50000}  # none, LZW, JPEG, deflate (both numbers), PackBits, Zstandard


class _Ifds:
    """The chain of image file directories, classic or BigTIFF, either byte order."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.seek(0)
        magic = take(stream, 4)
        if magic not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise DamagedImage("The TIFF header is corrupt: copy the file again.")
        self._order = "<" if magic[:2] == b"II" else ">"
        self._big = b"+" in magic
        if self._big:
            take(stream, 4)
        self._first = self._number("Q" if self._big else "I")

    def _number(self, code: str) -> int:
        layout = struct.Struct(self._order + code)
        return int(layout.unpack(take(self._stream, layout.size))[0])

    def read_first(self) -> tuple[Tags, int]:
        return self.read(self._first)

    def read(self, offset: int) -> tuple[Tags, int]:
        """Tags of the directory at `offset`, and the offset of the next (0: none)."""
        self._stream.seek(offset)
        count = self._number("Q" if self._big else "H")
        if not 0 < count <= _MAX_IFD_ENTRIES:
            raise DamagedImage("The TIFF directory is corrupt: copy the file again.")
        size = 20 if self._big else 12
        entries = take(self._stream, count * size)
        following = self._number("Q" if self._big else "I")
        tags: Tags = {}
        for start in range(0, len(entries), size):
            tag, values = self._entry(entries[start : start + size])
            if tag in tags:  # decoders differ in which one counts, so that a check of either could be evaded
                raise DamagedImage("The TIFF directory is corrupt: a tag stands twice; export the field again.")
            if values:
                tags[tag] = values
        return tags, following

    def _entry(self, entry: bytes) -> tuple[int, tuple[int, ...]]:
        tag, kind, count = struct.unpack(self._order + ("HHQ" if self._big else "HHI"), entry[: 12 if self._big else 8])
        if kind not in _TYPES or not 0 < count <= _MAX_TAG_VALUES:
            return tag, ()
        layout = struct.Struct(f"{self._order}{count}{_TYPES[kind]}")
        value = entry[12:] if self._big else entry[8:]
        if layout.size > len(value):
            self._stream.seek(struct.unpack(self._order + ("Q" if self._big else "I"), value)[0])
            value = take(self._stream, layout.size)
        return tag, layout.unpack(value[: layout.size])


def tiff_frames(stream: BinaryIO, max_frames: int) -> tuple[FrameHeader, ...]:
    """Headers of all pages that are pictures; previews and masks are left out."""
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
    refuse_no_pixels(width, height)
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
        raise UnsupportedImage(
            f"The TIFF has {samples} samples per pixel in a layout that is not read: save it as RGB."
        )
    return colour, 1 in extra or 2 in extra


def _refuse_wild_tiles(tags: Tags) -> None:
    # A decoder allocates a whole tile, however small the picture is.
    tile_width, tile_height = tags.get(322, (1,))[0], tags.get(323, (1,))[0]
    if tile_width * tile_height > 1 << 24:
        raise ImageTooLarge(f"The TIFF's tiles of {tile_width} x {tile_height} pixels are too large to be decoded.")


def exif_orientation(segment: bytes) -> int | None:
    """Orientation from a JPEG APP1 segment or a PNG eXIf chunk; None when it holds none that can be read."""
    blob = segment.removeprefix(b"Exif\0\0")
    try:
        tags, _ = _Ifds(io.BytesIO(blob)).read_first()
    except (DamagedImage, UnsupportedImage):
        return None  # pictures with broken Exif are common and show upright in every viewer
    value = tags.get(274, (0,))[0]
    return value if 1 <= value <= 8 else None
