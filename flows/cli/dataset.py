"""`sphero dataset`: labelled smears, from a foreign export to what a model may be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.output import AsJson, fail, print_facts, print_json, print_rows

if TYPE_CHECKING:
    from sphero_core.datasets.layout import DataImage, Dataset
    from sphero_core.datasets.problems import Problem

app = typer.Typer(help="Labelled smears to train on and to measure with.", no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Folder of the data set.", exists=True, file_okay=False, show_default=False),
]
SPLIT = "split.json"


def masks(folder: Folder, as_json: AsJson = False) -> None:
    """Make a mask for each box and each labelled centre, and mark what nobody labelled as ignored; writes DIR/masks.json."""
    from dataclasses import replace

    from flows.cli.progress import shown
    from sphero_core.datasets.layout import MASKS, images_root, read_dataset, write_dataset
    from sphero_core.datasets.masking import with_masks

    dataset = read_dataset(folder)
    made = []
    with shown("making masks", len(dataset.images)) as progress:
        for image in dataset.images:
            made.append(with_masks(image, pixel_aspect=dataset.pixel_aspect))
            progress.advance()
    masked = replace(dataset, images=tuple(made))
    write_dataset(folder, masked, images_root(folder), MASKS)
    before, after = _labels(dataset.images), _labels(masked.images)
    facts = {
        "labelled cells": before.total() - before[None],
        "cells with a mask": after.total() - after[None],
        "not believed, ignored": before.total() - before[None] - (after.total() - after[None]),
        "ignored regions": after[None],
    }
    if as_json:
        print_json({key.replace(", ", "_").replace(" ", "_"): value for key, value in facts.items()})
        return
    print_facts(facts)
    print(f"written to {folder / MASKS}; look at it: sphero dataset show {folder}")


def split(
    folder: Folder,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="How many; by default one for each group, or 5 where there are many groups."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where it goes; DIR/split.json by default.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only see that the split that is there fits the data.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Split a data set by group (patient, smear, block), never by image; the file holds the hash of every image."""
    from sphero_core.datasets.layout import changed_images, read_dataset
    from sphero_core.datasets.splits import make_split, read_split, verify_split, write_split

    dataset, path = read_dataset(folder), out or folder / SPLIT
    changed = changed_images(dataset.images)
    if changed:
        fail(f"{len(changed)} images are not what was imported ({changed[0]} the first); import the data set again")
    made = read_split(path) if check else make_split(dataset.name, dataset.images, folds)
    verify_split(made, dataset.images)
    if not check:
        write_split(made, path)
    rows = [
        {"fold": fold.name, "held out": " ".join(fold.held_out)}
        | _counts([image for image in dataset.images if image.group in fold.held_out])
        for fold in made.folds
    ]
    print_rows(rows, as_json=as_json, empty="no folds")
    if not as_json:
        print(f"{path} fits the data" if check else f"written to {path}")


def show(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the contact sheets go; the data set's folder by default.")
    ] = None,
    images: Annotated[int, typer.Option(min=0, help="Images on the sheets, evenly over the set; 0: none.")] = 12,
    group: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this group; repeatable.")] = None,
    name: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Only this image; repeatable.")] = None,
    fold: Annotated[str, typer.Option(metavar="NAME", help="Only what this fold of the split holds out.")] = "",
    as_labelled: Annotated[bool, typer.Option("--as-labelled", help="Without the masks that were made.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in a data set, and draw contact sheets: cells outlined by class, what is ignored hatched in grey."""
    from dataclasses import replace

    from sphero_core.datasets.layout import read_dataset
    from sphero_core.datasets.problems import sample_of
    from sphero_core.datasets.splits import read_split

    dataset = read_dataset(folder, masks=not as_labelled)
    chosen: Sequence[DataImage] = dataset.images
    if fold:
        _, chosen = read_split(folder / SPLIT).parts(fold, chosen)
    chosen = [i for i in chosen if (not group or i.group in group) and (not name or i.name in name)]
    if not chosen:
        fail("no image is left to show; `sphero dataset show DIR --images 0` lists the groups")
    dataset = replace(dataset, images=tuple(chosen))
    sheets = _draw_sheets(dataset, sample_of(chosen, images), out or folder)
    print_dataset(dataset, [], as_json=as_json, sheets=sheets)
    if not as_json:
        for sheet in sheets:
            print(f"contact sheet {sheet}")


def _draw_sheets(dataset: Dataset, images: Sequence[DataImage], out: Path) -> list[Path]:
    import cv2

    from flows.cli.progress import shown
    from sphero_core.datasets.sheet import SheetSize, draw_sheet

    size = SheetSize()
    parts = [images[start : start + size.images] for start in range(0, len(images), size.images)]
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with shown("drawing", len(parts)) as progress:
        for number, part in enumerate(parts, start=1):
            sheet = draw_sheet(part, pixel_aspect=dataset.pixel_aspect, size=size)
            path = out / f"sheet-{number:02d}.png"
            _, encoded = cv2.imencode(".png", sheet[:, :, ::-1])
            path.write_bytes(encoded.tobytes())
            written.append(path)
            progress.advance()
    return written


def _labels(images: Sequence[DataImage]) -> Counter[Any]:
    return Counter(label.cell_class for image in images for label in image.labels)


def _counts(images: Sequence[DataImage]) -> dict[str, int]:
    from sphero_core.datasets.problems import count_cells

    counts = {"images": len(images), **{str(name): number for name, number in count_cells(images).items()}}
    return {**counts, "ignored": _labels(images)[None]}


def print_dataset(dataset: Dataset, problems: Sequence[Problem], *, as_json: bool, sheets: Sequence[Path] = ()) -> None:
    """Print what is in a data set, a line for each group, and what is wrong with it."""
    groups: dict[str, list[DataImage]] = {}
    for image in dataset.images:
        groups.setdefault(image.group, []).append(image)
    rows = [{"group": name, **_counts(groups[name])} for name in sorted(groups)]
    if as_json:
        print_json(
            {
                "name": dataset.name,
                "licence": dataset.licence,
                "pixel_aspect": dataset.pixel_aspect,
                **_counts(dataset.images),
                "groups": rows,
                "problems": [problem.as_dict() for problem in problems],
                **({"sheets": [str(sheet) for sheet in sheets]} if sheets else {}),
            }
        )
        return
    print_rows([*rows, {"group": f"all {len(rows)}", **_counts(dataset.images)}], as_json=False, empty="")
    for problem in problems:
        few = f" ({', '.join(problem.images)})" if 0 < len(problem.images) <= 6 else ""
        print(f"! {problem.text}{few}")
