"""summary.json, cells.csv and coco.json."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jsonschema import Draft202012Validator, ValidationError
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sphero_core.exports import (
    CSV_COLUMNS,
    FieldRecord,
    StoredMask,
    cells_csv,
    coco_document,
    encode_mask,
    stored_mask,
    summary_document,
    summary_schema,
    write_exports,
)
from sphero_core.grading import DAVIS
from sphero_core.statistics import count_case
from sphero_core.synthetic import SmearStyle, SyntheticField, draw_smear
from sphero_core.types import BundleId, Cell, CellClass, CellMeasures, FieldFindings, Quality

BUNDLE = BundleId("spherocyte-mgg", "1.0", "ab" * 32)
DIGEST = "0f" * 32


@pytest.fixture(scope="module")
def field() -> SyntheticField:
    return draw_smear(SmearStyle(width=320, height=240, red_cells=12, white_cells=1), np.random.default_rng(3))


def make_records(field: SyntheticField) -> list[FieldRecord]:
    refused = FieldFindings(field.cells, 320, 240, 75.0, 1, 0.2, quality=Quality(False, ("out of focus",)))
    return [
        FieldRecord("a.png", DIGEST, 320, 240, 0.1, field.findings),
        FieldRecord("b.png", DIGEST, 320, 240, None, refused),
        FieldRecord("c.png", DIGEST, None, None, None, None, refusal="the image is truncated"),
    ]


def disc(radius: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x**2 + y**2 <= radius**2 + 1)


def whole(stored: StoredMask, width: int, height: int) -> NDArray[np.bool_]:
    image = np.zeros((height, width), bool)
    image[stored.y : stored.y + stored.mask.shape[0], stored.x : stored.x + stored.mask.shape[1]] = stored.mask
    return image


def test_summary_obeys_its_schema_and_has_the_documented_keys(field: SyntheticField) -> None:
    records = make_records(field)
    counts = count_case([record.findings for record in records if record.findings])
    summary = summary_document(BUNDLE, records, counts)
    Draft202012Validator.check_schema(summary_schema())
    Draft202012Validator(summary_schema()).validate(json.loads(json.dumps(summary)))
    assert list(summary) == ["schema", "bundle", "fields", "case"]
    assert list(summary["fields"][0]) == [
        *("file", "sha256", "width", "height", "um_per_pixel", "quality", "counts", "seconds")
    ]
    assert list(summary["case"]) == [
        *("red_cells", "spherocytes", "spherocyte_percent", "ci95", "grade", "scheme", "limitations")
    ]
    assert counts.spherocyte_percent is not None
    assert (summary["case"]["grade"], summary["case"]["scheme"]) == (DAVIS.grade_of(counts.spherocyte_percent), "davis")
    empty = summary_document(BUNDLE, records, count_case([]))["case"]
    assert (empty["grade"], empty["scheme"]) == (None, None)


def test_summary_counts_red_cells_without_spherocytes_per_field_and_with_them_per_case(field: SyntheticField) -> None:
    records = make_records(field)
    summary = summary_document(BUNDLE, records, count_case([record.findings for record in records if record.findings]))
    inner = [cell for cell in field.cells if not cell.touches_border]
    counts = summary["fields"][0]["counts"]
    assert counts["RBC"] == sum(cell.cell_class is CellClass.RBC for cell in inner) > 0
    assert counts["Spherocyte"] == sum(cell.cell_class is CellClass.SPHEROCYTE for cell in inner) > 0
    assert summary["case"]["red_cells"] == counts["RBC"] + counts["Spherocyte"]


def test_refused_and_unreadable_fields_have_reasons_and_no_counts(field: SyntheticField) -> None:
    summary = summary_document(BUNDLE, make_records(field), count_case([]))
    refused, unreadable = summary["fields"][1:]
    assert refused["counts"] is None
    assert refused["quality"] == {"accepted": False, "reasons": ["out of focus"]}
    assert unreadable["counts"] is None
    assert unreadable["quality"] == {"accepted": False, "reasons": ["the image is truncated"]}


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "urn:spheroflow:summary:2"},
        {"case": {}},
        {"extra": 1},
        {"fields": [{"file": "a.png", "counts": None}]},
    ],
)
def test_schema_refuses_other_documents(field: SyntheticField, change: dict[str, Any]) -> None:
    summary = summary_document(BUNDLE, make_records(field), count_case([field.findings])) | change
    with pytest.raises(ValidationError):
        Draft202012Validator(summary_schema()).validate(summary)


def test_schema_refuses_counts_of_a_refused_field(field: SyntheticField) -> None:
    summary = summary_document(BUNDLE, make_records(field), count_case([field.findings]))
    summary["fields"][1]["counts"] = summary["fields"][0]["counts"]
    with pytest.raises(ValidationError):
        Draft202012Validator(summary_schema()).validate(summary)


def test_cells_csv_has_a_line_per_cell_with_measures_in_known_units(field: SyntheticField) -> None:
    measures = CellMeasures(400.0, 22.5, 71.0, 0.99, 0.1, 0.98, 0.97, math.nan, 1.2, 0.8)
    cell = Cell(CellClass.SPHEROCYTE, 0.91234567, 0.99, 3, 4, disc(10), True, measures=measures)
    findings = FieldFindings((cell, cell), 320, 240, 75.0, 1, 0.2)
    text = cells_csv(
        [
            FieldRecord('odd, "name".png', DIGEST, 320, 240, 0.1, findings),
            FieldRecord("b.png", DIGEST, 320, 240, None, findings),
        ]
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["file"], row["cell"]) for row in rows] == [
        *(('odd, "name".png', "1"), ('odd, "name".png', "2"), ("b.png", "1"), ("b.png", "2"))
    ]
    first = rows[0]
    assert [first[name] for name in ("class", "score", "x", "y", "width", "height", "border")] == [
        *("Spherocyte", "0.9123", "3", "4", "21", "21", "true")
    ]
    assert float(first["area_um2"]) == pytest.approx(4.0)
    assert float(first["equivalent_diameter_um"]) == pytest.approx(2.25)
    assert first["pallor_index_ratio"] == ""
    assert rows[2]["area_px2"] == "400.0000"
    assert rows[2]["area_um2"] == ""


def test_coco_loads_in_pycocotools_with_exact_masks(field: SyntheticField, tmp_path: Path) -> None:
    write_exports(tmp_path, BUNDLE, make_records(field)[:1], count_case([field.findings]))
    coco = COCO(str(tmp_path / "coco.json"))
    categories = {entry["name"]: entry["id"] for entry in coco.loadCats(coco.getCatIds())}
    assert categories == {"Platelet": 1, "RBC": 2, "Spherocyte": 3, "WBC": 4}
    annotations = coco.loadAnns(coco.getAnnIds())
    assert len(annotations) == len(field.cells)
    for cell, annotation in zip(field.cells, annotations, strict=True):
        expected = whole(StoredMask(cell.x, cell.y, cell.mask), 320, 240)
        assert np.array_equal(coco.annToMask(annotation), expected)
        assert annotation["bbox"] == list(cell.box)
        assert annotation["area"] == cell.mask.sum()
        assert coco.cats[annotation["category_id"]]["name"] == cell.cell_class


def test_coco_leaves_out_files_that_could_not_be_read(field: SyntheticField) -> None:
    document = coco_document(make_records(field))
    assert [image["file_name"] for image in document["images"]] == ["a.png", "b.png"]


def test_masks_of_a_stretched_field_lie_on_the_stored_pixels() -> None:
    """A field stored as 640 x 640 was analysed at 640 x 480: rows are stretched back by 4/3."""
    cell = Cell(CellClass.RBC, 0.9, 0.9, 100, 90, disc(30))
    stored = stored_mask(cell, (1.0, 640 / 480), 640, 640)
    got = whole(stored, 640, 640)
    rows = ((np.arange(640) + 0.5) * 480 / 640).astype(int)
    expected = whole(StoredMask(100, 90, cell.mask), 640, 480)[rows]
    assert np.array_equal(got, expected)
    assert (stored.x, stored.mask.shape[1]) == (100, 61)
    assert stored.mask.shape[0] == pytest.approx(61 * 4 / 3, abs=1)


@pytest.mark.parametrize("scale", [0.1, 0.37, 1.0, 1.9])
@pytest.mark.parametrize("place", [(0, 0), (299, 199), (150, 77)])
def test_no_cell_vanishes_whatever_the_scale(scale: float, place: tuple[int, int]) -> None:
    cell = Cell(CellClass.PLATELET, 0.9, 0.0, *place, np.ones((1, 1), bool))
    width, height = round(300 * scale), round(200 * scale)
    stored = stored_mask(cell, (scale, scale), width, height)
    assert stored.mask.any()
    assert 0 <= stored.x <= width - stored.mask.shape[1]
    assert 0 <= stored.y <= height - stored.mask.shape[0]


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.integers(0, 5), st.integers(0, 5))
def test_masks_are_encoded_as_pycocotools_encodes_them(mask: NDArray[np.bool_], x: int, y: int) -> None:
    mask[0, 0] = True
    stored = StoredMask(x, y, mask)
    expected = coco_mask.encode(np.asfortranarray(whole(stored, 14, 14).astype(np.uint8)))
    encoded = encode_mask(stored, 14, 14)
    assert encoded["counts"].encode() == expected["counts"]
    assert encoded["size"] == expected["size"]
