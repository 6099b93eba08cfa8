"""`sphero evaluate`: figures against labelled images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.analyze import PixelAspect
from flows.cli.model import BundleOption, bundle_of, quiet_tensorflow
from flows.cli.output import print_json


def evaluate(
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the images.", exists=True, file_okay=False)],
    coco: Annotated[Path | None, typer.Option(metavar="FILE", help="COCO file of boxes or masks.")] = None,
    points: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of label files, a line `x y class` for each cell.")
    ] = None,
    point_classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON that says which class each label of a point stands for.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only images of this 'patient' of the COCO file; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the figures there too.")] = None,
    pixel_aspect: PixelAspect = 1.0,
    bundle: BundleOption = None,
) -> None:
    """Measure the model against COCO ground truth or labelled points; prints the figures as JSON."""
    if (coco is None) == (points is None):
        raise typer.BadParameter("give one of the two", param_hint="--coco or --points")
    if group and coco is None:
        raise typer.BadParameter("labelled points name no groups", param_hint="--group")
    figures = _figures(images, coco, points, point_classes, pixel_aspect, bundle, frozenset(group or ()))
    if out is not None:
        out.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print_json(figures)


def _figures(
    images: Path,
    coco: Path | None,
    points: Path | None,
    point_classes: Path | None,
    pixel_aspect: float,
    bundle: str | None,
    groups: frozenset[str],
) -> dict[str, Any]:
    from flows.cli.progress import shown
    from sphero_core.bundle import load_bundle, resolve_bundle
    from sphero_core.datasets.coco import read_coco
    from sphero_core.detector import load_detector
    from sphero_core.evaluation.points import CHULA_CLASSES, read_point_classes
    from sphero_core.evaluation.run import Run, evaluate_labelled, evaluate_pointed, read_point_folder

    loaded = load_bundle(resolve_bundle(bundle_of(bundle)))
    quiet_tensorflow()
    with shown("evaluating", None):
        if coco is not None:
            labels = [label for label in read_coco(images, coco) if not groups or label.group in groups]
            return evaluate_labelled(Run(load_detector(loaded), pixel_aspect), labels)
        classes = read_point_classes(point_classes) if point_classes else CHULA_CLASSES
        pointed = read_point_folder(images, points or images, classes)
        return evaluate_pointed(Run(load_detector(loaded), pixel_aspect), pointed)
