"""Degraded pictures: the levels do what they say, and labels stay on their cells."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sphero_core.datasets.coco import LabelledImage
from sphero_core.evaluation.degrade import LEVELS, Level, clear_smear, degrade_labels, degrade_pixels, degrade_points
from sphero_core.evaluation.points import LabelledPoints
from sphero_core.evaluation.robustness import (
    OF_BOXES,
    OF_POINTS,
    robustness_labelled,
    robustness_pointed,
    robustness_text,
)
from sphero_core.evaluation.run import PointImage, Run
from sphero_core.types import CellClass
from tests.unit.test_evaluation_run import ASPECT, CENTRES, DETECTOR, labelled, write_field

BY_NAME = {level.name: level for level in LEVELS}
BACKGROUND = (205, 200, 210)


def field_with_ellipse(centre: tuple[float, float], axes: tuple[float, float]) -> NDArray[np.uint8]:
    pixels = np.full((120, 200, 3), BACKGROUND, np.uint8)
    y, x = np.mgrid[0:120, 0:200] + 0.5
    pixels[((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 <= 1] = (150, 90, 120)
    return pixels


def of_box(x: float, y: float, w: float, h: float) -> LabelledImage:
    corners = np.array([(x, y), (x + w, y), (x + w, y + h)])
    return LabelledImage(
        Path("1.png"), "1.png", "a", 200, 240, np.array([(x, y, w, h)]), (CellClass.RBC,), ((corners,),), (corners,)
    )


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_boxes_and_points_stay_on_their_cell(level: object) -> None:
    """The image was stored twice as high as it is in true proportion."""
    which = next(each for each in LEVELS if each is level)
    pixels, matrix = degrade_pixels(field_with_ellipse((60, 40), (20, 14)), which)
    size = (pixels.shape[1], pixels.shape[0])
    label = degrade_labels(of_box(40, 52, 40, 56), matrix, size, (1.0, 2.0))
    dark = pixels[:, :, 1] < 0.75 * clear_smear(pixels)[1]
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    seen = np.array([columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1])
    assert label.boxes[0] == pytest.approx(seen, abs=3.0)
    assert (label.width, label.height) == size
    points = degrade_points(LabelledPoints(np.array([[60.0, 80.0]]), (CellClass.RBC,)), matrix, (1.0, 2.0))
    x, y = points.places[0]
    assert (x, y) == pytest.approx((seen[0] + seen[2] / 2, seen[1] + seen[3] / 2), abs=1.5)
    assert label.polygons[0][0].shape == label.ignored[0].shape == (3, 2)


def test_a_quarter_turn_moves_the_upper_right_corner_to_the_upper_left() -> None:
    pixels = np.full((40, 60, 3), 200, np.uint8)
    pixels[2:6, 52:56] = 50
    turned, _ = degrade_pixels(pixels, BY_NAME["quarter-turn"])
    assert turned.shape == (60, 40, 3)
    rows, columns = np.nonzero(turned[:, :, 0] < 100)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 7, 2, 5)


def test_a_free_turn_keeps_the_whole_field_on_the_colour_of_the_smear() -> None:
    turned, _ = degrade_pixels(field_with_ellipse((100, 60), (30, 30)), BY_NAME["free-turn"])
    assert turned.shape[0] > 120
    assert turned.shape[1] > 200
    assert turned[0, 0].tolist() == list(BACKGROUND)
    before = np.count_nonzero(field_with_ellipse((100, 60), (30, 30))[:, :, 1] < 150)
    assert np.count_nonzero(turned[:, :, 1] < 150) == pytest.approx(before, rel=0.02)


def test_stain_changes_the_cells_and_not_the_clear_smear() -> None:
    pixels = field_with_ellipse((100, 60), (30, 30))
    paler, _ = degrade_pixels(pixels, BY_NAME["stain-pale"])
    assert paler[0, 0].tolist() == list(BACKGROUND)
    density = [np.log(200 / image[60, 100, 1].astype(float)) for image in (pixels, paler)]
    assert density[1] / density[0] == pytest.approx(0.7, abs=0.01)


def test_the_other_levels_do_what_they_say() -> None:
    rng = np.random.default_rng(1)
    pixels = np.clip(field_with_ellipse((100, 60), (30, 30)) + rng.normal(0, 8, (120, 200, 3)), 0, 255).astype(np.uint8)

    def roughness(name: str) -> float:
        return float(np.abs(np.diff(degrade_pixels(pixels, BY_NAME[name])[0].astype(float), axis=1)).mean())

    assert roughness("blur-strong") < roughness("blur-slight") < roughness("as-it-is")
    assert degrade_pixels(pixels, BY_NAME["as-it-is"])[0] is pixels
    loss = [np.abs(degrade_pixels(pixels, BY_NAME[n])[0].astype(float) - pixels).mean() for n in ("jpeg-50", "jpeg-20")]
    assert 0 < loss[0] < loss[1]
    warm = degrade_pixels(pixels, BY_NAME["balance-warm"])[0].astype(float)
    assert warm[..., 2].mean() / pixels[..., 2].mean() == pytest.approx(0.86, abs=0.01)
    camera = degrade_pixels(pixels, BY_NAME["other-camera"])[0]
    assert clear_smear(camera)[2] > clear_smear(camera)[0] + 10
    assert np.array_equal(camera, degrade_pixels(pixels, BY_NAME["other-camera"])[0])


def test_the_table_of_a_labelled_set(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    classes = write_field(path)
    seconds = count()
    run = Run(DETECTOR, pixel_aspect=ASPECT, clock=lambda: float(next(seconds)))
    bleached = Level("bleached", "dark cells bleached", lambda p: np.where(p < 60, 120, p).astype(np.uint8))
    levels = [BY_NAME["as-it-is"], BY_NAME["quarter-turn"], bleached]
    told: list[str] = []
    document = robustness_labelled(run, [labelled(path, classes)], levels, tell=told.append)
    assert told == [level.text for level in levels]
    assert list(document["levels"]) == [level.name for level in levels]
    turned = document["levels"]["quarter-turn"]["figures"]
    assert set(turned) == set(OF_BOXES)
    assert turned["spherocyte F1"] == 1.0
    # The detector of these tests goes by darkness.
    assert document["levels"]["bleached"]["figures"]["spherocyte recall"] == 0.0
    text = robustness_text(document)
    assert "| turned by 90 degrees | " in text
    assert "0.000 (-1.000)" in text


def test_the_table_of_a_pointed_set(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    classes = write_field(path)
    places = np.array([(x, y * ASPECT) for x, y in CENTRES], float)
    image = PointImage(path, LabelledPoints(places, tuple(classes)))
    run = Run(DETECTOR, pixel_aspect=ASPECT)
    document = robustness_pointed(run, [image], [BY_NAME["half-size"]], tell=lambda _: None)
    figures = document["levels"]["half-size"]["figures"]
    assert set(figures) == set(OF_POINTS)
    assert figures["recall of all points"] == 1.0
    assert cv2.imread(str(path)) is not None
