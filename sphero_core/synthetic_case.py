"""Artificial cases as files: several fields of one smear, and their truth as COCO."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from sphero_core.exports import FieldRecord, coco_document
from sphero_core.synthetic import SmearStyle, SyntheticField, draw_smear, random_style


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticCase:
    """What was written: one file per field in order, the fields themselves, and the file with their truth."""

    files: tuple[Path, ...]
    fields: tuple[SyntheticField, ...]
    truth: Path


def write_synthetic_case(
    folder: Path,
    seed: int,
    fields: int,
    *,
    style: SmearStyle | None = None,
    suffix: str = ".png",
    truth: Path | None = None,
) -> SyntheticCase:
    """Draw several fields of one smear and write ``field-01.png``... and their truth.

    Parameters
    ----------
    folder : Path
        Made if missing.
    seed : int
        The same seed gives the same files on every machine.
    fields : int
        How many.
    style : SmearStyle or None
        Of the whole smear; drawn from the seed by default. Density, light and white cells vary between fields.
    suffix : str
        ``.png``, ``.jpg`` (quality 95) or ``.tif``.
    truth : Path or None
        Where the truth goes, as COCO instances; ``truth.coco.json`` in `folder` by default.

    Returns
    -------
    SyntheticCase

    Raises
    ------
    ValueError
        If `suffix` is none of the above.
    OSError
        If a file cannot be written.
    """
    if suffix not in (".png", ".jpg", ".tif"):
        raise ValueError(f"no field can be written as {suffix!r}; use .png, .jpg or .tif")
    rng = np.random.default_rng(seed)
    smear = random_style(rng) if style is None else style
    folder.mkdir(parents=True, exist_ok=True)
    files, drawn, records = [], [], []
    for number in range(1, fields + 1):
        field = draw_smear(vary_style(smear, rng), rng)
        content = _encode(field, suffix)
        path = folder / f"field-{number:02d}{suffix}"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        records.append(FieldRecord(path.name, digest, smear.width, smear.height, None, field.findings))
        files.append(path)
        drawn.append(field)
    truth = folder / "truth.coco.json" if truth is None else truth
    truth.write_text(json.dumps(coco_document(records)) + "\n", encoding="utf-8")
    return SyntheticCase(tuple(files), tuple(drawn), truth)


def vary_style(style: SmearStyle, rng: np.random.Generator) -> SmearStyle:
    """Move to another place of the same smear."""
    return replace(
        style,
        red_cells=round(style.red_cells * rng.uniform(0.85, 1.1)),
        platelets=int(rng.poisson(style.platelets)),
        white_cells=int(rng.poisson(style.white_cells * 0.6)),
        illumination=style.illumination * rng.uniform(0.7, 1.3),
    )


def _encode(field: SyntheticField, suffix: str) -> bytes:
    bgr = cv2.cvtColor(field.pixels, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else []
    done, buffer = cv2.imencode(suffix, bgr, options)
    if not done:
        raise OSError(f"the picture could not be encoded as {suffix}")
    return buffer.tobytes()
