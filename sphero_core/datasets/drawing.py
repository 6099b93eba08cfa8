"""Data sets of artificial smears: every pixel of every cell is known, overlaps included.

What a network finds in them says how well it learnt the drawing; such figures are no accuracy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sphero_core.datasets.layout import ANNOTATIONS, IMAGES, SCHEMA
from sphero_core.exports import FieldRecord, coco_document
from sphero_core.synthetic import draw_smear, random_style
from sphero_core.synthetic_case import vary_style


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn.

    Attributes
    ----------
    smears, fields : int
        Smears, and fields of each; a smear is a group.
    seed : int
        The same seed gives the same files on every machine.
    fixed : mapping
        Attributes of `sphero_core.synthetic.SmearStyle` that are the same in all smears; all others are drawn.
    """

    smears: int
    fields: int
    seed: int
    fixed: Mapping[str, Any]


def draw_dataset(folder: Path, drawing: Drawing, tick: Callable[[], None] = lambda: None) -> Path:
    """Draw a data set in the layout of `sphero_core.datasets.layout`; masks are exact run lengths.

    Parameters
    ----------
    folder : Path
        Made if missing.
    drawing : Drawing
    tick : callable
        Called after each field.

    Returns
    -------
    Path
        The COCO file.

    Raises
    ------
    OSError
        A file cannot be written.
    ValueError
        No smear has such attributes.
    """
    records: list[FieldRecord] = []
    groups: list[str] = []
    for smear in range(1, drawing.smears + 1):
        rng = np.random.default_rng([drawing.seed, smear])
        style = random_style(rng, **drawing.fixed)
        (folder / IMAGES / f"smear-{smear:03d}").mkdir(parents=True, exist_ok=True)
        for number in range(1, drawing.fields + 1):
            field = draw_smear(vary_style(style, rng), rng)
            name = f"smear-{smear:03d}/field-{number:02d}.png"
            done, encoded = cv2.imencode(".png", cv2.cvtColor(field.pixels, cv2.COLOR_RGB2BGR))
            if not done:
                raise OSError("the picture could not be encoded as PNG")
            content = encoded.tobytes()
            (folder / IMAGES / name).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            records.append(FieldRecord(name, digest, style.width, style.height, None, field.findings))
            groups.append(f"smear-{smear:03d}")
            tick()
    path = folder / ANNOTATIONS
    path.write_text(json.dumps(_document(records, groups), separators=(",", ":")) + "\n", encoding="utf-8")
    return path


def _document(records: list[FieldRecord], groups: list[str]) -> dict[str, Any]:
    document = coco_document(records)
    document["info"] = {
        "schema": SCHEMA,
        "name": "synthetic smears",
        "licence": "",
        "pixel_aspect": 1.0,
        "images": IMAGES,
    }
    for entry, record, group in zip(document["images"], records, groups, strict=True):
        entry |= {"sha256": record.sha256, "group": group, "twins": []}
    for annotation in document["annotations"]:
        del annotation["score"], annotation["red_cell_score"]  # these are truths, not findings
    return document
