"""Thirty and more files made to do harm, each with how it has to end: the kind of refusal, and a word of its reason."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from integrations.dicom.part10 import EncodedInstance, file_head, split_file
from tests import dicom_encodings as made
from tests.dicom_encodings import compressed, data_set, smear, with_streams, written

DAMAGED, TOO_LARGE, UNSUPPORTED = "DamagedImage", "ImageTooLarge", "UnsupportedImage"
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file that has to be refused."""

    content: Callable[[], bytes]
    kind: str
    reason: str


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """One element in explicit little endian; `length` lies."""
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return head + struct.pack("<xxI", size) + value
    return head + struct.pack("<H", size) + value


def part10(body: bytes, syntax: str = made.EXPLICIT, sop_class: str = made.MICROSCOPIC) -> bytes:
    """A file around any data set."""
    return file_head(EncodedInstance(sop_class, "1.2.3.4", syntax, body)) + body


def good() -> bytes:
    return written(data_set(smear(), SOPInstanceUID="1.2.3.4"))


def body() -> bytes:
    return bytes(split_file(good()).data_set)


def deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def bomb() -> bytes:
    """Some 300 KB that grow to 320 MiB: an element of zeros."""
    block, deflater = bytes(1 << 24), zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [deflater.compress(element(0x00420011, b"OB", b"", 20 << 24))]
    parts += [deflater.compress(block) for _ in range(20)]
    return part10(b"".join(parts) + deflater.flush(), made.DEFLATED)


def nested(depth: int, *, sized: bool = False) -> bytes:
    inner = b""
    for _ in range(depth):
        if sized:
            inner = element(0x00081140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner)
        else:
            item = struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED) + inner + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
            inner = element(0x00081140, b"SQ", item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), _UNDEFINED)
    return part10(inner)


def changed(**elements: Any) -> bytes:
    return written(data_set(smear(), **elements))


def replaced(old: bytes, new: bytes) -> bytes:
    content = good()
    assert old in content
    return content.replace(old, new, 1)


def stream_of(syntax: str, change: Callable[[bytes], bytes], **elements: Any) -> bytes:
    """An object whose compressed frame is not what it should be."""
    return written(with_streams(data_set(smear(), syntax, **elements), [change(made.encode(smear(), syntax))]))


def lying_fragment() -> bytes:
    """A fragment that is longer than the file."""
    content = written(compressed(smear(), made.JPEG_LS))
    at = content.rindex(struct.pack("<HH", 0xFFFE, 0xE000))
    return content[: at + 4] + struct.pack("<I", 0x7FFFFFFE) + content[at + 8 :]


def lying_offsets() -> bytes:
    """A basic offset table that points nowhere."""
    frames = np.stack([smear(), smear()[::-1]])
    content = written(compressed(frames, made.JPEG_LS))
    at = content.index(struct.pack("<HHI", 0xFFFE, 0xE000, 8)) + 8
    return content[:at] + struct.pack("<II", 0, 0x7FFFFFF0) + content[at + 8 :]


def frame_size(syntax: str, rows: int, columns: int) -> Callable[[bytes], bytes]:
    """Let a JPEG's or JPEG-LS's own header claim a size (SOF: FFC0 or FFF7)."""
    marker = b"\xff\xf7" if syntax == made.JPEG_LS else b"\xff\xc0"

    def change(stream: bytes) -> bytes:
        at = stream.index(marker) + 5
        return stream[:at] + struct.pack(">HH", rows, columns) + stream[at + 4 :]

    return change


def cut_lossless_jpeg() -> bytes:
    """Half a lossless JPEG with an end marker; GDCM makes a grey rest of it."""
    path = get_testdata_file("SC_rgb_jpeg_gdcm.dcm", download=False)
    assert path is not None
    one = dcmread(path)
    stream = next(generate_frames(one.PixelData, number_of_frames=1))
    return written(with_streams(one, [stream[: len(stream) // 4 * 2] + b"\xff\xd9"]))


def wild_rle() -> bytes:
    return stream_of(made.RLE, lambda stream: struct.pack("<16I", 3, *[0x7FFFFFFF] * 15) + stream[64:])


def no_palette() -> bytes:
    return written(data_set(smear()[:, :, 1], PhotometricInterpretation="PALETTE COLOR"))


def short_palette() -> bytes:
    told: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        told[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        told[f"{name}PaletteColorLookupTableData"] = bytes(4)
    return written(data_set(smear()[:, :, 1], **told))


def segmented_bomb() -> bytes:
    """A segmented palette of indirect segments that refer to themselves (PS3.3 C.7.9.2)."""
    told: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        told[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        told[f"Segmented{name}PaletteColorLookupTableData"] = struct.pack("<8H", 2, 65_535, 0, 0, 2, 65_535, 0, 0)
    return written(data_set(smear()[:, :, 1], **told))


def many_elements() -> bytes:
    return part10(element(0x00091010, b"SH", b"") * 100_001)


HOSTILE: Mapping[str, Hostile] = {
    "empty": Hostile(lambda: b"", DAMAGED, "preamble"),
    "preamble only": Hostile(lambda: bytes(128) + b"DICM", DAMAGED, "cut off"),
    "meta cut": Hostile(lambda: good()[:200], DAMAGED, "meta group"),
    "meta longer than the file": Hostile(
        lambda: good()[:140] + b"\xff\xff\xff\x7f" + good()[144:], DAMAGED, "meta group"
    ),
    "meta of another group": Hostile(lambda: good()[:144] + b"\x08\0" + good()[146:], DAMAGED, "meta group"),
    "no data set": Hostile(lambda: good()[: -len(body())], DAMAGED, "data set"),
    "cut in an element": Hostile(lambda: part10(body()[:101]), DAMAGED, "cut off"),
    "cut before the pixels": Hostile(lambda: part10(body()[: body().index(b"\xe0\x7f\x10\0")]), DAMAGED, "no pixels"),
    "cut in the pixels": Hostile(lambda: part10(body()[:-5000]), DAMAGED, "cut off"),
    "pixels shorter than they say": Hostile(lambda: changed(Rows=65), DAMAGED, "unreadable image"),
    "deflate bomb": Hostile(bomb, TOO_LARGE, "grows beyond"),
    "deflated garbage": Hostile(lambda: part10(b"\xff" * 1000, made.DEFLATED), DAMAGED, "corrupt"),
    "deflated and cut": Hostile(lambda: part10(deflate(body())[:-200], made.DEFLATED), DAMAGED, "ends too early"),
    "300 sequences within each other": Hostile(lambda: nested(300), TOO_LARGE, "within each other"),
    "3,000 sequences of known length": Hostile(lambda: nested(3_000, sized=True), TOO_LARGE, "within each other"),
    "100,001 elements": Hostile(many_elements, TOO_LARGE, "elements"),
    "4 GiB in one element": Hostile(
        lambda: part10(element(0x00091010, b"UN", b"", 0xFFFFFFFE)), DAMAGED, "longer than what is left"
    ),
    "an item that is longer than its sequence": Hostile(
        lambda: part10(element(0x00081140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 1 << 20))), DAMAGED, "longer"
    ),
    "a sequence of no items": Hostile(
        lambda: part10(element(0x00081140, b"SQ", element(0x00080005, b"CS", b"ISO_IR 6"))), DAMAGED, "no item"
    ),
    "an item outside of a sequence": Hostile(
        lambda: part10(struct.pack("<HHI", 0xFFFE, 0xE000, 0)), DAMAGED, "outside of a sequence"
    ),
    "no value representation": Hostile(lambda: part10(b"\x08\0\x05\0??\x02\0ab"), DAMAGED, "value representation"),
    "a text where a number belongs": Hostile(
        lambda: replaced(b"\x28\0\x10\0US\x02\0", b"\x28\0\x10\0SH\x02\0"), DAMAGED, "unreadable image"
    ),
    "a number without a value": Hostile(
        lambda: replaced(b"\x28\0\x10\0US\x02\0\x40\0", b"\x28\0\x10\0US\0\0"), DAMAGED, ""
    ),
    "65,535 x 65,535 x 100": Hostile(
        lambda: changed(Rows=65_535, Columns=65_535, NumberOfFrames=100), TOO_LARGE, "100 frames"
    ),
    "two thousand million frames": Hostile(lambda: changed(NumberOfFrames=2_000_000_000), TOO_LARGE, "frames"),
    "a negative number of frames": Hostile(lambda: changed(NumberOfFrames=-1), DAMAGED, "-1 frames"),
    "an unknown syntax": Hostile(lambda: part10(body(), "1.2.3.4.5"), UNSUPPORTED, "1.2.3.4.5"),
    "a video": Hostile(lambda: part10(body(), "1.2.840.10008.1.2.4.102"), UNSUPPORTED, "transfer syntax"),
    "a DICOMDIR": Hostile(lambda: part10(body(), sop_class="1.2.840.10008.1.3.10"), UNSUPPORTED, "DICOMDIR"),
    "another UID within": Hostile(
        lambda: part10(body().replace(b"1.2.3.4\0", b"1.2.3.5\0")), DAMAGED, "another class or UID"
    ),
    "the wrong byte order": Hostile(lambda: part10(body(), made.BIG_ENDIAN), DAMAGED, "cut off or corrupt"),
    "explicit said to be implicit": Hostile(lambda: part10(body(), made.IMPLICIT), DAMAGED, "cut off or corrupt"),
    "a JPEG without its end": Hostile(lambda: stream_of(made.JPEG, lambda s: s[: len(s) // 2]), DAMAGED, "end marker"),
    "a JPEG cut and ended": Hostile(
        lambda: stream_of(made.JPEG, lambda s: s[: len(s) // 2] + b"\xff\xd9"), DAMAGED, "unreadable image"
    ),
    "a lossless JPEG cut and ended": Hostile(cut_lossless_jpeg, DAMAGED, "cut off or corrupt"),
    "a JPEG that claims 65,535 x 65,535": Hostile(
        lambda: stream_of(made.JPEG, frame_size(made.JPEG, 65_535, 65_535)), DAMAGED, "65535 x 65535"
    ),
    "a JPEG-LS that claims 65,535 x 65,535": Hostile(
        lambda: stream_of(made.JPEG_LS, frame_size(made.JPEG_LS, 65_535, 65_535)), DAMAGED, "65535 x 65535"
    ),
    "a JPEG-LS of noise": Hostile(
        lambda: stream_of(made.JPEG_LS, lambda s: s[:40] + bytes(len(s) - 42) + s[-2:]), DAMAGED, ""
    ),
    "a JPEG 2000 of zeros": Hostile(
        lambda: stream_of(made.JPEG_2000, lambda s: bytes(len(s) - 2) + s[-2:]), DAMAGED, "unreadable image"
    ),
    "a PNG as JPEG": Hostile(lambda: stream_of(made.JPEG, lambda _: b"\x89PNG\xff\xd9"), DAMAGED, "frame header"),
    "a lying fragment": Hostile(lying_fragment, DAMAGED, "longer than what is left"),
    "a lying offset table": Hostile(lying_offsets, DAMAGED, ""),
    "an empty frame": Hostile(
        lambda: written(with_streams(data_set(smear(), made.JPEG_LS), [b"\0\0"])), DAMAGED, "end marker"
    ),
    "wild RLE segments": Hostile(wild_rle, DAMAGED, "unreadable image"),
    "a palette without its table": Hostile(no_palette, DAMAGED, "lookup table"),
    "a palette that is too short": Hostile(short_palette, DAMAGED, "unreadable image"),
    "a palette of segments that refer to themselves": Hostile(segmented_bomb, DAMAGED, "unreadable image"),
}
