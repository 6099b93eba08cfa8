"""Cells as GeoJSON (RFC 7946) in the form that QuPath reads: one file for each field, outlines in the pixels of the stored image.

As QuPath has it, (0, 0) is the upper left corner of the upper left pixel. Import with *File > Import objects from file*.
"""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from sphero_core.exports import FieldRecord, StoredMask, stored_cells
from sphero_core.types import Cell, CellClass

COLOURS: dict[CellClass, tuple[int, int, int]] = {
    CellClass.RBC: (90, 90, 90),
    CellClass.SPHEROCYTE: (0, 90, 178),
    CellClass.PLATELET: (0, 158, 115),
    CellClass.WBC: (230, 159, 0),
}
_NAMESPACE = uuid.UUID("5f0f6c1e-7c55-5d0a-9d0b-2f6f3a2f7b11")


def geojson_document(record: FieldRecord) -> dict[str, Any]:
    """Build the collection of one field's cells.

    Each has its class as classification, the model's own call where a person changed it, and scores as measurements. Ids are made
    from the field's content and the cell's number: the same cell has the same id again.

    Parameters
    ----------
    record : FieldRecord
        Without findings it has no cells.
    """
    features = [
        _feature(record, number, cell, stored) for number, (cell, stored) in enumerate(stored_cells(record), start=1)
    ]
    return {"type": "FeatureCollection", "features": features}


def _feature(record: FieldRecord, number: int, cell: Cell, stored: StoredMask) -> dict[str, Any]:
    measurements: dict[str, float] = {"score": round(cell.score, 4), "red_cell_score": round(cell.red_cell_score, 4)}
    if cell.measures is not None and not np.isnan(cell.measures.area_px):
        measurements["area_px2"] = round(cell.measures.area_px, 2)
        if record.um_per_pixel is not None:
            measurements["area_um2"] = round(cell.measures.area_px * record.um_per_pixel**2, 4)
    properties: dict[str, Any] = {
        "objectType": "detection",
        "name": str(number),
        "classification": {"name": cell.cell_class.value, "color": list(COLOURS[cell.cell_class])},
        "isLocked": False,
        "measurements": measurements,
        "metadata": {"border": str(cell.touches_border).lower(), "overlaps": str(cell.overlaps).lower()},
    }
    if cell.machine_class is not None:
        properties["metadata"]["machine_class"] = cell.machine_class.value
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, f"{record.sha256}/{record.file}/{number}")),
        "geometry": _geometry(stored),
        "properties": properties,
    }


def _geometry(stored: StoredMask) -> dict[str, Any]:
    """The outline of a mask without its holes; several pieces become a MultiPolygon."""
    filled = np.pad(ndimage.binary_fill_holes(stored.mask), 1)
    rings = [_ring(outline, stored) for outline in measure.find_contours(filled.astype(np.float64), 0.5)]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def _ring(outline: NDArray[np.float64], stored: StoredMask) -> list[list[float]]:
    """A closed ring, counter-clockwise as RFC 7946 wants exteriors (with y upwards, as it counts)."""
    points = np.column_stack([outline[:, 1] + stored.x - 0.5, outline[:, 0] + stored.y - 0.5])
    x, y = points[:-1].T
    if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0:
        points = points[::-1]
    return [[float(x), float(y)] for x, y in points]
