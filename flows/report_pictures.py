"""The pictures of a report for people: single cells and whole fields, cut from the stored images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from db.views import FieldResult
from flows.errors import ReviewRefused
from flows.image_tasks import image_task
from flows.message_pictures import most_telling
from flows.outcome import Material
from sphero_core.errors import ImageError
from sphero_core.image import read_image
from sphero_core.render import draw_overlay
from sphero_core.report.content import DOUBTFUL, ShownPicture
from sphero_core.types import Cell, CellClass, FieldImage

MOST_CELLS = 16
MOST_FIELDS = 6
CROP_PX = 144
AROUND = 1.9  # side of a crop in cell diameters
OVERLAY_PX = 900


class ReportPictures:
    """The pictures of a report, cut from the fields; a field that cannot be read any more is left out."""

    def __init__(self, store: Path, material: Material, pixel_aspect: float) -> None:
        self._store = store
        self._material = material
        self._pixel_aspect = pixel_aspect
        self._images: dict[str, FieldImage | None] = {}

    def pictures(self) -> tuple[tuple[ShownPicture, ...], tuple[ShownPicture, ...], tuple[ShownPicture, ...]]:
        """The surest spherocytes, the most doubtful red cells, and the fields with the most spherocytes."""
        counted = [result for result in self._material.fields if result.findings.quality.accepted]
        red = [
            (result, number, cell)
            for result in counted
            for number, cell in enumerate(result.findings.cells, start=1)
            if cell.cell_class.is_red_cell and not cell.touches_border
        ]
        surest, unsure = galleries(red)
        return (
            tuple(shown for each in surest if (shown := self._cell(*each)) is not None),
            tuple(shown for each in unsure if (shown := self._cell(*each)) is not None),
            tuple(shown for each in most_telling(counted, MOST_FIELDS) if (shown := self._field(each)) is not None),
        )

    def _cell(self, result: FieldResult, number: int, cell: Cell) -> ShownPicture | None:
        image = self._image(result)
        if image is None:
            return None
        scale = image.width / result.findings.width  # the field may have been analysed smaller
        side = max(8, round(AROUND * max(cell.box[2:]) * scale))
        height, width = cell.mask.shape
        x, y = round((cell.x + width / 2) * scale) - side // 2, round((cell.y + height / 2) * scale) - side // 2
        # White beyond the field's edge: nothing is shown there that was not seen.
        padded = cv2.copyMakeBorder(image.pixels, *(side,) * 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        crop = padded[y + side : y + 2 * side, x + side : x + 2 * side]
        caption = f"{spherocyte_score(cell):.2f} {'sph.' if cell.cell_class is CellClass.SPHEROCYTE else 'other'}"
        if cell.machine_class is not None:
            caption += ", by a person"
        crop = cv2.resize(crop, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA if side > CROP_PX else cv2.INTER_CUBIC)
        return ShownPicture(_jpeg(crop), f"{result.field.number}.{number}", caption)

    def _field(self, result: FieldResult) -> ShownPicture | None:
        image = self._image(result)
        if image is None:
            return None
        drawn = draw_overlay(image, result.findings, longest_side=OVERLAY_PX, legend=False)
        red = [cell for cell in result.findings.cells if cell.cell_class.is_red_cell and not cell.touches_border]
        found = sum(cell.cell_class is CellClass.SPHEROCYTE for cell in red)
        return ShownPicture(
            _jpeg(drawn), f"Field {result.field.number}", f"{found} spherocytes of {len(red)} red cells"
        )

    def _image(self, result: FieldResult) -> FieldImage | None:
        key = result.field.field_id
        if key not in self._images:
            task = image_task(self._store, self._material.case, result.field, self._pixel_aspect)
            try:
                self._images[key] = read_image(task.path, frame=task.frame, pixel_aspect=task.pixel_aspect)
            except (ImageError, OSError):
                self._images[key] = None
        return self._images[key]


Chosen = tuple[FieldResult, int, Cell]
"""A cell with its field and its number there, from 1."""


def galleries(red: Sequence[Chosen]) -> tuple[list[Chosen], list[Chosen]]:
    """The surest spherocytes and the most doubtful red cells; a cell that is in doubt is not shown as one of the surest."""
    sure = [
        each for each in red if each[2].cell_class is CellClass.SPHEROCYTE and spherocyte_score(each[2]) >= DOUBTFUL[1]
    ]
    doubtful = [each for each in red if DOUBTFUL[0] <= spherocyte_score(each[2]) < DOUBTFUL[1]]
    return (
        sorted(sure, key=lambda each: sureness(each[2]), reverse=True)[:MOST_CELLS],
        sorted(doubtful, key=lambda each: abs(spherocyte_score(each[2]) - 0.5))[:MOST_CELLS],
    )


def sureness(cell: Cell) -> tuple[int, float]:
    """What the gallery is sorted by: the probability in whole tenths, and within a tenth how round the cell is.

    Differences of hundredths say little: an order by these alone puts a dense cell that is drawn out before a round one.
    """
    circularity = cell.measures.circularity if cell.measures is not None else 0.0
    return int(10 * spherocyte_score(cell)), 0.0 if math.isnan(circularity) else circularity


def spherocyte_score(cell: Cell) -> float:
    """The model's probability that a red cell is a spherocyte, whatever a person called it."""
    called = cell.machine_class or cell.cell_class
    return cell.score if called is CellClass.SPHEROCYTE else max(0.0, cell.red_cell_score - cell.score)


def _jpeg(pixels: NDArray[Any]) -> bytes:
    done, encoded = cv2.imencode(".jpg", np.ascontiguousarray(pixels[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise ReviewRefused("a picture of the report cannot be encoded")
    return encoded.tobytes()
