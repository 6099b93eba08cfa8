"""One compressed frame to samples, by the one decoder of its transfer syntax; runs in the sandbox only.

Every codestream must have the size that the object claims, seen before memory is taken for it, and its end marker: the
decoders of the JPEG family return a half picture for a stream that was cut.

Sources: PS3.5 section 8.2 and annex A.4; ITU-T T.81 annex B (markers), T.87 annex C, T.800 annex A.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gdcm
import jpeg_ls
import numpy as np
import openjpeg.utils
import rle.utils
import simplejpeg
from numpy.typing import NDArray

from integrations.dicom.catalogue import Decoder
from integrations.dicom.header import Pixels
from sphero_core.errors import DamagedImage, UnsupportedImage

_END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_BASELINE, _EXTENDED = 0xC0, 0xC1
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_AGAIN = "send it again from the scanner"


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A frame as stored.

    Attributes
    ----------
    values : ndarray, shape (rows, columns) or (rows, columns, 3)
        Unsigned, 8 or 16 bits.
    photometric : str
        What the samples mean; RGB where the decoder has undone a colour transform.
    """

    values: NDArray[Any]
    photometric: str


def decode_frame(stream: bytes, decoder: Decoder, pixels: Pixels, transfer_syntax_uid: str) -> Samples:
    """Decode one frame.

    Parameters
    ----------
    stream : bytes
        The frame's fragments, joined.
    decoder : Decoder
    pixels : Pixels
        What the object says of its frames.
    transfer_syntax_uid : str

    Raises
    ------
    DamagedImage, UnsupportedImage
        Whatever else a decoder raises is for the edge of the sandbox.
    """
    if decoder is not Decoder.RLE and not stream.rstrip(b"\0\xff").endswith(_END):
        raise DamagedImage(f"The compressed pixels of the DICOM object end without their end marker: {_AGAIN}.")
    return _DECODERS[decoder](stream, pixels, transfer_syntax_uid)


def _turbo(stream: bytes, pixels: Pixels, _: str) -> Samples:
    frame = _frame_header(stream)
    _check_size(pixels, frame.rows, frame.columns, frame.components)
    if frame.precision != 8 or frame.process not in (_BASELINE, _EXTENDED):
        raise UnsupportedImage(
            "The lossy JPEG of the DICOM object has 12 bits a sample or is progressive, which is not read: "
            "send it in another transfer syntax, such as JPEG 2000."
        )
    if pixels.samples == 1:
        grey = simplejpeg.decode_jpeg(stream, "GRAY")
        return Samples(np.asarray(grey, np.uint8)[:, :, 0], pixels.photometric)
    # What the stream says of its colours goes before what the object says (JFIF: always YCbCr): scanners get it wrong.
    transform = 0 if pixels.photometric == "RGB" else 1
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    rgb = simplejpeg.decode_jpeg(stream[:2] + adobe + stream[2:], "RGB")
    return Samples(np.asarray(rgb, np.uint8), "RGB")


def _gdcm(stream: bytes, pixels: Pixels, transfer_syntax_uid: str) -> Samples:
    frame = _frame_header(stream)
    _check_size(pixels, frame.rows, frame.columns, frame.components)
    if frame.precision > pixels.bits_allocated:
        raise DamagedImage(f"The lossless JPEG of the DICOM object has more bits than Bits Allocated says: {_AGAIN}.")
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(stream)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((pixels.columns, pixels.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType("RGB" if pixels.samples == 3 else "MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if pixels.samples > 1:
        image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(transfer_syntax_uid)))
    bits = pixels.bits_allocated, pixels.bits_stored, pixels.bits_stored - 1
    image.SetPixelFormat(gdcm.PixelFormat(pixels.samples, *bits, int(pixels.signed)))
    with _complaints() as complaints:
        decoded = image.GetBuffer().encode("utf-8", "surrogateescape")  # it gives char* as str
    if complaints:  # of a stream that was cut it makes a grey rest, and tells standard error only
        raise DamagedImage(f"The lossless JPEG of the DICOM object is cut off or corrupt: {_AGAIN}.")
    return Samples(_shaped(decoded, pixels, pixels.bits_allocated), pixels.photometric)


def _jpeg_ls(stream: bytes, pixels: Pixels, _: str) -> Samples:
    frame = _frame_header(stream)
    _check_size(pixels, frame.rows, frame.columns, frame.components)
    decoded, told = jpeg_ls.decode_pixel_data(stream)
    by_plane = pixels.samples > 1 and told["interleave_mode"] == 0
    return Samples(_shaped(decoded, pixels, told["bits_per_sample"], by_plane=by_plane), pixels.photometric)


def _openjpeg(stream: bytes, pixels: Pixels, _: str) -> Samples:
    told = openjpeg.utils.get_parameters(io.BytesIO(stream))
    _check_size(pixels, told["rows"], told["columns"], told["samples_per_pixel"])
    if told["is_signed"]:
        raise UnsupportedImage("The JPEG 2000 of the DICOM object has signed samples, which no microscope writes.")
    decoded = openjpeg.utils.decode_pixel_data(stream, version=2)
    photometric = "RGB" if pixels.photometric in ("YBR_ICT", "YBR_RCT") else pixels.photometric
    return Samples(_shaped(decoded, pixels, told["precision"]), photometric)


def _rle(stream: bytes, pixels: Pixels, _: str) -> Samples:
    size = {"rows": pixels.rows, "columns": pixels.columns, "bits_allocated": pixels.bits_allocated}
    decoded = rle.utils.decode_pixel_data(stream, version=2, byteorder="<", **size)
    return Samples(_shaped(decoded, pixels, pixels.bits_allocated, by_plane=pixels.samples > 1), pixels.photometric)


_DECODERS: Mapping[Decoder, Callable[[bytes, Pixels, str], Samples]] = {
    Decoder.TURBO: _turbo,
    Decoder.GDCM: _gdcm,
    Decoder.JPEG_LS: _jpeg_ls,
    Decoder.OPENJPEG: _openjpeg,
    Decoder.RLE: _rle,
}


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what a C library writes to standard error; for a process that does one thing at a time."""
    found: list[str] = []
    kept, caught = os.dup(2), os.memfd_create("complaints")
    try:
        os.dup2(caught, 2)
        try:
            yield found
        finally:
            os.dup2(kept, 2)
        if os.fstat(caught).st_size:
            found.append(os.pread(caught, 1_000, 0).decode("ascii", "replace"))
    finally:
        os.close(kept)
        os.close(caught)


# -------------------------------------------------------------------------------------------------------------- streams
@dataclass(frozen=True, slots=True)
class _FrameHeader:
    process: int
    precision: int
    rows: int
    columns: int
    components: int


def _frame_header(stream: bytes) -> _FrameHeader:
    """The first SOF segment of a JPEG or JPEG-LS stream (T.81 B.2.2, T.87 C.2.2)."""
    position = 2
    while stream[:2] == b"\xff\xd8" and position + 10 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) or marker == 0xF7:  # noqa: RUF021
            rows, columns = (int.from_bytes(stream[position + at : position + at + 2], "big") for at in (5, 7))
            return _FrameHeader(marker, stream[position + 4], rows, columns, stream[position + 9])
        length = 0 if marker in _STANDALONE else int.from_bytes(stream[position + 2 : position + 4], "big")
        position += 1 if marker == 0xFF else 2 + length
    raise DamagedImage(f"The compressed pixels of the DICOM object have no frame header: {_AGAIN}.")


def _check_size(pixels: Pixels, rows: int, columns: int, components: int) -> None:
    if (rows, columns, components) != (pixels.rows, pixels.columns, pixels.samples):
        raise DamagedImage(
            f"The compressed pixels are {columns} x {rows} with {components} samples each, the DICOM object says "
            f"{pixels.columns} x {pixels.rows} with {pixels.samples}: {_AGAIN}."
        )


def _shaped(decoded: bytes | bytearray, pixels: Pixels, bits: int, *, by_plane: bool = False) -> NDArray[Any]:
    kind = np.dtype("u1" if bits <= 8 else "<u2")
    if len(decoded) != pixels.rows * pixels.columns * pixels.samples * kind.itemsize:
        raise DamagedImage(
            f"The compressed pixels give another number of samples than the DICOM object says: {_AGAIN}."
        )
    values = np.frombuffer(decoded, kind)
    if pixels.samples == 1:
        return values.reshape(pixels.rows, pixels.columns)
    if by_plane:
        return values.reshape(pixels.samples, pixels.rows, pixels.columns).transpose(1, 2, 0)
    return values.reshape(pixels.rows, pixels.columns, pixels.samples)
