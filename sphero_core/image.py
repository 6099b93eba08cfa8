"""Reading microscope images: what a file is, and its pixels in true proportion.

    probe_image    header only: media type, size, frames; refuses what is too large before anything is decoded
    read_image     one field, RGB, upright, un-stretched
    read_reduced   the same field small, to measure its scale

Read are JPEG (8 bits, grey or colour), PNG (8 and 16 bits, palette, transparency) and TIFF (several pages, 8 and 16
bits, palette, transparency; previews in it are not fields). The content decides, never the file's name.

Rules
-----
16 bits: full scale is the smallest of 8, 10, 12, 14 and 16 bits that holds the brightest sample of the page, since
    cameras store 12 bits in 16 and do not say so; then ``round(sample * 255 / full scale)``.
Grey becomes RGB with three equal colours. Transparency is laid on white, the background of a bright field.
Orientation (Exif) is applied. ICC profiles and the resolution tags are not: scale comes from the cells or the settings.
CMYK, floating point, bilevel and other layouts are refused, with what to do.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.errors import DamagedImage, ImageTooLarge, UnreadableImage, UnsupportedImage
from sphero_core.image_decode import decode
from sphero_core.image_frame import FrameHeader
from sphero_core.image_headers import Header, read_header
from sphero_core.types import FieldImage, ImageInfo

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is refused before a pixel is decoded.

    Attributes
    ----------
    max_bytes : int
        Size of a file.
    max_pixels : int
        Width times height of one frame. The default lets 8,000 x 6,000 pass; decoding needs up to 9 bytes a pixel.
    max_side : int
        Longer side of one frame, in pixels.
    max_frames : int
        Pages of one TIFF.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_pixels: int = 48_000_000
    max_side: int = 12_000
    max_frames: int = 1_000


DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True, slots=True, eq=False)
class ReducedImage:
    """A field made small.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB in true proportion.
    factor : float
        Lengths here times `factor` are lengths in the field that `read_image` gives; 1.0 or more.
    """

    pixels: Pixels
    factor: float


def probe_image(path: Path, limits: ImageLimits = DEFAULT_LIMITS, *, frame: int = 0) -> ImageInfo:
    """Read an image's header and hold it against the limits; nothing is decoded.

    Parameters
    ----------
    path : Path
    limits : ImageLimits
        Every frame must be within them.
    frame : int
        Whose size is told, from 0.

    Raises
    ------
    UnsupportedImage, DamagedImage, ImageTooLarge, UnreadableImage
    """
    with os.fdopen(_open(path, limits), "rb") as stream:
        header = _checked_header(stream, limits)
    wanted = _frame(header, frame)
    return ImageInfo(header.media_type, wanted.width, wanted.height, len(header.frames))


def read_image(
    path: Path,
    *,
    frame: int = 0,
    pixel_aspect: float = 1.0,
    reduction: int = 1,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> FieldImage:
    """Read one field in true proportion.

    Parameters
    ----------
    path : Path
    frame : int
        Page of a TIFF, from 0; previews are not counted.
    pixel_aspect : float
        Display width over display height of one pixel of the upright stored image. Above 1 the height is divided by
        it, below 1 the width is multiplied by it (area interpolation): nothing is ever enlarged. 640 x 640 with 1.3333
        gives 640 x 480.
    reduction : int
        1, 2, 4 or 8: the field is given so many times smaller, and a JPEG decoded at that size at once. A field whose
        stored sides are no multiples of it keeps its size, so that pixels never lie between pixels.
    limits : ImageLimits

    Raises
    ------
    UnsupportedImage, DamagedImage, ImageTooLarge, UnreadableImage
    ValueError
        `pixel_aspect` is no positive number.
    """
    data, header = _load(path, limits)
    wanted = _frame(header, frame)
    if wanted.width % reduction or wanted.height % reduction:
        reduction = 1
    width, height = _upright_size(wanted)
    size = true_size(width // reduction, height // reduction, pixel_aspect)
    enough = (wanted.width // reduction, wanted.height // reduction) if reduction > 1 else (0, 0)
    pixels = decode(data, header.media_type, wanted, at_least=enough)
    return FieldImage(_shrink(pixels, size), width, height, pixel_aspect, reduction)


def read_reduced(
    path: Path,
    *,
    frame: int = 0,
    pixel_aspect: float = 1.0,
    longest_side: int = 1_200,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> ReducedImage:
    """Read one field, true in proportion and at most `longest_side` pixels long; a JPEG is decoded small at once.

    Parameters and errors as of `read_image`. A field that is small enough already keeps its size.
    """
    data, header = _load(path, limits)
    wanted = _frame(header, frame)
    width, height = true_size(*_upright_size(wanted), pixel_aspect)
    factor = max(1.0, max(width, height) / longest_side)
    small = max(1, round(width / factor)), max(1, round(height / factor))
    pixels = decode(data, header.media_type, wanted, at_least=small[::-1] if _turned(wanted) else small)
    return ReducedImage(_shrink(pixels, small), max(width, height) / max(small))


def true_size(width: int, height: int, pixel_aspect: float) -> tuple[int, int]:
    """Size in true proportion of an image stored with `width` x `height` pixels of the given aspect."""
    if not 0.0 < pixel_aspect < float("inf"):
        raise ValueError(f"pixel_aspect must be a positive number, not {pixel_aspect}")
    if pixel_aspect >= 1.0:
        return width, max(1, round(height / pixel_aspect))
    return max(1, round(width * pixel_aspect)), height


def _turned(frame: FrameHeader) -> bool:
    """Whether width and height change places when the image is turned upright."""
    return frame.orientation in (5, 6, 7, 8)


def _upright_size(frame: FrameHeader) -> tuple[int, int]:
    return (frame.height, frame.width) if _turned(frame) else (frame.width, frame.height)


def _shrink(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _open(path: Path, limits: ImageLimits) -> int:
    reason = ""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not make us wait
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
    if reason:
        raise UnreadableImage(f"The image file cannot be opened ({reason}): check that it exists and may be read.")
    state = os.fstat(descriptor)
    if stat.S_ISREG(state.st_mode) and state.st_size <= limits.max_bytes:
        return descriptor
    os.close(descriptor)
    if not stat.S_ISREG(state.st_mode):
        raise UnsupportedImage("The path names no regular file: give an image file.")
    raise ImageTooLarge(
        f"The file has {state.st_size:,} bytes, more than the {limits.max_bytes:,} that are read: "
        "export single fields, or compress them."
    )


def _load(path: Path, limits: ImageLimits) -> tuple[bytes, Header]:
    reason = ""
    with os.fdopen(_open(path, limits), "rb") as stream:
        header = _checked_header(stream, limits)  # before the file is read into memory
        stream.seek(0)
        try:
            data = stream.read()
        except OSError as error:
            reason = os.strerror(error.errno or errno.EIO)
    if reason:
        raise UnreadableImage(f"The image file cannot be read ({reason}): check the disk or the share.")
    return data, header


def _checked_header(stream: BinaryIO, limits: ImageLimits) -> Header:
    reason = ""
    try:
        header = read_header(stream, limits.max_frames)
    except (OSError, OverflowError, ValueError):  # a seek to where no file reaches, or a failing disk
        reason = "its header points outside of the file"
    if reason:
        raise DamagedImage(f"The image cannot be read, {reason}: copy it again from the microscope.")
    for frame in header.frames:
        if frame.width * frame.height > limits.max_pixels or max(frame.width, frame.height) > limits.max_side:
            raise ImageTooLarge(
                f"The image has {frame.width} x {frame.height} pixels, more than the {limits.max_pixels:,} pixels or "
                f"{limits.max_side:,} a side that are read: export single fields of view."
            )
    return header


def _frame(header: Header, frame: int) -> FrameHeader:
    if not 0 <= frame < len(header.frames):
        raise UnsupportedImage(f"Page {frame + 1} was asked for; the file has {len(header.frames)}.")
    return header.frames[frame]
