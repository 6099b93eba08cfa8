"""From the bytes of one image to RGB pixels, upright; never a half picture.

Which decoder reads what, and why:

JPEG: simplejpeg (libjpeg-turbo) in strict mode. OpenCV and Pillow return a grey rest for a file that was cut and then
    closed with an end marker, and only print a warning; strict mode makes each warning of the library an error.
PNG: OpenCV, which keeps 16 bits and gives nothing for a file that is cut, short of rows, or fails a checksum.
TIFF of 16 bits: OpenCV, since Pillow keeps only the upper byte. TIFF of up to 8 bits: Pillow, since OpenCV fails on
    tiled colour pictures.

An embedded ICC profile is not applied: the detector is trained on colours as cameras write them.
"""

from __future__ import annotations

import io
import re
import struct
import zlib

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from sphero_core.errors import DamagedImage, ImageTooLarge, UnsupportedImage
from sphero_core.image_frame import FrameHeader
from sphero_core.image_headers import JPEG, PNG, TIFF

Pixels = NDArray[np.uint8]

_MAX_SCANS = 100  # a progressive JPEG of cameras has about ten; thousands are an attack on our time
_FULL_SCALES = (255, 1_023, 4_095, 16_383, 65_535)
_AGAIN = "copy it again from the microscope"
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
# What Pillow is known to raise on hostile input; MemoryError is one of them, on
# sizes only a corrupt tag can claim, and Warning, where the interpreter is told to make errors of them.
_PILLOW_ERRORS = (
    OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, ArithmeticError, AttributeError, RuntimeError,
    struct.error, zlib.error, MemoryError, Warning,
)  # fmt: skip


def decode(data: bytes, media_type: str, frame: FrameHeader, at_least: tuple[int, int] = (0, 0)) -> Pixels:
    """Decode one frame.

    Parameters
    ----------
    data : bytes
        The whole file.
    media_type : str
    frame : FrameHeader
        Of the frame wanted.
    at_least : (width, height)
        Stored pixels that suffice; a JPEG is then decoded at 1/2, 1/4 or 1/8. (0, 0): full size.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB, upright.

    Raises
    ------
    DamagedImage, UnsupportedImage, ImageTooLarge
    """
    if media_type == JPEG:
        return upright(_decode_jpeg(data, frame, at_least), frame.orientation)
    if media_type == PNG:
        return upright(_to_rgb(_decode_cv2(data, PNG, 0), frame, has_alpha=True), frame.orientation)
    if frame.bits == 16:
        return _to_rgb(_decode_cv2(data, TIFF, frame.page), frame, frame.alpha)
    return _decode_pillow(data, frame)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn an image as Exif tag 274 says (1: as it is, ... 6: a quarter clockwise, 8: counter-clockwise)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


# ----------------------------------------------------------------------------------------------------------------- JPEG
def _decode_jpeg(data: bytes, frame: FrameHeader, at_least: tuple[int, int]) -> Pixels:
    # A scan begins with these two bytes, and pixels never hold them: counting them is fast, and only ever too many.
    if data.count(b"\xff\xda") > _MAX_SCANS and _jpeg_scans(data) > _MAX_SCANS:
        raise UnsupportedImage(f"The JPEG has more than {_MAX_SCANS} scans, which no camera writes: save it again.")
    factor = 1
    if min(at_least) > 0:
        factor = next((f for f in (8, 4, 2) if frame.width >= f * at_least[0] and frame.height >= f * at_least[1]), 1)
    try:
        pixels = simplejpeg.decode_jpeg(
            data, "RGB", min_width=-(-frame.width // factor), min_height=-(-frame.height // factor)
        )
    except ValueError as error:
        reason = str(error)  # a fixed sentence of libjpeg-turbo
    else:
        return np.asarray(pixels, dtype=np.uint8)
    raise DamagedImage(f"The JPEG is truncated or corrupt ({reason}): {_AGAIN}.")


def _jpeg_scans(data: bytes) -> int:
    position, scans = 2, 0
    while scans <= _MAX_SCANS and (found := _NEXT_MARKER.search(data, position)):
        position, marker = found.end(), data[found.end() - 1]
        if marker == 0xD9:
            break
        scans += marker == 0xDA
        if marker != 0x01:  # all others are followed by their length
            position += int.from_bytes(data[position : position + 2], "big")
    return scans


# ------------------------------------------------------------------------------------------------------ OpenCV, Pillow
def _decode_cv2(data: bytes, media_type: str, page: int) -> NDArray[np.generic]:
    """Samples as OpenCV gives them: grey, BGR or BGRA, 8 or 16 bits; a TIFF already turned upright."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    pixels: object = None
    try:
        if media_type == PNG:
            pixels = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        else:
            pages = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, range=(page, page + 1))[1]
            pixels = pages[0] if pages else None
    except cv2.error:
        pixels = None
    if not isinstance(pixels, np.ndarray) or pixels.dtype not in (np.uint8, np.uint16):
        raise DamagedImage(f"The image is truncated or corrupt: {_AGAIN}.")
    return pixels


def _to_rgb(samples: NDArray[np.generic], frame: FrameHeader, has_alpha: bool) -> Pixels:
    full_scale = 255
    if samples.dtype == np.uint16:
        full_scale = full_scale_of(int(samples[..., :3].max() if samples.ndim == 3 else samples.max()))
    colours = _to_8_bits(samples[..., :3] if samples.ndim == 3 else samples, full_scale)
    if frame.inverted:
        colours = np.subtract(255, colours, dtype=np.uint8)
    rgb = cv2.cvtColor(colours, cv2.COLOR_GRAY2RGB if colours.ndim == 2 else cv2.COLOR_BGR2RGB)
    if has_alpha and samples.ndim == 3 and samples.shape[2] == 4:
        opacity = _to_8_bits(samples[..., 3:4], 255 if samples.dtype == np.uint8 else 65_535).reshape(*rgb.shape[:2], 1)
        rgb = _on_white(np.asarray(rgb, dtype=np.uint8), opacity)
    return np.asarray(rgb, dtype=np.uint8)


def full_scale_of(brightest: int) -> int:
    """Full scale of 16 bit samples: the smallest of 8, 10, 12, 14 and 16 bits that holds the brightest one.

    Cameras put 10, 12 or 14 bits into 16 without saying so; in bright field the background is near full scale.
    """
    return next(full for full in _FULL_SCALES if brightest <= full)


def _to_8_bits(samples: NDArray[np.generic], full_scale: int) -> Pixels:
    if samples.dtype == np.uint8:
        return np.ascontiguousarray(samples, dtype=np.uint8)
    return np.asarray(cv2.convertScaleAbs(np.ascontiguousarray(samples), alpha=255.0 / full_scale), dtype=np.uint8)


def _on_white(rgb: Pixels, opacity: Pixels) -> Pixels:
    if int(opacity.min()) == 255:
        return rgb
    share = opacity.astype(np.uint16)
    return np.asarray((rgb * share + 255 * (255 - share) + 127) // 255, dtype=np.uint8)


def _decode_pillow(data: bytes, frame: FrameHeader) -> Pixels:
    """RGB of one TIFF page; Pillow turns it upright itself."""
    pixels: Pixels | None = None
    too_large = False
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            image.seek(frame.page)
            if sorted(image.size) == sorted((frame.width, frame.height)):  # else it reads the header otherwise
                pixels = np.asarray(_pillow_rgb(image), dtype=np.uint8)
    except Image.DecompressionBombError:
        too_large = True
    except _PILLOW_ERRORS:
        pixels = None
    if too_large:
        raise ImageTooLarge("The TIFF has more pixels than are decoded: export single fields.")
    if pixels is None:
        raise DamagedImage(f"The TIFF is truncated or corrupt: {_AGAIN}.")
    return pixels


def _pillow_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA"):
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
