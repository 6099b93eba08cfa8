"""Splits that hold: by group, written to a file with the hash of every image, and verified whenever they are used.

A split by images leaks: fields of one patient, or neighbours from one smear, look alike, and a figure on them is no figure on a new
patient. Folds are therefore made of whole groups; each image is held out in exactly one.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sphero_core.datasets.layout import DataImage
from sphero_core.errors import DatasetError
from sphero_core.types import CellClass

SCHEMA = "urn:spheroflow:split:1"
#: With at most so many groups each is held out alone (leave one patient out); with more, they share folds.
ALONE = 12
DEFAULT_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold: its name and the groups it holds out."""

    name: str
    held_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A split of a data set.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    folds : tuple of Fold
    images : mapping
        From the SHA-256 of each image to its group.
    """

    dataset: str
    folds: tuple[Fold, ...]
    images: Mapping[str, str]

    def fold(self, name: str) -> Fold:
        """The fold of that name.

        Raises
        ------
        DatasetError
        """
        for fold in self.folds:
            if fold.name == name:
                return fold
        raise DatasetError(f"the split has no fold {name!r}; it has {', '.join(fold.name for fold in self.folds)}")

    def parts(self, name: str, images: Sequence[DataImage]) -> tuple[list[DataImage], list[DataImage]]:
        """The images to train on and those held out in a fold, after `verify_split`.

        Raises
        ------
        DatasetError
        """
        verify_split(self, images)
        held_out = self.fold(name).held_out
        train = [image for image in images if image.group not in held_out]
        return train, [image for image in images if image.group in held_out]


def make_split(dataset: str, images: Sequence[DataImage], folds: int | None = None) -> Split:
    """Make folds of whole groups.

    Parameters
    ----------
    dataset : str
    images : sequence of DataImage
    folds : int or None
        How many; None: one for each group where there are few, else `DEFAULT_FOLDS`. Groups are dealt so that images and
        spherocytes are spread evenly; the same images give the same folds.

    Raises
    ------
    DatasetError
        There are fewer groups than folds, or one group only.
    """
    weights: dict[str, Counter[str]] = defaultdict(Counter)
    for image in images:
        weights[image.group]["images"] += 1
        weights[image.group]["spherocytes"] += sum(label.cell_class is CellClass.SPHEROCYTE for label in image.labels)
    count = folds or (len(weights) if len(weights) <= ALONE else DEFAULT_FOLDS)
    if len(weights) < max(count, 2):
        raise DatasetError(
            f"the data set has {len(weights)} groups, which do not make {max(count, 2)} folds; "
            "import it with --group-pattern or --group-by, or ask for fewer --folds"
        )
    if count == len(weights):
        made = tuple(Fold(group, (group,)) for group in sorted(weights))
    else:
        made = _dealt(weights, count)
    return Split(dataset, made, {image.sha256: image.group for image in images})


def write_split(split: Split, path: Path) -> None:
    """Write a split as JSON."""
    document = {
        "schema": SCHEMA,
        "dataset": split.dataset,
        "folds": [{"name": fold.name, "held_out": list(fold.held_out)} for fold in split.folds],
        "images": dict(sorted(split.images.items(), key=lambda item: (item[1], item[0]))),
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_split(path: Path) -> Split:
    """Read a split.

    Raises
    ------
    DatasetError
        The file is no split.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = document["schema"] == SCHEMA
        folds = tuple(Fold(str(f["name"]), tuple(str(g) for g in f["held_out"])) for f in document["folds"])
        images = {str(sha256): str(group) for sha256, group in document["images"].items()}
        split = Split(str(document["dataset"]), folds, images)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path.name} is no split ({type(error).__name__}: {error}); `sphero dataset split` writes one"
        ) from error
    if not known:
        raise DatasetError(f"{path.name} is a split of another version; make a new one by `sphero dataset split`")
    return split


def verify_split(split: Split, images: Sequence[DataImage]) -> None:
    """See that a split is of just these images, and that no group is on both sides.

    Raises
    ------
    DatasetError
        An image is not in the split or has another content or group than when it was made, the split names one that is
        gone, or a group is held out in several folds or in none.
    """
    faults = []
    strange = [image.name for image in images if image.sha256 not in split.images]
    if strange:
        faults.append(f"{len(strange)} images are new or were changed ({strange[0]} the first)")
    gone = len(set(split.images) - {image.sha256 for image in images})
    if gone:
        faults.append(f"{gone} images of the split are not in the data set")
    moved = [image.name for image in images if split.images.get(image.sha256, image.group) != image.group]
    if moved:
        faults.append(f"{len(moved)} images lie in another group ({moved[0]} the first)")
    held_out = Counter(group for fold in split.folds for group in fold.held_out)
    uneven = sorted(group for group in set(split.images.values()) | set(held_out) if held_out[group] != 1)
    if uneven:
        faults.append(f"groups are not held out exactly once: {', '.join(uneven)}")
    if faults:
        raise DatasetError("the split does not fit the data: " + "; ".join(faults) + "; make a new one")


def _dealt(weights: Mapping[str, Counter[str]], count: int) -> tuple[Fold, ...]:
    """Deal groups to folds, the heaviest first, each to the fold that is lightest so far."""
    totals = Counter[str]()
    for weight in weights.values():
        totals.update(weight)

    def load(weight: Counter[str]) -> float:
        return sum(weight[key] / totals[key] for key in totals if totals[key])

    folds: list[list[str]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for group in sorted(weights, key=lambda group: (-load(weights[group]), group)):
        lightest = loads.index(min(loads))
        folds[lightest].append(group)
        loads[lightest] += load(weights[group])
    return tuple(Fold(f"fold_{number}", tuple(sorted(groups))) for number, groups in enumerate(folds, start=1))
