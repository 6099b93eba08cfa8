"""Average precision as COCO defines it, for one class, from scores and overlaps.

pycocotools does the matching and the sums; `COCOeval.summarize` is not used, since it assumes 100 detections an image. The
figures are read from ``eval['precision']`` and ``eval['recall']``.

Source: https://cocodataset.org/#detection-eval and pycocotools/cocoeval.py.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

#: Detections of a class that are looked at in one image.
MAX_DETECTIONS = 400
#: COCO's overlaps: 0.50, 0.55, ... 0.95.
OVERLAPS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """What was found of one class in one image.

    Attributes
    ----------
    scores : ndarray of float, shape (n,)
        The class's own score of each detection.
    overlap : ndarray of float, shape (n, m)
        Intersection over union with each labelled cell of the class.
    """

    scores: NDArray[np.float64]
    overlap: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """Average precision over the overlaps 0.50 to 0.95 and at 0.50, and average recall; None without a labelled cell."""

    ap: float | None
    ap50: float | None
    ar: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """One image's detections, best first, once they are matched; what a resampling of images needs.

    Attributes
    ----------
    scores : ndarray of float, shape (n,)
    hits : ndarray of bool, shape (10, n)
        At each of `OVERLAPS`, whether the detection took a labelled cell.
    labelled : int
        Labelled cells in the image.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    labelled: int


def average_precision(images: Sequence[Ranked]) -> tuple[Figures, tuple[Matches, ...]]:
    """COCO's figures for one class, and the matches they rest on.

    Parameters
    ----------
    images : sequence of Ranked

    Returns
    -------
    Figures
    tuple of Matches
        One for each image, in order.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress on stdout
        evaluation = COCOeval(_labelled(images), _found(images), "bbox")
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.params.areaRng = [[0.0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        # Overlaps are known already, of boxes or of masks; COCOeval asks for them best score first.
        evaluation.computeIoU = lambda image, _category: _best_first(images[image - 1])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"], np.float64)[:, :, 0, 0, 0]
    recall = np.asarray(evaluation.eval["recall"], np.float64)[:, 0, 0, 0]
    if precision.min() < 0:  # COCOeval's sign for a class that no image holds
        figures = Figures(None, None, None)
    else:
        # COCOeval adds an epsilon to each denominator; rounding takes it away.
        figures = Figures(*(round(float(values.mean()), 9) for values in (precision, precision[0], recall)))
    by_image = {entry["image_id"]: entry for entry in evaluation.evalImgs if entry is not None}
    return figures, tuple(_matches(by_image.get(index + 1), image) for index, image in enumerate(images))


def figures_of(matches: Sequence[Matches]) -> Figures:
    """The same figures from matches, for any selection of images; images may stand in it more than once."""
    labelled = sum(image.labelled for image in matches)
    if labelled == 0:
        return Figures(None, None, None)
    precision, found = _curves(matches, labelled)
    mean = precision.mean(axis=1)
    return Figures(float(np.mean(mean)), float(mean[0]), float(np.mean(found)))


def precision_at_recalls(matches: Sequence[Matches]) -> NDArray[np.float64]:
    """Interpolated precision at IoU 0.50 at the recalls 0, 0.01, ... 1: shape (101,); all NaN without a labelled cell."""
    labelled = sum(image.labelled for image in matches)
    return _curves(matches, labelled)[0][0] if labelled else np.full(len(_RECALLS), np.nan)


def _curves(matches: Sequence[Matches], labelled: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision by overlap and recall, shape (10, 101), and the largest recall by overlap."""
    order = np.argsort(-np.concatenate([image.scores for image in matches]), kind="mergesort")
    hits = np.concatenate([image.hits for image in matches], axis=1)[:, order]
    true = np.cumsum(hits, axis=1)
    precision = true / np.maximum(np.arange(1, hits.shape[1] + 1), 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    lines = [
        np.append(line, 0.0)[np.searchsorted(seen / labelled, _RECALLS, side="left")]
        for line, seen in zip(envelope, true, strict=True)
    ]
    found = true[:, -1] / labelled if hits.shape[1] else np.zeros(len(OVERLAPS))
    return np.array(lines), found


def _labelled(images: Sequence[Ranked]) -> COCO:
    places: list[tuple[int, dict[str, float]]] = [
        (image_id, {}) for image_id, image in enumerate(images, 1) for _ in range(image.overlap.shape[1])
    ]
    return _data_set(len(images), places)


def _found(images: Sequence[Ranked]) -> COCO:
    places = [(image_id, {"score": float(s)}) for image_id, image in enumerate(images, 1) for s in image.scores]
    return _data_set(len(images), places)


def _data_set(images: int, objects: Sequence[tuple[int, dict[str, float]]]) -> COCO:
    """A COCO data set of one class; its boxes are place-holders, since overlaps are given."""
    place_holder = {"category_id": 1, "bbox": [0.0, 0.0, 1.0, 1.0], "area": 1.0, "iscrowd": 0}
    data_set = COCO()
    data_set.dataset = {
        "images": [{"id": image_id} for image_id in range(1, images + 1)],
        "categories": [{"id": 1, "name": "class"}],
        "annotations": [
            {"id": number, "image_id": image_id, **place_holder, **extra}
            for number, (image_id, extra) in enumerate(objects, 1)
        ],
    }
    data_set.createIndex()
    return data_set


def _best_first(image: Ranked) -> NDArray[np.float64] | list[float]:
    if image.overlap.size == 0:
        return []
    order = np.argsort(-image.scores, kind="mergesort")[:MAX_DETECTIONS]
    return image.overlap[order]


def _matches(entry: dict[str, Any] | None, image: Ranked) -> Matches:
    labelled = image.overlap.shape[1]
    if entry is None:
        return Matches(np.empty(0), np.empty((len(OVERLAPS), 0), bool), labelled)
    return Matches(
        scores=np.asarray(entry["dtScores"], np.float64),
        hits=np.asarray(entry["dtMatches"], np.float64).reshape(len(OVERLAPS), -1) > 0,
        labelled=labelled,
    )
