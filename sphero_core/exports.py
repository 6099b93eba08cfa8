"""Files that leave the core: ``summary.json``, ``cells.csv`` and ``coco.json``.

Boxes and masks are written in the pixels of the stored file, so that they can be laid over it as it is; measures of
shape are those of the field in true proportion (see `sphero_core.types`).
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from sphero_core.measures import DEFINITIONS
from sphero_core.types import BundleId, CaseCounts, Cell, CellClass, CellMeasures, FieldFindings

SUMMARY_SCHEMA = "urn:spheroflow:summary:1"
COCO_CATEGORIES: dict[CellClass, int] = {
    CellClass.PLATELET: 1,
    CellClass.RBC: 2,
    CellClass.SPHEROCYTE: 3,
    CellClass.WBC: 4,
}

# In micrometres behind those in pixels.
_LENGTHS = [definition for definition in DEFINITIONS if definition.unit.power]
_OTHERS = [definition for definition in DEFINITIONS if not definition.unit.power]
_MEASURES: tuple[tuple[str, str, int], ...] = (
    *((each.column, each.name, 0) for each in _LENGTHS),
    *((each.micrometre_column, each.name, each.unit.power) for each in _LENGTHS),
    *((each.column, each.name, 0) for each in _OTHERS),
)
CSV_COLUMNS: tuple[str, ...] = (
    *("file", "cell", "class", "score", "red_cell_score", "x", "y", "width", "height", "border"),
    *(column for column, _, _ in _MEASURES),
    "overlaps",
    "machine_class",
)


@dataclass(frozen=True, slots=True, eq=False)
class FieldRecord:
    """One field of a case with where it came from.

    Attributes
    ----------
    file : str
        Name under which the file is listed; of the caller's choice.
    sha256 : str
        Hex digest of the file's bytes.
    stored_width, stored_height : int or None
        Size of the stored, upright image in pixels; None when it could not be read.
    um_per_pixel : float or None
        Micrometres per pixel in true proportion.
    findings : FieldFindings or None
        None when the file could not be analysed at all.
    refusal : str
        Why it could not be, in words; empty otherwise.
    """

    file: str
    sha256: str
    stored_width: int | None
    stored_height: int | None
    um_per_pixel: float | None
    findings: FieldFindings | None
    refusal: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class StoredMask:
    """A cell's pixels in the stored image: upper left corner and the cropped mask, shape (height, width)."""

    x: int
    y: int
    mask: NDArray[np.bool_]


def summary_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) that every ``summary.json`` of this version obeys."""
    text = resources.files("sphero_core").joinpath("schemas/summary-1.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def summary_document(bundle: BundleId, records: Sequence[FieldRecord], counts: CaseCounts) -> dict[str, Any]:
    """Build the content of ``summary.json``; its schema is `summary_schema`.

    Parameters
    ----------
    bundle : BundleId
    records : sequence of FieldRecord
        Every field of the case, refused ones included, in the order they are listed.
    counts : CaseCounts
        Of `sphero_core.statistics.count_case` over the same fields.
    """
    interval = None if counts.ci95 is None else [round(bound, 4) for bound in counts.ci95]
    percent = None if counts.spherocyte_percent is None else round(counts.spherocyte_percent, 4)
    return {
        "schema": SUMMARY_SCHEMA,
        "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "fields": [_field_summary(record) for record in records],
        "case": {
            "red_cells": counts.red_cells,
            "spherocytes": counts.spherocytes,
            "spherocyte_percent": percent,
            "ci95": interval,
            "grade": counts.grading.grade if counts.grading else None,
            "scheme": counts.grading.scheme if counts.grading else None,
            "limitations": list(counts.limitations),
        },
    }


def cells_csv(records: Sequence[FieldRecord]) -> str:
    """Build the content of ``cells.csv``: one line per cell, in the order of the records and of their findings.

    Cells are numbered from 1 within their file. A measure that is missing, or that needs a scale nobody gave, is left
    empty. Ratios have no unit; ``..._per_median`` is relative to the median red cell of the case.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for record in records:
        for number, (cell, stored) in enumerate(stored_cells(record), start=1):
            height, width = stored.mask.shape
            writer.writerow(
                [
                    *(record.file, number, cell.cell_class.value, f"{cell.score:.4f}", f"{cell.red_cell_score:.4f}"),
                    *(stored.x, stored.y, width, height, _flag(cell.touches_border)),
                    *_measure_columns(cell.measures, record.um_per_pixel),
                    _flag(cell.overlaps),
                    (cell.machine_class or cell.cell_class).value,
                ]
            )
    return text.getvalue()


def coco_document(records: Sequence[FieldRecord]) -> dict[str, Any]:
    """Build the content of ``coco.json``: COCO instances with compressed RLE masks in stored coordinates.

    Each annotation carries ``score``, ``red_cell_score``, ``border`` and the model's own ``machine_category_id`` (another than
    ``category_id`` where a person gave the cell another class) beside COCO's own keys. Files that could not
    be read are left out, for an image of unknown size is none to COCO.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    readable = [record for record in records if record.stored_width and record.stored_height]
    for image_id, record in enumerate(readable, start=1):
        height, width = int(record.stored_height or 0), int(record.stored_width or 0)
        images.append({"id": image_id, "file_name": record.file, "width": width, "height": height})
        for cell, stored in stored_cells(record):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": COCO_CATEGORIES[cell.cell_class],
                    "bbox": [stored.x, stored.y, stored.mask.shape[1], stored.mask.shape[0]],
                    "area": int(np.count_nonzero(stored.mask)),
                    "segmentation": encode_mask(stored, width, height),
                    "iscrowd": 0,
                    "score": round(cell.score, 4),
                    "red_cell_score": round(cell.red_cell_score, 4),
                    "border": cell.touches_border,
                    "machine_category_id": COCO_CATEGORIES[cell.machine_class or cell.cell_class],
                }
            )
    return {
        "info": {"description": "Cells found by Spheroflow"},
        "licenses": [],
        "categories": [{"id": number, "name": name.value} for name, number in COCO_CATEGORIES.items()],
        "images": images,
        "annotations": annotations,
    }


def write_exports(folder: Path, bundle: BundleId, records: Sequence[FieldRecord], counts: CaseCounts) -> None:
    """Write ``summary.json``, ``cells.csv`` and ``coco.json`` into an existing `folder`, replacing older ones.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    summary = json.dumps(summary_document(bundle, records, counts), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "summary.json").write_text(summary + "\n", encoding="utf-8")
    (folder / "cells.csv").write_text(cells_csv(records), encoding="utf-8", newline="")
    coco = json.dumps(coco_document(records), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    (folder / "coco.json").write_text(coco + "\n", encoding="utf-8")


def stored_mask(cell: Cell, scale: tuple[float, float], width: int, height: int) -> StoredMask:
    """Bring a cell's mask into the stored image by the nearest pixel.

    Parameters
    ----------
    cell : Cell
    scale : tuple of float
        Factors (x, y) from true-proportion to stored coordinates, as of `FieldImage.to_stored`.
    width, height : int
        Of the stored image in pixels.
    """
    rows, top = _nearest(cell.y, cell.mask.shape[0], scale[1], height)
    columns, left = _nearest(cell.x, cell.mask.shape[1], scale[0], width)
    mask = cell.mask[np.ix_(rows, columns)]
    inside_rows, inside_columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(inside_rows):  # so thin that no stored pixel's centre hits it: its box stands for it
        return StoredMask(left, top, np.ones_like(mask))
    cropped = mask[inside_rows[0] : inside_rows[-1] + 1, inside_columns[0] : inside_columns[-1] + 1]
    return StoredMask(left + int(inside_columns[0]), top + int(inside_rows[0]), cropped)


def encode_mask(stored: StoredMask, width: int, height: int) -> dict[str, Any]:
    """Encode a mask as COCO's compressed RLE of the whole image, without ever building the whole image.

    Returns
    -------
    dict
        ``{"size": [height, width], "counts": str}``
    """
    column, row = np.nonzero(stored.mask.T)  # column by column, as COCO counts
    places = (column + stored.x) * height + row + stored.y
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.concatenate([[0], breaks + 1])]
    ends = places[np.concatenate([breaks, [len(places) - 1]])] + 1
    edges = np.concatenate([[0], np.column_stack([starts, ends]).ravel(), [width * height]])
    encoded = coco_mask.frPyObjects({"size": [height, width], "counts": np.diff(edges).tolist()}, height, width)
    return {"size": [height, width], "counts": encoded["counts"].decode("ascii")}


def _field_summary(record: FieldRecord) -> dict[str, Any]:
    findings = record.findings
    accepted = findings is not None and findings.quality.accepted
    reasons = [record.refusal] if record.refusal else []
    counts = None
    if findings is not None:
        reasons += findings.quality.reasons
    if findings is not None and accepted:
        found = Counter(cell.cell_class for cell in findings.cells if not cell.touches_border)
        counts = {
            name.value: found[name] for name in (CellClass.RBC, CellClass.SPHEROCYTE, CellClass.PLATELET, CellClass.WBC)
        }
    return {
        "file": record.file,
        "sha256": record.sha256,
        "width": record.stored_width,
        "height": record.stored_height,
        "um_per_pixel": record.um_per_pixel,
        "quality": {"accepted": accepted, "reasons": reasons},
        "counts": counts,
        "seconds": round(findings.seconds, 3) if findings is not None else 0.0,
    }


def stored_cells(record: FieldRecord) -> Iterator[tuple[Cell, StoredMask]]:
    """Each cell of a field with its pixels in the stored image; none where the field has no findings."""
    findings = record.findings
    if findings is None or record.stored_width is None or record.stored_height is None:
        return
    scale = record.stored_width / findings.width, record.stored_height / findings.height
    for cell in findings.cells:
        yield cell, stored_mask(cell, scale, record.stored_width, record.stored_height)


def _nearest(start: int, length: int, scale: float, limit: int) -> tuple[NDArray[np.intp], int]:
    """Which of the `length` mask rows from `start` on each stored row shows, and the first stored row."""
    first = max(math.ceil(start * scale - 0.5), 0)
    last = min(math.ceil((start + length) * scale - 0.5), limit)
    first = min(first, limit - 1)
    stored = np.arange(first, max(last, first + 1))
    index = np.floor((stored + 0.5) / scale).astype(np.intp) - start
    return np.clip(index, 0, length - 1), first


def _measure_columns(measures: CellMeasures | None, um_per_pixel: float | None) -> list[str]:
    columns = []
    for _, attribute, power in _MEASURES:
        value = math.nan if measures is None else float(getattr(measures, attribute))
        if power:
            value *= math.nan if um_per_pixel is None else um_per_pixel**power
        columns.append("" if math.isnan(value) else f"{value:.4f}")
    return columns


def _flag(value: bool) -> str:
    return "true" if value else "false"
