"""The same field tells the same: analysed smaller because its cells are large, as PNG, DICOM or JPEG, turned or mirrored."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sphero_core import case
from sphero_core.analysis import analyse_field
from sphero_core.bundle import load_bundle, shipped_bundle
from sphero_core.case import FieldSource, analyse_source
from sphero_core.detector import Detector, load_detector
from sphero_core.exports import FieldRecord, cells_csv
from sphero_core.image import read_image
from sphero_core.render import draw_overlay
from sphero_core.synthetic import SyntheticField, draw_smear, random_style
from sphero_core.types import FieldFindings, FieldImage
from tests.invariance import AS_DICOM, AS_JPEG, AS_PNG, TURNED, Counted, count_ways, drawn, missed

DIAMETER = 280.0
SAME = {
    "width": 0.01,
    "height": 0.01,
    "area_px2": 0.01,
    "equivalent_diameter_px": 0.005,
    "perimeter_px": 0.01,
} | dict.fromkeys(("area_um2", "perimeter_um", "circularity_ratio", "axis_ratio", "solidity_ratio"), 0.01)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(load_bundle(shipped_bundle()))


@pytest.fixture(scope="module")
def smear() -> SyntheticField:
    rng = np.random.default_rng(11)
    return draw_smear(random_style(rng, width=1600, height=1200, cell_diameter_px=DIAMETER), rng)


@pytest.fixture(scope="module")
def source(smear: SyntheticField, tmp_path_factory: pytest.TempPathFactory) -> FieldSource:
    path = tmp_path_factory.mktemp("smear") / "field.jpg"
    cv2.imwrite(str(path), smear.pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return FieldSource(path, "field.jpg")


def rows(image: FieldImage, findings: FieldFindings) -> list[list[str]]:
    record = FieldRecord("field.jpg", "0" * 64, image.stored_width, image.stored_height, 0.05, findings)
    return [line.split(",") for line in cells_csv([record]).splitlines()]


def test_counts_places_and_measures_are_those_of_the_whole_field(
    detector: Detector, source: FieldSource, smear: SyntheticField, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, findings = analyse_source(detector, source, DIAMETER)
    monkeypatch.setattr(case, "reduction_for", lambda *_: 1)
    whole_image, whole = analyse_source(detector, source, DIAMETER)

    assert (image.reduction, whole_image.reduction) == (2, 1)
    assert findings.cell_diameter_px == whole.cell_diameter_px == DIAMETER
    drawn = sum(cell.cell_class.is_red_cell for cell in smear.cells)
    for found in (findings, whole):
        assert abs(sum(cell.cell_class.is_red_cell for cell in found.cells) - drawn) <= 1
    columns, *small = rows(image, findings)
    _, *large = rows(whole_image, whole)
    pairs = [(mine, min(large, key=lambda other: _apart(mine, other))) for mine in small]
    pairs = [(mine, other) for mine, other in pairs if _apart(mine, other) < 0.1 * DIAMETER]
    assert len(pairs) >= len(small) - 1
    for name, usual in SAME.items():
        place = columns.index(name)
        ratios = [float(mine[place]) / float(other[place]) for mine, other in pairs]
        assert np.median(ratios) == pytest.approx(1.0, abs=usual), name


def _apart(mine: list[str], other: list[str]) -> float:
    """Pixels between the corners of two cells' boxes in the stored picture."""
    return float(np.hypot(float(mine[5]) - float(other[5]), float(mine[6]) - float(other[6])))


def test_the_overlay_of_the_whole_picture_is_that_of_the_smaller_one(detector: Detector, source: FieldSource) -> None:
    image, findings = analyse_source(detector, source, DIAMETER)
    whole = read_image(source.path)
    small, large = (draw_overlay(each, findings, um_per_pixel=0.05).astype(int) for each in (image, whole))
    assert small.shape == large.shape
    assert np.abs(small - large).mean() < 2


def test_a_field_gives_the_same_counts_as_dicom_turned_and_mirrored(detector: Detector) -> None:
    counted = count_ways(detector, drawn(0.2, 1), (AS_PNG, AS_DICOM, AS_JPEG, TURNED[0], TURNED[3]))
    base = counted[AS_PNG.name]
    assert base.spherocytes >= 3
    assert missed(counted) == []
    assert {way.name for way in (AS_DICOM, TURNED[0], TURNED[3]) if counted[way.name] != base} == set()


def test_what_is_found_in_a_turned_field_lies_where_it_lay(detector: Detector) -> None:
    [pixels] = drawn(0.2, 1)
    first, second = (analyse_field(detector, field_of(each), 60.0) for each in (pixels, np.rot90(pixels)))
    assert len(first.cells) > 20
    assert np.array_equal(np.rot90(labels(first)), labels(second))


def field_of(pixels: NDArray[np.uint8]) -> FieldImage:
    return FieldImage(np.ascontiguousarray(pixels), pixels.shape[1], pixels.shape[0])


def labels(findings: FieldFindings) -> NDArray[np.float64]:
    """The score of the cell that each pixel belongs to."""
    drawn_cells = np.zeros((findings.height, findings.width))
    for cell in sorted(findings.cells, key=lambda each: each.score):
        x, y, width, height = cell.box
        drawn_cells[y : y + height, x : x + width][cell.mask] = cell.score
    return drawn_cells


def test_each_bar_of_invariance_can_be_missed() -> None:
    base, other = Counted(((100, 20), (100, 20))), Counted(((100, 20), (103, 16)))
    ways = (AS_DICOM, AS_JPEG, TURNED[0])
    assert missed({AS_PNG.name: base} | {way.name: base for way in ways}) == []
    assert missed({AS_PNG.name: base} | {way.name: other for way in ways}) == [way.name for way in ways]
