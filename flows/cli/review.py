"""`sphero dataset review`: how good labels and model are, as a person judges who sees neither."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.dataset import Folder
from flows.cli.model import BundleOption, bundle_of, quiet_tensorflow
from flows.cli.output import AsJson, fail, print_facts, print_json, print_rows

if TYPE_CHECKING:
    from sphero_core.review.judgements import Judgement
    from sphero_core.review.sampling import Key, Size

app = typer.Typer(
    help="Judge labels and model blind, twice; see what the figures become.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
KEY = "key.json"
ReviewFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of the review.", exists=True, file_okay=False, show_default=False)
]
Judgements = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where the filled files lie, if not there.", file_okay=False)
]


@app.command("sample")
def sample(
    folder: Folder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the review; made if missing.")],
    group: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this group; repeatable.")] = None,
    agreed: Annotated[int, typer.Option(min=1, help="Places of each kind on which labels and model agree.")] = 60,
    disputed: Annotated[
        int, typer.Option(min=1, help="The most of each kind on which they do not; best are all of them.")
    ] = 400,
    clear: Annotated[int, typer.Option(min=0, help="Places of clear background, as controls.")] = 15,
    fields: Annotated[
        int, typer.Option(min=1, help="Whole fields in which cells are looked for that nothing marks.")
    ] = 6,
    after: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Draw more of this review, from what it did not show; repeatable.", exists=True
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same sample.")] = 1,
    bundle: BundleOption = None,
) -> None:
    """Draw what is to be judged: numbered sheets for two readings, empty judgement files, and a key that stays closed.

    Of each group, the fields set the scale together, as in a case. Fill reading-1.csv from the sheets in reading-1 and
    fields-1.csv from its field pictures, then the second reading without looking at the first.
    """
    from sphero_core.review.judgements import MEANINGS
    from sphero_core.review.sampling import Size

    if (out / KEY).exists():
        fail(f"{out} holds a review already; judgements are not overwritten: name another folder")
    size = Size(agreed, disputed, clear, fields)
    if after:
        from sphero_core.review.sampling import draw_more, read_key

        key = _drawn(folder, out, draw_more([read_key(earlier / KEY) for earlier in after], size, seed))
    else:
        key = _sampled(folder, out, frozenset(group or ()), size, seed, bundle)
    print(
        f"{len(key.tiles[0])} tiles and {len(key.whole_fields[0])} fields to judge, twice, in {out}; do not open {KEY}"
    )
    print_facts({f"{letter}  {judgement}": meaning for judgement, (letter, meaning) in MEANINGS.items()})
    print(f"when both readings are filled in: sphero dataset review score {out}")


@app.command("score")
def score(
    reviews: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folder of the review; then those of further samples of it.")
    ],
    judgements: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Where the filled files lie, if not there; one for each folder, in order."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write review.json, fields.csv and tiles.csv there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how the two readings agree, what stands at each kind of place, and what count error and spherocyte figures become."""
    from sphero_core.review.judgements import read_undotted
    from sphero_core.review.sampling import READINGS, key_sha256
    from sphero_core.review.scoring import score_review, tile_rows

    sources = judgements or reviews
    if len(sources) != len(reviews):
        raise typer.BadParameter("give as many as folders of the review", param_hint="--judgements")
    (key, said), *more = samples = [_judged(*each) for each in zip(reviews, sources, strict=True)]
    undotted = [read_undotted(sources[0] / f"fields-{n}.csv", len(key.whole_fields[n - 1])) for n in READINGS]
    hashes = [key_sha256(review / KEY) for review in reviews]
    figures = {"key_sha256": hashes, **score_review(key, said, undotted, more=more)}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "review.json").write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        _write_rows(out / "fields.csv", figures["fields"])
        rows = [{"sample": n, **row} for n, each in enumerate(samples, start=1) for row in tile_rows(*each)]
        _write_rows(out / "tiles.csv", rows)
    if as_json:
        print_json(figures)
    else:
        _print(figures)


@app.command("show")
def show(
    review: ReviewFolder,
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of the data set it was drawn from.", exists=True, file_okay=False),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the sheets go; made if missing.")],
    judgements: Judgements = None,
) -> None:
    """Draw what stands at each kind of place, with what both readings said of it: the key is open then."""
    from sphero_core.review.pictures import judged_pictures
    from sphero_core.review.scoring import tile_rows

    key, said = _judged(review, judgements or review)
    for name, picture in judged_pictures(key, tile_rows(key, said), _read_pixels(data, key)):
        _write(out / f"{name}.png", picture)
        print(out / f"{name}.png")


def _judged(review: Path, source: Path) -> tuple[Key, list[tuple[Judgement, ...]]]:
    """The key, and what each reading said."""
    from sphero_core.review.judgements import read_judgements
    from sphero_core.review.sampling import READINGS, read_key

    key = read_key(review / KEY)
    return key, [read_judgements(source / f"reading-{n}.csv", len(key.tiles[n - 1])) for n in READINGS]


def _sampled(folder: Path, out: Path, groups: frozenset[str], size: Size, seed: int, bundle: str | None) -> Key:
    from flows.cli.progress import shown
    from sphero_core.bundle import load_bundle, resolve_bundle
    from sphero_core.datasets.layout import read_dataset
    from sphero_core.detector import load_detector
    from sphero_core.evaluation.run import Run
    from sphero_core.review.sampling import draw_key, find_places

    dataset = read_dataset(folder)
    labels = [image.labelled for image in dataset.images if not groups or image.group in groups]
    if not labels:
        fail("no image is left to review; `sphero dataset show DIR --images 0` lists the groups")
    loaded = load_bundle(resolve_bundle(bundle_of(bundle)))
    quiet_tensorflow()
    run = Run(load_detector(loaded), dataset.pixel_aspect)
    with shown("finding cells", len(labels)) as bar:
        places, diameters = find_places(run, labels, seed, bar.advance)
    told = f"{loaded.id.name} {loaded.id.version} {loaded.id.sha256}"
    return _drawn(folder, out, draw_key(places, [label.name for label in labels], diameters, told, size, seed))


def _drawn(folder: Path, out: Path, key: Key) -> Key:
    """Write what a sample consists of."""
    from sphero_core.review.judgements import write_empty
    from sphero_core.review.pictures import reading_pictures
    from sphero_core.review.sampling import READINGS, write_key

    pixels = _read_pixels(folder, key)
    for reading in READINGS:
        for name, picture in reading_pictures(key, reading, pixels):
            _write(out / f"reading-{reading}" / f"{name}.png", picture)
        write_empty(out, reading, len(key.tiles[reading - 1]), len(key.whole_fields[reading - 1]))
    write_key(out / KEY, key)  # last: a folder with a key is a whole review
    return key


def _read_pixels(folder: Path, key: Key) -> dict[str, Any]:
    """Every field of a key, in true proportion."""
    from sphero_core.datasets.layout import read_dataset
    from sphero_core.image import read_image

    dataset = read_dataset(folder)
    paths = {image.name: image.path for image in dataset.images}
    if absent := [name for name in key.fields if name not in paths]:
        fail(f"the data set holds no {absent[0]}, which is reviewed; name the one that the review was drawn from")
    return {name: read_image(paths[name], pixel_aspect=dataset.pixel_aspect).pixels for name in key.fields}


def _write(path: Path, picture: Any) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", picture[:, :, ::-1])
    path.write_bytes(encoded.tobytes())


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import csv

    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _print(figures: dict[str, Any]) -> None:
    print_facts({f"agreement, {name}": _agreement(value) for name, value in figures["agreement"].items()})
    print()
    print_rows(figures["strata"], as_json=False, empty="")
    print()
    print_rows(figures["figures"], as_json=False, empty="")


def _agreement(value: dict[str, Any]) -> str:
    kappa = "-" if value["kappa"] is None else f"{value['kappa']:.3f}"
    return f"{100 * value['share']:.1f} % of {value['tiles']}, kappa {kappa}"
