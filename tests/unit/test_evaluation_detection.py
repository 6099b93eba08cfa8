"""Figures of detection: cases whose answer is known by hand, properties, and agreement with pycocotools' own path."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sphero_core.analysis import _decide
from sphero_core.bundle import Thresholds
from sphero_core.datasets.masks import BoxMask
from sphero_core.evaluation.average_precision import Figures, Ranked, average_precision, figures_of
from sphero_core.evaluation.bootstrap import bootstrap_interval
from sphero_core.evaluation.coco_truth import ImageTruth
from sphero_core.evaluation.detection import (
    ImageDetections,
    detections_of,
    ellipse_in_box,
    evaluate_detection,
    matches_of,
    on_unlabelled_cell,
)
from sphero_core.evaluation.matching import CLASSES, box_iou, called, mask_iou, match_one_to_one
from sphero_core.types import Cell, CellClass
from tests.unit.shapes import disc

Floats = NDArray[np.float64]
RBC, SPHEROCYTE, PLATELET, WBC = CLASSES
HALF = Thresholds(red_cell=0.5, spherocyte=0.5, platelet=0.5, wbc=0.5)
WIDTH, HEIGHT = 640, 480


def grid(count: int, side: float = 20.0, step: float = 24.0) -> Floats:
    """Boxes that do not overlap, in rows."""
    across = int(WIDTH // step)
    return np.array([[step * (i % across), step * (i // across), side, side] for i in range(count)], np.float64)


def truth(boxes: Floats, classes: list[CellClass], *, foreground: Floats | None = None) -> ImageTruth:
    """Labels; `foreground` are boxes whose inscribed ellipses are cells, by default the labelled ones."""
    cells = np.zeros((HEIGHT, WIDTH), np.bool_)
    for box in boxes if foreground is None else foreground:
        m = ellipse_in_box(box, WIDTH, HEIGHT)
        cells[m.y : m.y + m.mask.shape[0], m.x : m.x + m.mask.shape[1]] |= m.mask
    return ImageTruth(boxes, tuple(classes), cells)


def detections(boxes: Floats, probabilities: list[tuple[float, float, float, float]]) -> ImageDetections:
    return ImageDetections(boxes, np.array(probabilities, np.float64).reshape(-1, 4))


def sure(cell_class: CellClass, score: float = 0.9) -> tuple[float, float, float, float]:
    row = [0.0, 0.0, 0.0, 0.0]
    row[CLASSES.index(cell_class)] = score
    return row[0], row[1], row[2], row[3]


def test_perfect_detections_are_perfect_in_every_figure() -> None:
    classes = [RBC, RBC, SPHEROCYTE, PLATELET, WBC]
    boxes = grid(5)
    figures = evaluate_detection([truth(boxes, classes)], [detections(boxes, [sure(c) for c in classes])], HALF)
    for part in (figures, figures["labelled_only"]):
        for name in ("red_cells", *CLASSES):
            assert part["box"][name] == {"AP": 1.0, "AP50": 1.0, "AR": 1.0}
            assert part["operating_point"][name] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "threshold": 0.5}
        assert part["count_error"] == {"red_cells": 0.0, "spherocyte_percent": 0.0}
    assert figures["images"] == 1
    assert set(figures) == {"box", "operating_point", "count_error", "labelled_only", "images", "seconds_per_image"}
    json.dumps(figures, allow_nan=False)


def test_one_of_four_missed_costs_a_quarter_of_the_recall() -> None:
    boxes = grid(4)
    found = detections(boxes[:3], [sure(RBC)] * 3)
    figures = evaluate_detection([truth(boxes, [RBC] * 4)], [found], HALF)
    # Precision is 1 at the recalls 0, 0.01, ... 0.75 and 0 at the 25 beyond.
    assert figures["box"]["RBC"] == {"AP": pytest.approx(76 / 101), "AP50": pytest.approx(76 / 101), "AR": 0.75}
    assert figures["operating_point"]["RBC"]["recall"] == 0.75
    assert figures["operating_point"]["RBC"]["precision"] == 1.0
    assert figures["count_error"]["red_cells"] == 0.25


def test_a_false_detection_that_is_surest_of_all() -> None:
    boxes = grid(3)
    found = detections(boxes, [sure(RBC, 0.7), sure(RBC, 0.8), sure(RBC, 0.9)])
    figures = evaluate_detection([truth(boxes[:2], [RBC, RBC])], [found], HALF)
    # Precision 0/1, 1/2, 2/3; made monotonic it is 2/3 at every recall.
    assert figures["box"]["RBC"]["AP50"] == pytest.approx(2 / 3)
    assert figures["operating_point"]["red_cells"]["precision"] == pytest.approx(2 / 3)


def test_average_precision_counts_the_overlaps_that_are_reached() -> None:
    labelled = np.array([[0.0, 0.0, 100.0, 100.0]])
    found = np.array([[0.0, 0.0, 100.0, 92.0]])  # overlap 0.92: enough at 0.50 to 0.90, not at 0.95
    figures = evaluate_detection([truth(labelled, [RBC])], [detections(found, [sure(RBC)])], HALF)
    assert figures["box"]["RBC"] == {"AP": pytest.approx(0.9), "AP50": 1.0, "AR": pytest.approx(0.9)}


def test_crowded_fields_are_not_cut_off_at_a_hundred_detections() -> None:
    boxes = grid(390)
    figures = evaluate_detection([truth(boxes, [RBC] * 390)], [detections(boxes, [sure(RBC)] * 390)], HALF)
    assert figures["box"]["red_cells"] == {"AP": 1.0, "AP50": 1.0, "AR": 1.0}


def test_a_cell_called_rbc_still_stands_in_the_ranking_of_spherocytes() -> None:
    boxes = grid(2)
    labels = truth(boxes, [SPHEROCYTE, RBC])
    figures = evaluate_detection([labels], [detections(boxes, [(0.5, 0.4, 0, 0), (0.8, 0.1, 0, 0)])], HALF)
    assert figures["box"]["Spherocyte"]["AP50"] == 1.0
    assert figures["operating_point"]["Spherocyte"] == {"precision": None, "recall": 0.0, "f1": 0.0, "threshold": 0.5}
    assert figures["operating_point"]["RBC"]["precision"] == 0.5
    assert figures["operating_point"]["red_cells"]["f1"] == 1.0
    assert figures["count_error"] == {"red_cells": 0.0, "spherocyte_percent": 50.0}


def test_one_labelled_cell_is_found_once() -> None:
    boxes = grid(1)
    twice = np.repeat(boxes, 2, axis=0)
    figures = evaluate_detection([truth(boxes, [RBC])], [detections(twice, [sure(RBC), sure(RBC, 0.8)])], HALF)
    for part in (figures, figures["labelled_only"]):
        assert part["operating_point"]["RBC"]["precision"] == 0.5
        assert part["operating_point"]["RBC"]["recall"] == 1.0


def test_a_class_without_a_label_has_no_figure() -> None:
    boxes = grid(1)
    figures = evaluate_detection([truth(boxes, [RBC])], [detections(boxes, [sure(RBC)])], HALF)
    assert figures["box"]["WBC"] == {"AP": None, "AP50": None, "AR": None}
    assert figures["operating_point"]["WBC"]["recall"] is None
    assert figures["count_error"]["spherocyte_percent"] == 0.0


def test_nothing_found_and_nothing_labelled() -> None:
    nothing = detections(np.empty((0, 4)), [])
    missed = evaluate_detection([truth(grid(2), [RBC, RBC])], [nothing], HALF)
    assert missed["box"]["RBC"] == {"AP": 0.0, "AP50": 0.0, "AR": 0.0}
    assert missed["operating_point"]["RBC"] == {"precision": None, "recall": 0.0, "f1": 0.0, "threshold": 0.5}
    assert missed["count_error"] == {"red_cells": 1.0, "spherocyte_percent": None}
    empty = evaluate_detection([truth(np.empty((0, 4)), [])], [nothing], HALF)
    assert empty["box"]["RBC"]["AP"] is None
    assert empty["count_error"]["red_cells"] == 0.0


def test_counts_are_the_median_over_fields_and_the_share_is_pooled() -> None:
    truths, found = [], []
    for labelled, seen, spherocytes in ((10, 10, 1), (10, 8, 2), (10, 15, 0)):
        boxes = grid(15)
        truths.append(truth(boxes[:labelled], [SPHEROCYTE] + [RBC] * (labelled - 1)))
        called_so = [sure(SPHEROCYTE)] * spherocytes + [sure(RBC)] * (seen - spherocytes)
        found.append(detections(boxes[:seen], called_so))
    error = evaluate_detection(truths, found, HALF)["count_error"]
    assert error["red_cells"] == pytest.approx(0.2)  # of 0, 0.2 and 0.5
    assert error["spherocyte_percent"] == pytest.approx(abs(100 * 3 / 33 - 100 * 3 / 30))


def test_detections_on_cells_that_nobody_labelled_are_left_out() -> None:
    places = grid(5)
    labelled, unlabelled, clear = places[:2], places[2:3], places[3:4]
    labels = truth(labelled, [RBC, RBC], foreground=places[:3])
    half_on_labelled = labelled[1:] + np.array([[12.0, 0.0, 0.0, 0.0]])
    boxes = np.concatenate([labelled, labelled[:1], unlabelled, clear, half_on_labelled])
    found = detections(
        boxes, [sure(RBC), sure(RBC), sure(PLATELET, 0.8), sure(RBC, 0.99), sure(RBC, 0.6), sure(RBC, 0.55)]
    )
    assert list(on_unlabelled_cell(labels, found)) == [False, False, False, True, False, False]
    figures = evaluate_detection([labels], [found], HALF)
    assert figures["operating_point"]["RBC"]["precision"] == pytest.approx(2 / 5)
    assert figures["labelled_only"]["operating_point"]["RBC"]["precision"] == pytest.approx(2 / 4)
    assert figures["box"]["RBC"]["AP50"] == pytest.approx(2 / 3)
    assert figures["labelled_only"]["box"]["RBC"]["AP50"] == 1.0


def test_a_wrong_class_on_a_labelled_cell_stays_a_mistake() -> None:
    boxes = grid(1)
    figures = evaluate_detection([truth(boxes, [RBC])], [detections(boxes, [sure(SPHEROCYTE)])], HALF)
    assert figures["labelled_only"]["operating_point"]["Spherocyte"]["precision"] == 0.0


def masked(image: ImageDetections) -> ImageDetections:
    return replace(image, masks=tuple(ellipse_in_box(box, WIDTH, HEIGHT) for box in image.boxes))


def test_masks_are_named_after_where_they_come_from() -> None:
    boxes = grid(2)
    masks = tuple(ellipse_in_box(box, WIDTH, HEIGHT) for box in boxes)
    found = masked(detections(boxes, [sure(RBC)] * 2))
    boxes_only = truth(boxes, [RBC, RBC])
    made, drawn = replace(boxes_only, masks=masks), replace(boxes_only, masks=masks, masks_are_labelled=True)
    assert not {"mask", "mask_from_boxes"} & set(evaluate_detection([boxes_only], [found], HALF))
    figures = evaluate_detection([drawn], [found], HALF)
    assert figures["mask"]["RBC"] == figures["labelled_only"]["mask"]["RBC"] == {"AP": 1.0, "AP50": 1.0, "AR": 1.0}
    figures = evaluate_detection([made, drawn], [found, found], HALF)
    assert figures["mask_from_boxes"]["RBC"]["AP"] == 1.0
    assert "mask" not in figures


def test_masks_are_compared_as_masks() -> None:
    boxes = grid(1, side=40.0)
    whole = BoxMask(0, 0, np.ones((40, 40), np.bool_))
    half = BoxMask(0, 0, np.ones((40, 24), np.bool_))  # overlap 0.6 though the box says 1
    labels = replace(truth(boxes, [RBC]), masks=(whole,), masks_are_labelled=True)
    found = replace(detections(boxes, [sure(RBC)]), masks=(half,))
    figures = evaluate_detection([labels], [found], HALF)
    assert figures["box"]["RBC"]["AP"] == 1.0
    assert figures["mask"]["RBC"]["AP"] == pytest.approx(0.3)  # at 0.50, 0.55 and 0.60
    assert figures["mask"]["RBC"]["AP50"] == 1.0


def test_cells_become_detections_with_the_probability_of_both_red_classes() -> None:
    cells = [
        Cell(RBC, 0.6, 0.9, 5, 7, disc(20)),
        Cell(SPHEROCYTE, 0.7, 0.75, 50, 7, disc(20)),
        Cell(PLATELET, 0.8, 0.1, 90, 7, disc(6)),
    ]
    found = detections_of(cells)
    expected = [[0.6, 0.3, 0, 0], [0.05, 0.7, 0, 0], [0, 0, 0.8, 0]]
    assert found.probabilities == pytest.approx(np.array(expected))
    assert found.boxes.tolist() == [list(cell.box) for cell in cells]
    assert detections_of([]).boxes.shape == (0, 4)


def test_as_many_images_as_labels() -> None:
    with pytest.raises(ValueError, match="1 labelled images and 0 analysed"):
        evaluate_detection([truth(grid(1), [RBC])], [], HALF)


boxes_of = arrays.arrays(
    np.float64, st.tuples(st.integers(0, 12), st.just(4)), elements=st.floats(1, 60, allow_nan=False, width=32)
)


@settings(max_examples=30, deadline=None)
@given(found=st.lists(boxes_of, min_size=1, max_size=3), seed=st.integers(0, 2**16))
def test_the_figures_are_those_of_pycocotools(found: list[Floats], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labelled = [boxes[rng.random(len(boxes)) < 0.6] + rng.normal(0, 2, 4) * [1, 1, 0, 0] for boxes in found]
    images = [Ranked(rng.permutation(len(b)) / 100 + 0.1, box_iou(b, t)) for b, t in zip(found, labelled, strict=True)]
    figures, matches = average_precision(images)
    assert astuple(figures) == pytest.approx(astuple(peer_figures(found, labelled, images)))
    assert astuple(figures_of(matches)) == pytest.approx(astuple(figures))


def peer_figures(found: list[Floats], labelled: list[Floats], images: list[Ranked]) -> Figures:
    """The way its manual shows, through `loadRes`, boxes and all."""
    objects = [_object(i, box) for i, boxes in enumerate(labelled, 1) for box in boxes]
    results = [
        {**_object(i, box), "score": float(score)}
        for i, (boxes, image) in enumerate(zip(found, images, strict=True), 1)
        for box, score in zip(boxes, image.scores, strict=True)
    ]
    if not objects or not results:
        figure = 0.0 if objects else None
        return Figures(figure, figure, figure)
    create: Any = COCO
    peer = create()
    peer.dataset = {
        "info": {},
        "images": [{"id": i + 1} for i in range(len(found))],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [{**o, "id": n, "iscrowd": 0} for n, o in enumerate(objects, 1)],
    }
    peer.createIndex()
    evaluate: Any = COCOeval
    evaluation = evaluate(peer, peer.loadRes(results), "bbox")
    evaluation.params.maxDets = [400]
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][:, :, 0, 0, 0], evaluation.eval["recall"][:, 0, 0, 0]
    return Figures(float(precision.mean()), float(precision[0].mean()), float(recall.mean()))


def _object(image: int, box: Floats) -> dict[str, object]:
    return {"image_id": image, "category_id": 1, "bbox": box.tolist(), "area": float(box[2] * box[3])}


@settings(max_examples=40, deadline=None)
@given(dropped=st.sets(st.integers(0, 29)), seed=st.integers(0, 2**16))
def test_each_cell_dropped_costs_its_share_of_the_recall_and_no_precision(dropped: set[int], seed: int) -> None:
    boxes = grid(30)
    scores = 0.5 + np.random.default_rng(seed).random(30) / 2
    kept = [i for i in range(30) if i not in dropped]
    found = detections(boxes[kept], [sure(RBC, float(scores[i])) for i in kept])
    point = evaluate_detection([truth(boxes, [RBC] * 30)], [found], HALF)["operating_point"]["red_cells"]
    assert point["recall"] == pytest.approx(len(kept) / 30)
    assert point["precision"] == (1.0 if kept else None)


def test_the_call_is_the_one_that_the_analysis_makes() -> None:
    rng = np.random.default_rng(4)
    thresholds = Thresholds(red_cell=0.45, spherocyte=0.35, platelet=0.5, wbc=0.6)
    probabilities = rng.dirichlet([1, 1, 1, 1], 2000) * rng.random((2000, 1)) ** 0.3
    for row, index in zip(probabilities, called(probabilities, thresholds), strict=True):
        decision = _decide((float(row[0]), float(row[1]), float(row[2]), float(row[3])), thresholds)
        assert (None if index < 0 else CLASSES[int(index)]) == (decision and decision[0])


def test_overlap_of_masks_is_that_of_run_lengths() -> None:
    rng = np.random.default_rng(6)
    masks = [BoxMask(int(x), int(y), disc(float(d))) for x, y, d in zip(*rng.integers(5, 40, (3, 12)), strict=True)]
    encoded = []
    for m in masks:
        full = np.zeros((100, 100), np.uint8, order="F")
        full[m.y : m.y + m.mask.shape[0], m.x : m.x + m.mask.shape[1]] = m.mask
        encoded.append(rle.encode(full))
    assert mask_iou(masks[:5], masks[5:]) == pytest.approx(rle.iou(encoded[:5], encoded[5:], [0] * 7))


def test_the_surest_detection_chooses_first() -> None:
    overlap = np.array([[0.6, 0.9], [0.7, 0.8], [0.9, 0.4]])
    assert match_one_to_one(np.array([0.5, 0.9, 0.1]), overlap).tolist() == [0, 1, -1]


def test_intervals_come_from_fields_drawn_again() -> None:
    values = list(np.random.default_rng(0).normal(10, 2, 100))
    interval = bootstrap_interval(lambda chosen: float(np.mean(chosen)), values, seed=1)
    assert interval == bootstrap_interval(lambda chosen: float(np.mean(chosen)), values, seed=1)
    assert interval is not None
    centre, spread = float(np.mean(values)), float(np.std(values)) / 10
    assert interval == pytest.approx((centre - 1.96 * spread, centre + 1.96 * spread), abs=0.08)
    assert bootstrap_interval(lambda _: 0.5, values, seed=1) == (0.5, 0.5)
    assert bootstrap_interval(lambda _: None, values, seed=1) is None
    assert bootstrap_interval(lambda _: 1.0, [], seed=1) is None
    with pytest.raises(ValueError, match="no probability"):
        bootstrap_interval(lambda _: 1.0, values, seed=1, confidence=95)


def test_figures_have_intervals_over_fields() -> None:
    boxes = grid(10)
    truths = [truth(boxes, [RBC] * 10)] * 8
    found = [detections(boxes[: 10 - i % 3], [sure(RBC)] * (10 - i % 3)) for i in range(8)]
    matches = matches_of("red_cells", truths, found)
    exact = evaluate_detection(truths, found, HALF)["box"]["red_cells"]["AP50"]
    interval = bootstrap_interval(lambda chosen: figures_of(chosen).ap50, matches, seed=2, repetitions=300)
    assert interval is not None
    assert figures_of(matches).ap50 == pytest.approx(exact)
    assert 0.8 <= interval[0] < exact < interval[1] <= 1.0
