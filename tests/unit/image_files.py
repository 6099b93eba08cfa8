"""Image files for the tests, made by code: pictures with known pixels and headers that lie."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def picture(width: int = 80, height: int = 64) -> Pixels:
    """Draw a smooth picture in which every corner differs, so that no turn goes unseen."""
    x = np.linspace(0, 1, width)[None, :]
    y = np.linspace(0, 1, height)[:, None]
    red, green, blue = 60 + 180 * x + 0 * y, 50 + 190 * y + 0 * x, 240 - 90 * x - 90 * y
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def save(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:
    """Encode with Pillow."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def jpeg_with_orientation(pixels: Pixels, orientation: int) -> bytes:
    """Encode a JPEG whose Exif says how to turn it."""
    exif = Image.Exif()
    exif[274] = orientation
    return save(pixels, "JPEG", quality=98, subsampling=0, exif=exif)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Build one PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_around(compressed: bytes, width: int = 400, height: int = 300) -> bytes:
    """Build a formally right PNG around any compressed RGB rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", compressed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)


def png_of_claimed_size(width: int, height: int) -> bytes:
    """Build a small PNG that claims to be large: a decompression bomb."""
    return png_around(zlib.compress(bytes(100_000), 9), width, height)


def tiff(
    pages: list[NDArray[Any]],
    photometric: int,
    *,
    order: Literal["<", ">"] = "<",
    tags: dict[int, tuple[int, ...]] | None = None,
    reduced: frozenset[int] = frozenset(),
) -> bytes:
    """Build an uncompressed TIFF by hand (TIFF 6.0 section 2), one strip a page; `tags` add to or replace the usual."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8))
    for number, page in enumerate(pages):
        samples = page.shape[2] if page.ndim == 3 else 1
        body = np.ascontiguousarray(page, dtype=page.dtype.newbyteorder(order)).tobytes()
        wanted: dict[int, tuple[int, ...]] = {
            254: (1 if number in reduced else 0,), 256: (page.shape[1],), 257: (page.shape[0],),
            258: (page.dtype.itemsize * 8,) * samples, 259: (1,), 262: (photometric,), 273: (0,), 277: (samples,),
            278: (page.shape[0],), 279: (len(body),),
        }  # fmt: skip
        wanted.update(tags or {})
        _append_page(out, order, wanted, body, last=number == len(pages) - 1)
    return bytes(out)


def _append_page(
    out: bytearray, order: Literal["<", ">"], tags: dict[int, tuple[int, ...]], body: bytes, *, last: bool
) -> None:
    directory = len(out)
    after = directory + 2 + 12 * len(tags) + 4
    extra = b""
    long_values = {tag: values for tag, values in tags.items() if len(values) > 1}
    strip = after + sum(4 * len(values) for values in long_values.values())
    entries = b""
    for tag, values in sorted({**tags, 273: (strip,)}.items()):
        kind = "I" if tag in (273, 279) or len(values) == 1 else "H"
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(packed) > 4:
            entries += struct.pack(order + "HHII", tag, 3, len(values), after + len(extra))
            extra += packed.ljust(4 * len(values), b"\0")
        else:
            entries += struct.pack(order + "HHI", tag, 4 if kind == "I" else 3, len(values)) + packed.ljust(4, b"\0")
    end = strip + len(body) + len(body) % 2
    out += struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0 if last else end)
    out += extra.ljust(strip - after, b"\0") + body + bytes(len(body) % 2)
