"""`sphero model train`: from labelled smears to a bundle."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated

import typer

from flows.errors import SettingsError


def train(
    run: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The recipe; see deploy/training/first.yaml.")],
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    coco: Annotated[Path, typer.Option(help="COCO annotations; each image entry names its 'patient'.")],
    out: Annotated[Path, typer.Option(help="Working folder: checkpoints, logs, predictions of the inner folds.")],
    point_images: Annotated[
        Path | None, typer.Option(help="Folder of the images of a second data set, labelled with points.")
    ] = None,
    points: Annotated[
        Path | None, typer.Option(help="Folder of its label files, a line `x y class` for each cell.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Where the bundle goes; OUT/bundle by default.")] = None,
) -> None:
    """Train a network on the patients that RUN.yaml names, choose its thresholds by inner folds, export it as a bundle.

    It takes hours on a processor; started again with the same OUT, it goes on from the last checkpoint. `tensorboard --logdir OUT`
    shows the losses.
    """
    if (point_images is None) != (points is None):
        raise typer.BadParameter("give both or neither", param_hint="--point-images and --points")
    if importlib.util.find_spec("official") is None:
        raise SettingsError("training needs the extra 'train', which is not installed; `make setup` installs it")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from flows.cli.progress import shown
    from sphero_core.datasets.coco import read_coco
    from sphero_core.datasets.points import grow_labels, read_pointed
    from sphero_core.training.config import read_run
    from sphero_core.training.fit import fit

    recipe, labelled = read_run(run), read_coco(images, coco)
    grown = []
    if point_images is not None and points is not None:
        pointed = read_pointed(point_images, points)
        with shown("growing masks from points", len(pointed)) as bar:
            for image in pointed:
                grown.append(grow_labels(image))
                bar.advance()
    digest = fit(recipe, labelled, grown, out, bundle or out / "bundle")
    print(f"{bundle or out / 'bundle'}: SHA-256 {digest}")
