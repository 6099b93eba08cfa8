"""Which places are judged, in which order; and the key that is kept apart until both readings are done.

Where labels and model differ, every place is judged (up to a limit), so that a field's own number of cells follows and not only a mean over fields; where they agree, a
sample tells how far agreement may be trusted.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sphero_core.datasets.coco import LabelledImage
from sphero_core.errors import DatasetError
from sphero_core.evaluation.run import Run, field_diameters, find_cells
from sphero_core.image import read_image
from sphero_core.review.places import Place, Stratum, places_of_field

SCHEMA = "urn:spheroflow:review:1"
READINGS = (1, 2)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is judged.

    Attributes
    ----------
    agreed : int
        Places of each stratum in which labels and model agree.
    disputed : int
        At most so many of each stratum in which they do not.
    clear : int
        Clear places, as controls.
    fields : int
        Whole fields in which cells are looked for that nobody and nothing marked.
    """

    agreed: int = 60
    disputed: int = 400
    clear: int = 15
    fields: int = 6

    def of(self, stratum: Stratum) -> int:
        """The most places of a stratum."""
        if stratum is Stratum.CLEAR:
            return self.clear
        return self.agreed if stratum in {Stratum.AGREED_RED, Stratum.AGREED_SPHEROCYTE} else self.disputed


@dataclass(frozen=True, slots=True)
class Shown:
    """What a reading shows under one number: which place or field, and how it is turned, in quarter turns, and mirrored."""

    index: int
    turns: int
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Key:
    """What stands behind the numbers of the sheets.

    Attributes
    ----------
    seed : int
    bundle : str
        Name, version and hash of the model that was judged.
    fields : tuple of str
        Every image.
    diameters : tuple of float
        Median cell diameter that set each field's scale, in pixels in true proportion.
    places : tuple of Place
        All of them, judged or not.
    tiles, whole_fields : tuple of tuple of Shown
        For each reading, what its first, second... tile and field picture shows; `Shown.index` counts `places` and `fields`.
    """

    seed: int
    bundle: str
    fields: tuple[str, ...]
    diameters: tuple[float, ...]
    places: tuple[Place, ...]
    tiles: tuple[tuple[Shown, ...], ...]
    whole_fields: tuple[tuple[Shown, ...], ...]


def find_places(
    run: Run, labels: Sequence[LabelledImage], seed: int, tick: Callable[[], None] = lambda: None
) -> tuple[list[Place], list[float]]:
    """The places of labelled fields and the cell diameter of each field; raises as `sphero_core.evaluation.run.evaluate_labelled` does."""
    diameters = field_diameters([label.path for label in labels], [label.group for label in labels], run.pixel_aspect)
    places: list[Place] = []
    for number, (label, diameter) in enumerate(zip(labels, diameters, strict=True)):
        field = read_image(label.path, pixel_aspect=run.pixel_aspect)
        cells, _ = find_cells(run, field, diameter, run.detector.thresholds)
        margin = run.detector.label_margin * diameter
        rng = np.random.default_rng([seed, 0, number])
        places += places_of_field(label, field, cells, diameter, margin, rng)
        tick()
    return places, diameters


def draw_key(
    places: Sequence[Place], fields: Sequence[str], diameters: Sequence[float], bundle: str, size: Size, seed: int
) -> Key:
    """Choose what is judged and shuffle it anew for each reading; the same seed gives the same key."""
    rng = np.random.default_rng([seed, 1])
    chosen = _chosen(places, frozenset(), size, rng)
    looked_at = [int(i) for i in rng.choice(len(fields), min(size.fields, len(fields)), replace=False)]
    return Key(
        seed,
        bundle,
        tuple(fields),
        tuple(round(d, 1) for d in diameters),
        tuple(places),
        tuple(_shuffled(chosen, rng) for _ in READINGS),
        tuple(_shuffled(looked_at, rng) for _ in READINGS),
    )


def draw_more(earlier: Sequence[Key], size: Size, seed: int) -> Key:
    """A further sample from the places that earlier ones of the same review did not show; no whole fields.

    Raises
    ------
    DatasetError
        They are not of one review, or nothing is left.
    """
    check_same_places(earlier)
    rng = np.random.default_rng([seed, 3])
    shown = frozenset(tile.index for key in earlier for tile in key.tiles[0])
    chosen = _chosen(earlier[0].places, shown, size, rng)
    if not chosen:
        raise DatasetError(
            "every place of that review was shown already, as far as these numbers ask for; ask for more"
        )
    return replace(earlier[0], seed=seed, tiles=tuple(_shuffled(chosen, rng) for _ in READINGS), whole_fields=((), ()))


def check_same_places(keys: Sequence[Key]) -> None:
    """See that several samples are of one review.

    Raises
    ------
    DatasetError
    """
    if any(key.places != keys[0].places for key in keys[1:]):
        raise DatasetError(
            "the keys are not of one review; draw a further sample with `sphero dataset review sample --after`"
        )


def _chosen(places: Sequence[Place], without: frozenset[int], size: Size, rng: np.random.Generator) -> list[int]:
    of_stratum: dict[Stratum, list[int]] = defaultdict(list)
    for index, place in enumerate(places):
        if index not in without:
            of_stratum[place.stratum].append(index)
    chosen: list[int] = []
    for stratum in Stratum:
        all_of_it = of_stratum[stratum]
        count = min(size.of(stratum), len(all_of_it))
        chosen += [int(i) for i in rng.choice(all_of_it, count, replace=False)] if count else []
    return chosen


def _shuffled(indices: Sequence[int], rng: np.random.Generator) -> tuple[Shown, ...]:
    return tuple(Shown(int(i), int(rng.integers(4)), bool(rng.integers(2))) for i in rng.permutation(indices))


def write_key(path: Path, key: Key) -> None:
    """Write the key as JSON."""
    document = {
        "schema": SCHEMA,
        "seed": key.seed,
        "bundle": key.bundle,
        "fields": [{"name": n, "cell_diameter_px": d} for n, d in zip(key.fields, key.diameters, strict=True)],
        "places": [place.as_dict() for place in key.places],
        "tiles": [[[s.index, s.turns, int(s.mirrored)] for s in reading] for reading in key.tiles],
        "whole_fields": [[[s.index, s.turns, int(s.mirrored)] for s in reading] for reading in key.whole_fields],
    }
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")


def read_key(path: Path) -> Key:
    """Read a key.

    Raises
    ------
    DatasetError
        There is none, or it is not one of ours.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise DatasetError(f"{path.name} is no key of a review; `sphero dataset review sample` writes one")
        places = tuple(_place(entry) for entry in document["places"])
        shown = [
            tuple(tuple(Shown(int(i), int(t), bool(m)) for i, t, m in reading) for reading in document[part])
            for part in ("tiles", "whole_fields")
        ]
        names = tuple(str(f["name"]) for f in document["fields"])
        diameters = tuple(float(f["cell_diameter_px"]) for f in document["fields"])
        return Key(int(document["seed"]), str(document["bundle"]), names, diameters, places, shown[0], shown[1])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path.name} cannot be read as the key of a review ({type(error).__name__}); "
            "give the folder that `sphero dataset review sample` wrote"
        ) from error


def _place(entry: Mapping[str, Any]) -> Place:
    x, y, w, h = (int(v) for v in entry["box"])
    return Place(
        str(entry["field"]), Stratum(entry["stratum"]), (x, y, w, h), entry["found_cut"], entry["labelled_cut"]
    )


def key_sha256(path: Path) -> str:
    """Hex SHA-256 of a key's bytes: two samples with the same one show the same tiles."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
