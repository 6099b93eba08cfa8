"""`sphero model crossval`: patients left out in turn, and the report of it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.errors import SettingsError


def crossval(
    run: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The recipe; its groups are left out in turn.")],
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    coco: Annotated[Path, typer.Option(help="COCO annotations; each image entry names its 'patient'.")],
    out: Annotated[Path, typer.Option(help="Working folder: networks, choices, bundles of the folds, the report.")],
    point_images: Annotated[
        Path | None, typer.Option(help="Folder of the images of a second data set, labelled with points.")
    ] = None,
    points: Annotated[
        Path | None, typer.Option(help="Folder of its label files, a line `x y class` for each cell.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="GROUP", help="Only this fold; repeatable.")] = None,
    final: Annotated[
        bool,
        typer.Option("--final", help="Then train on all patients and export OUT/bundle; its card: sphero model card."),
    ] = False,
) -> None:
    """Leave one patient out after the other, and write a report of what is found in it.

    Thresholds, stopping, judge and calibration of a fold come from the other patients, by networks that leave out two. It takes many hours on a
    processor; started again with the same OUT, it goes on where it was. The report is written after each fold.
    """
    if (point_images is None) != (points is None):
        raise typer.BadParameter("give both or neither", param_hint="--point-images and --points")
    if only and final:
        raise typer.BadParameter("the last network chooses on all folds", param_hint="--only and --final")
    if importlib.util.find_spec("official") is None:
        raise SettingsError("training needs the extra 'train', which is not installed; `make setup` installs it")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from flows.cli.progress import shown
    from sphero_core.datasets.coco import read_coco
    from sphero_core.datasets.points import grow_labels, read_pointed
    from sphero_core.training.config import read_run
    from sphero_core.training.crossval import prepare
    from sphero_core.training.fit import is_reported
    from sphero_core.training.report_files import run_all

    recipe, labelled = read_run(run), read_coco(images, coco)
    pointed = read_pointed(point_images, points) if point_images is not None and points is not None else []
    reported = [image for image in pointed if is_reported(recipe, image.group)]
    grown = []
    with shown("growing masks from points", len(pointed) - len(reported)) as bar:
        for image in pointed:
            if not is_reported(recipe, image.group):
                grown.append(grow_labels(image))
                bar.advance()
    work = prepare(recipe, labelled, grown, reported, out, tell=lambda line: print(line, file=sys.stderr, flush=True))
    for written in run_all(work, only or (), final=final):
        print(written)
