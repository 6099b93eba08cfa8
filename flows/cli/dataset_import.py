"""`sphero dataset import` and `sphero dataset synthesize`: where data sets come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.analyze import PixelAspect
from flows.cli.dataset import SPLIT, print_dataset
from flows.cli.output import AsJson

if TYPE_CHECKING:
    from sphero_core.datasets.importing import Grouping, Imported
    from sphero_core.datasets.layout import Dataset
    from sphero_core.datasets.problems import Problem


def import_labels(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the data set; made if missing.")],
    roboflow: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Unpacked Roboflow export (format COCO).", exists=True, file_okay=False),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the images.", exists=True, file_okay=False)
    ] = None,
    coco: Annotated[Path | None, typer.Option(metavar="FILE", help="COCO file of boxes or masks.", exists=True)] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of label files, a line `x y class` a cell.", exists=True, file_okay=False
        ),
    ] = None,
    point_classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON that says which class each label of a point stands for.")
    ] = None,
    group_by: Annotated[
        str,
        typer.Option(metavar="HOW", help="What must never be split: auto, patient, block (of ten numbers) or image."),
    ] = "auto",
    group_pattern: Annotated[
        str, typer.Option(metavar="REGEX", help="Finds the group in a file's name, e.g. 'patient_(\\d+)'.")
    ] = "",
    pixel_aspect: PixelAspect = 1.0,
    name: Annotated[str, typer.Option(help="Name of the data set; that of the folder by default.")] = "",
    licence: Annotated[str, typer.Option(help="Under which licence the data may be used.")] = "",
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images; else they stay where they are.")] = False,
    look_at: Annotated[
        int, typer.Option(min=0, help="Images that are segmented to find stretch and missing labels.")
    ] = 40,
    as_json: AsJson = False,
) -> None:
    """Import COCO or Roboflow exports, or labelled cell centres; says what is wrong with them.

    Writes DIR/annotations.json. Files with the same bytes become one image; where their labels contradict each other on a cell, that
    cell is ignored.
    """
    from flows.cli.progress import shown
    from sphero_core.datasets.layout import Dataset, write_dataset
    from sphero_core.datasets.problems import problems_of_labels

    sources = [source for source in (roboflow, coco, points) if source is not None]
    if len(sources) != 1 or (roboflow is None) == (images is None):
        raise typer.BadParameter(
            "give --roboflow DIR, or --images DIR with one of the two", param_hint="--coco or --points"
        )
    with shown("reading the labels", None) as progress:
        imported = _imported(roboflow, images, coco, points, point_classes, _grouping(group_by, group_pattern))
        dataset = Dataset(name or out.resolve().name, licence, pixel_aspect, imported.images)
        progress.say("looking at the images")
    problems = [*imported.problems, *problems_of_labels(dataset.images), *_looked_at(dataset, look_at)]
    root = _copied(dataset, out) if copy else imported.root
    write_dataset(out, dataset, root)
    for stale in ("masks.json", SPLIT):
        (out / stale).unlink(missing_ok=True)
    print_dataset(dataset, problems, as_json=as_json)
    if not as_json:
        print(f"written to {out / 'annotations.json'}; next: sphero dataset masks {out}")


def synthesize(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the data set; made if missing.")],
    smears: Annotated[int, typer.Option(min=1, help="How many smears; each is a group.")] = 5,
    fields: Annotated[int, typer.Option(min=1, help="Fields of each smear.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same files.")] = 1,
    spherocyte_share: Annotated[
        float | None, typer.Option(min=0.0, max=0.6, help="Of the red cells; drawn for each smear by default.")
    ] = None,
    overlap: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of the red cells that touch or overlap another.")
    ] = None,
    cell_diameter: Annotated[
        float | None, typer.Option(min=16.0, max=400.0, help="Of the median red cell, in pixels.")
    ] = None,
    width: Annotated[int, typer.Option(min=160, max=4000, help="Of a field, in pixels.")] = 640,
    height: Annotated[int, typer.Option(min=120, max=3000, help="Of a field, in pixels.")] = 480,
    as_json: AsJson = False,
) -> None:
    """Draw artificial smears whose every cell is known: a data set with exact masks, overlaps included."""
    from flows.cli.progress import shown
    from sphero_core.datasets.drawing import Drawing, draw_dataset
    from sphero_core.datasets.layout import read_dataset

    asked = {"spherocyte_share": spherocyte_share, "overlap": overlap, "cell_diameter_px": cell_diameter}
    fixed = {name: value for name, value in asked.items() if value is not None}
    if spherocyte_share is not None:
        fixed["odd_share"] = min(0.2, 1 - spherocyte_share)
    drawing = Drawing(smears, fields, seed, {"width": width, "height": height, **fixed})
    with shown("drawing", smears * fields) as progress:
        draw_dataset(out, drawing, progress.advance)
    (out / "masks.json").unlink(missing_ok=True)
    print_dataset(read_dataset(out), [], as_json=as_json)
    if not as_json:
        print(f"written to {out}; figures on drawn smears are no accuracy")


def _grouping(by: str, pattern: str) -> Grouping:
    import re

    from sphero_core.datasets.importing import GroupBy, Grouping

    if by not in list(GroupBy):
        raise typer.BadParameter(f"use one of {', '.join(GroupBy)}", param_hint="--group-by")
    try:
        re.compile(pattern)
    except re.error as error:
        raise typer.BadParameter(f"is no regular expression: {error}", param_hint="--group-pattern") from error
    return Grouping(GroupBy(by), pattern)


def _imported(
    roboflow: Path | None,
    images: Path | None,
    coco: Path | None,
    points: Path | None,
    point_classes: Path | None,
    grouping: Grouping,
) -> Imported:
    from sphero_core.datasets.importing import find_exports, import_coco, import_points
    from sphero_core.evaluation.points import CHULA_CLASSES, read_point_classes

    if roboflow is not None:
        return import_coco(roboflow, [(file.parent, file) for file in find_exports(roboflow)], grouping)
    folder = images or Path()
    if coco is not None:
        return import_coco(folder, [(folder, coco)], grouping)
    classes = read_point_classes(point_classes) if point_classes else CHULA_CLASSES
    return import_points(folder, points or folder, classes, grouping)


def _looked_at(dataset: Dataset, count: int) -> list[Problem]:
    from flows.cli.progress import shown
    from sphero_core.datasets.problems import look_at, problems_of_pixels, sample_of

    sample = sample_of(dataset.images, count) if count else []
    looks = []
    with shown("looking at the images", len(sample)) as progress:
        for image in sample:
            looks.append(look_at(image, pixel_aspect=dataset.pixel_aspect))
            progress.advance()
    return problems_of_pixels(looks, len(dataset.images))


def _copied(dataset: Dataset, out: Path) -> Path:
    import shutil

    from flows.cli.progress import shown

    root = out / "images"
    with shown("copying", len(dataset.images)) as progress:
        for image in dataset.images:
            target = root / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (target.exists() and target.samefile(image.path)):
                shutil.copyfile(image.path, target)
            progress.advance()
    return root
