"""The picture that people look at, made where the pixels are."""

from __future__ import annotations

import cv2

from sphero_core.errors import UnsupportedImage
from sphero_core.render import draw_overlay
from sphero_core.types import FieldFindings, FieldImage

OVERLAY_SIDE = 1280
JPEG_QUALITY = 88


def encode_overlay(image: FieldImage, findings: FieldFindings) -> bytes:
    """The findings drawn over the field, as JPEG."""
    drawn = draw_overlay(image, findings, longest_side=OVERLAY_SIDE)
    done, encoded = cv2.imencode(".jpg", drawn[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise UnsupportedImage("The picture of the findings cannot be encoded as JPEG.")
    return encoded.tobytes()
