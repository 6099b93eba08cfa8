"""How far each figure falls when pictures get worse: a labelled set is evaluated at every level of `degrade`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2

from sphero_core.datasets.coco import LabelledImage
from sphero_core.evaluation.degrade import LEVELS, Level, degrade_labels, degrade_pixels, degrade_points
from sphero_core.evaluation.run import PointImage, Run, evaluate_labelled, evaluate_pointed
from sphero_core.image import read_image
from sphero_core.types import FieldImage

SCHEMA = "urn:spheroflow:robustness:1"
#: What is shown of a set with boxes: name, and where it stands in the labelled-only figures of `evaluate_labelled`.
OF_BOXES: Mapping[str, tuple[str, ...]] = {
    "red cells, box AP50": ("box", "red_cells", "AP50"),
    "spherocyte AP50": ("box", "Spherocyte", "AP50"),
    "spherocyte F1": ("operating_point", "Spherocyte", "f1"),
    "spherocyte recall": ("operating_point", "Spherocyte", "recall"),
    "percentage, error in points": ("count_error", "spherocyte_percent"),
    "red-cell count error": ("count_error", "red_cells"),
}
#: The same of a set with points, in the figures of `evaluate_pointed`.
OF_POINTS: Mapping[str, tuple[str, ...]] = {
    "recall of all points": ("recall", "all"),
    "spherocyte F1": ("spherocyte", "f1"),
    "false spherocyte share": ("false_spherocyte_share",),
}


def robustness_labelled(
    run: Run, labels: Sequence[LabelledImage], levels: Sequence[Level] = LEVELS, *, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Figures of a set with boxes at each level, labelled cells only; `tell` is told of each level.

    Raises as `evaluate_labelled` does.
    """
    rows = {}
    for level in levels:
        tell(level.text)
        with TemporaryDirectory() as folder:
            degraded = []
            for number, label in enumerate(labels):
                field = read_image(label.path, pixel_aspect=run.pixel_aspect)
                path, matrix, size = _written(field, level, Path(folder) / f"{number:05d}.png")
                degraded.append(replace(degrade_labels(label, matrix, size, field.to_stored), path=path))
            figures = evaluate_labelled(replace(run, pixel_aspect=1.0), degraded)["labelled_only"]
        rows[level.name] = {"text": level.text, "figures": _picked(figures, OF_BOXES)}
    return _document(run, rows, len(labels))


def robustness_pointed(
    run: Run, images: Sequence[PointImage], levels: Sequence[Level] = LEVELS, *, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Figures of a set with points at each level; as `robustness_labelled`."""
    rows = {}
    for level in levels:
        tell(level.text)
        with TemporaryDirectory() as folder:
            degraded = []
            for number, image in enumerate(images):
                field = read_image(image.path, pixel_aspect=run.pixel_aspect)
                path, matrix, _ = _written(field, level, Path(folder) / f"{number:05d}.png")
                degraded.append(PointImage(path, degrade_points(image.points, matrix, field.to_stored)))
            figures = evaluate_pointed(replace(run, pixel_aspect=1.0), degraded)
        rows[level.name] = {"text": level.text, "figures": _picked(figures, OF_POINTS)}
    return _document(run, rows, len(images))


def robustness_text(document: Mapping[str, Any]) -> str:
    """The table as Markdown: each figure, and in brackets how far it lies from the first level's."""
    levels = document["levels"]
    first = next(iter(levels.values()))["figures"]
    lines = [f"| pictures | {' | '.join(first)} |", "| --- |" + " --- |" * len(first)]
    for place, level in enumerate(levels.values()):
        shown = []
        for name, value in level["figures"].items():
            base = first[name]
            change = "" if place == 0 or value is None or base is None else f" ({value - base:+.3f})"
            shown.append("-" if value is None else f"{value:.3f}{change}")
        lines.append(f"| {level['text']} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _written(field: FieldImage, level: Level, path: Path) -> tuple[Path, Any, tuple[int, int]]:
    pixels, matrix = degrade_pixels(field.pixels, level)
    if not cv2.imwrite(str(path), pixels[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError("the degraded picture could not be written; is the temporary folder full?")
    return path, matrix, (pixels.shape[1], pixels.shape[0])


def _picked(figures: Mapping[str, Any], wanted: Mapping[str, tuple[str, ...]]) -> dict[str, float | None]:
    picked: dict[str, float | None] = {}
    for name, path in wanted.items():
        value: Any = figures
        for key in path:
            value = value[key]
        picked[name] = value
    return picked


def _document(run: Run, rows: Mapping[str, Any], images: int) -> dict[str, Any]:
    bundle = run.detector.bundle
    told = None if bundle is None else {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256}
    return {"schema": SCHEMA, "bundle": told, "images": images, "levels": dict(rows)}
