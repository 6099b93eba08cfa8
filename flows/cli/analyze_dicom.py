"""DICOM files of `sphero analyze`: decoded in the sandbox into a temporary folder, where the detector finds images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from integrations.dicom.sandbox import Sandbox
from sphero_core.errors import ImageError

if TYPE_CHECKING:
    from sphero_core.case import FieldSource

_MAGIC_AT, _MAGIC = 128, b"DICM"


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its content (PS3.10 section 7.1); False for what cannot be opened."""
    try:
        with path.open("rb") as stream:
            stream.seek(_MAGIC_AT)
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def decoded(
    sources: Sequence[FieldSource], folder: Path, *, pixel_aspect: float | None, um_per_pixel: float | None
) -> list[FieldSource]:
    """Put the decoded frames in the place of DICOM files; one that cannot be read stays, with the reason.

    Parameters
    ----------
    sources : sequence of FieldSource
    folder : Path
        Takes the frames.
    pixel_aspect, um_per_pixel : float or None
        What the caller says; None takes what the object says.
    """
    found: list[FieldSource] = []
    with Sandbox() as sandbox:
        for number, source in enumerate(sources):
            if is_dicom(source.path):
                prefix = folder / str(number)
                found += _frames(sandbox, source, prefix, pixel_aspect=pixel_aspect, um_per_pixel=um_per_pixel)
            else:
                found.append(source)
    return found


def _frames(
    sandbox: Sandbox, source: FieldSource, prefix: Path, *, pixel_aspect: float | None, um_per_pixel: float | None
) -> list[FieldSource]:
    try:
        header = sandbox.frames(source.path, prefix)
    except ImageError as refusal:
        return [replace(source, refusal=str(refusal))]
    told = replace(
        source,
        pixel_aspect=header.pixel_aspect if pixel_aspect is None else pixel_aspect,
        um_per_pixel=header.um_per_pixel if um_per_pixel is None else um_per_pixel,
        sha256=hashlib.sha256(source.path.read_bytes()).hexdigest(),
    )
    count = header.pixels.frames
    return [
        replace(
            told,
            path=prefix.with_name(f"{prefix.name}.{frame}"),
            label=source.label if count == 1 else f"{source.label}#{frame + 1}",
        )
        for frame in range(count)
    ]
