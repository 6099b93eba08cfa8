"""`sphero model robustness`: how far the figures fall on degraded pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.analyze import PixelAspect
from flows.cli.model import BundleOption, bundle_of, quiet_tensorflow


def robustness(
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the images.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for robustness.json and robustness.md.")],
    coco: Annotated[Path | None, typer.Option(metavar="FILE", help="COCO file of boxes or masks.")] = None,
    points: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of label files, a line `x y class` for each cell.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only images of this 'patient' of the COCO file; repeatable."),
    ] = None,
    level: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this way to degrade; repeatable. All by default.")
    ] = None,
    pixel_aspect: PixelAspect = 1.0,
    bundle: BundleOption = None,
) -> None:
    """Evaluate a model on a labelled set at every level of stain, blur, JPEG, size, turn, white balance and camera; prints the table."""
    if (coco is None) == (points is None):
        raise typer.BadParameter("give one of the two", param_hint="--coco or --points")
    from flows.cli.progress import shown
    from sphero_core.bundle import load_bundle, resolve_bundle
    from sphero_core.datasets.coco import read_coco
    from sphero_core.detector import load_detector
    from sphero_core.evaluation.degrade import LEVELS
    from sphero_core.evaluation.robustness import robustness_labelled, robustness_pointed, robustness_text
    from sphero_core.evaluation.run import Run, read_point_folder

    names = [each.name for each in LEVELS]
    if unknown := set(level or ()) - set(names):
        raise typer.BadParameter(f"no {', '.join(sorted(unknown))}; there are {', '.join(names)}", param_hint="--level")
    # The first is always there: it is what the others are compared with.
    levels = [each for place, each in enumerate(LEVELS) if not level or place == 0 or each.name in level]
    loaded = load_bundle(resolve_bundle(bundle_of(bundle)))
    quiet_tensorflow()
    run = Run(load_detector(loaded), pixel_aspect)
    with shown("degrading", None) as bar:
        if coco is not None:
            labels = [label for label in read_coco(images, coco) if not group or label.group in group]
            document = robustness_labelled(run, labels, levels, tell=bar.say)
        else:
            document = robustness_pointed(run, read_point_folder(images, points or images), levels, tell=bar.say)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    (out / "robustness.json").write_text(text, encoding="utf-8")
    (out / "robustness.md").write_text(robustness_text(document), encoding="utf-8")
    print(robustness_text(document), end="")
