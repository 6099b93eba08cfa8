"""The pictures that messages carry: which fields, how large, and where a receiver finds them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from db.errors import NotFound
from db.views import FieldResult, PictureView
from flows.errors import ModelError
from flows.log import tell
from integrations.errors import StoreError
from integrations.hl7.profile import PictureChoice, Profile, SendPictures
from integrations.hl7.result import Picture
from sphero_core.types import CellClass

log = logging.getLogger(__name__)

SIDES = (1280, 1024, 800, 640, 480, 320)
QUALITIES = (85, 70, 50)


class MessagePictures:
    """Chooses and prepares pictures; for any number of threads.

    Parameters
    ----------
    file : callable
        ``(picture_id) -> Path`` of the JPEG, drawn where it is not there yet.
    url : str
        Where our HTTP port serves them, where a profile says nothing else.
    """

    def __init__(self, *, file: Callable[[str], Path], url: str) -> None:
        self._file = file
        self._url = url

    def prepare(
        self, profiles: Mapping[str, Profile], fields: Sequence[FieldResult], known: Mapping[str, PictureView]
    ) -> dict[str, tuple[Picture, ...]]:
        """Give the pictures of a case by destination.

        One that cannot be had is empty, so that the message says so; a result never waits for its pictures.

        Parameters
        ----------
        profiles : mapping of str to Profile
            By destination.
        fields : sequence of FieldResult
        known : mapping of str to PictureView
            The overlays by field.
        """
        prepared = {}
        for name, profile in profiles.items():
            choice = profile.pictures
            if choice.send is SendPictures.NONE:
                continue
            shown = [known.get(each.field.field_id) for each in most_telling(fields, choice.most)]
            prepared[name] = tuple(self._picture(picture, choice) for picture in shown)
        return prepared

    def _picture(self, picture: PictureView | None, choice: PictureChoice) -> Picture:
        if picture is None:
            return Picture()
        if choice.send is SendPictures.POINTER:
            return Picture(url=f"{(choice.url or self._url).rstrip('/')}/pictures/{picture.picture_id}")
        try:
            jpeg = fit_jpeg(self._file(picture.picture_id).read_bytes(), choice.max_bytes)
        except (NotFound, ModelError, StoreError, TimeoutError, OSError) as error:
            log.warning("a picture is left out of a message: %s", tell(error), extra={"case": picture.case_id})
            return Picture()
        if jpeg is None:
            log.warning("a picture does not fit into a message", extra={"case": picture.case_id})
        return Picture(jpeg=jpeg)


def most_telling(fields: Sequence[FieldResult], most: int) -> list[FieldResult]:
    """The counted fields with the most spherocytes, in the order the fields came."""
    counted = [each for each in fields if each.findings.quality.accepted]
    chosen = sorted(counted, key=lambda each: (-_spherocytes(each), each.field.number))[:most]
    return sorted(chosen, key=lambda each: each.field.number)


def fit_jpeg(jpeg: bytes, max_bytes: int) -> bytes | None:
    """Make a JPEG smaller until it has at most so many bytes; None where that cannot be done."""
    if len(jpeg) <= max_bytes:
        return jpeg
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    for side in SIDES:
        scale = min(1.0, side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        smaller = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        for quality in QUALITIES:
            done, encoded = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if done and len(encoded) <= max_bytes:
                return encoded.tobytes()
    return None


def _spherocytes(result: FieldResult) -> int:
    return sum(cell.cell_class is CellClass.SPHEROCYTE and not cell.touches_border for cell in result.findings.cells)
