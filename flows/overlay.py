"""The picture that people look at, made where the pixels are."""

from __future__ import annotations

from pathlib import Path

import cv2

from sphero_core.errors import UnsupportedImage
from sphero_core.render import draw_overlay
from sphero_core.types import FieldFindings, FieldImage

OVERLAY_SIDE = 1280
SMALL_SIDE = 240  # pixels: three of them fit beside each other on Prefect's pages
JPEG_QUALITY = 88


def encode_overlay(image: FieldImage, findings: FieldFindings) -> bytes:
    """The findings drawn over the field, as JPEG."""
    drawn = draw_overlay(image, findings, longest_side=OVERLAY_SIDE)
    done, encoded = cv2.imencode(".jpg", drawn[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise UnsupportedImage("The picture of the findings cannot be encoded as JPEG.")
    return encoded.tobytes()


def smaller(picture: Path) -> bytes:
    """A picture file made small enough to stand beside others, as JPEG."""
    pixels = cv2.imread(str(picture))
    if pixels is None:
        raise UnsupportedImage("The picture of the findings cannot be read again.")
    scale = SMALL_SIDE / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise UnsupportedImage("The picture of the findings cannot be encoded as JPEG.")
    return encoded.tobytes()
