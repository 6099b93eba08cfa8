"""GeoJSON of cells: outlines that cover the mask, in stored pixels, with what a person changed."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from skimage.draw import disk, polygon2mask

from sphero_core.exports import FieldRecord
from sphero_core.geojson import geojson_document
from sphero_core.types import Cell, CellClass, FieldFindings


def round_mask(radius: int) -> NDArray[np.bool_]:
    mask = np.zeros((2 * radius + 1, 2 * radius + 1), dtype=np.bool_)
    mask[disk((radius, radius), radius + 0.5)] = True
    return mask


def record(*cells: Cell, stored_width: int = 200) -> FieldRecord:
    return FieldRecord("field", "a" * 64, stored_width, 100, None, FieldFindings(cells, 200, 100, 40.0, 1, 0.1))


def test_the_outline_covers_the_mask() -> None:
    cell = Cell(CellClass.SPHEROCYTE, 0.91, 0.99, 30, 20, round_mask(18))
    (feature,) = geojson_document(record(cell))["features"]
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert (ring[0] == ring[-1]).all(), "closed"
    assert (ring.min(axis=0) == (30, 20)).all(), "pixel edges, from the corner of the image"
    assert (ring.max(axis=0) == (67, 57)).all()
    drawn = polygon2mask((100, 200), ring[:, ::-1] - 0.5)
    truth = np.zeros((100, 200), dtype=np.bool_)
    truth[20:57, 30:67] = cell.mask
    assert (drawn & truth).sum() / (drawn | truth).sum() > 0.97


def test_stretched_images_have_outlines_in_stored_pixels() -> None:
    cell = Cell(CellClass.RBC, 0.9, 0.99, 100, 20, round_mask(10))
    (feature,) = geojson_document(record(cell, stored_width=150))["features"]
    xs = [point[0] for point in feature["geometry"]["coordinates"][0]]
    assert (min(xs), max(xs)) == (75, 91)


def test_what_a_person_changed_stands_beside_the_machines_call() -> None:
    cell = Cell(CellClass.RBC, 0.9, 0.99, 5, 5, round_mask(10), machine_class=CellClass.SPHEROCYTE)
    (feature,) = geojson_document(record(cell))["features"]
    assert feature["properties"]["classification"]["name"] == "RBC"
    assert feature["properties"]["metadata"]["machine_class"] == "Spherocyte"
    assert feature["properties"]["objectType"] == "detection"


def test_pieces_become_several_polygons_and_holes_are_closed() -> None:
    pieces = np.zeros((12, 30), dtype=np.bool_)
    pieces[1:11, 1:11] = pieces[1:11, 20:29] = True
    pieces[4:6, 4:6] = False
    (feature,) = geojson_document(record(Cell(CellClass.RBC, 0.9, 0.99, 5, 5, pieces)))["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert len(feature["geometry"]["coordinates"]) == 2


def test_the_same_cells_have_the_same_ids_again_and_no_two_share_one() -> None:
    cells = [Cell(CellClass.RBC, 0.9, 0.99, 5 + 30 * number, 5, round_mask(10)) for number in range(3)]
    first, second = geojson_document(record(*cells)), geojson_document(record(*cells))
    assert json.dumps(first) == json.dumps(second)
    assert len({feature["id"] for feature in first["features"]}) == 3
