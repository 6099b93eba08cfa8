"""Data sets whose labels are cell centres: a line ``x y class`` for each, as in Chula RBC-12.

Such labels have no boxes, and in most images only the cells of interest are labelled. Masks and boxes are grown from the points
(`sphero_core.datasets.growing`); everything else that is no background is *ignored*, see `LabelledImage.ignored`.

Images with the same bytes are one image. Where the labels of such twins meet on one cell, one label stays; where they then
contradict each other, nobody can say which is right: the cell is ignored. A cell that only one of them labels keeps its label.

Neighbouring numbers come from one smear. The group of an image is therefore the block of ten numbers it lies in
(``block_012``: 120 to 129), and blocks that share an image are one group, named by the lowest.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.coco import LabelledImage
from sphero_core.datasets.groups import block_of, join_groups, number_of
from sphero_core.datasets.growing import Grown, grow_masks
from sphero_core.datasets.masks import outline_of
from sphero_core.evaluation.points import CHULA_CLASSES, LabelledPoints, pair_files, read_points
from sphero_core.image import read_image
from sphero_core.types import CellClass, FieldImage

#: Points of twins this near to each other, in diameters of the usual cell, label the same cell.
SAME_CELL = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class PointedImage:
    """One image with the labels of all files that belong to its bytes.

    Attributes
    ----------
    path : Path
        The image; of twins the one with the lowest number.
    group : str
        What must never be split.
    labels : tuple of LabelledPoints
        In stored pixels; one for each twin.
    twins : tuple of str
        File names of the other images with the same bytes.
    """

    path: Path
    group: str
    labels: tuple[LabelledPoints, ...]
    twins: tuple[str, ...] = ()


def read_pointed(
    images: Path, labels: Path, classes: Mapping[str, CellClass | None] = CHULA_CLASSES
) -> list[PointedImage]:
    """Read a folder of images and one of label files of the same names; no pixel is decoded.

    Parameters
    ----------
    images, labels : Path
    classes : mapping
        From the label in the file to the class, see `sphero_core.evaluation.points.read_points`.

    Returns
    -------
    list of PointedImage
        In the order of their numbers, each content once.

    Raises
    ------
    DatasetError
        There is no label file, one has no image, or one cannot be read.
    """
    pairs = pair_files(images, labels)
    paths = {label.stem: image for image, label in pairs}
    files = sorted((label for _, label in pairs), key=lambda path: (number_of(path.stem), path.stem))
    twins: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        twins[hashlib.sha256(paths[file.stem].read_bytes()).hexdigest()].append(file)
    groups = join_groups([[block_of(file.stem) for file in same] for same in twins.values()])
    return [
        PointedImage(
            path=paths[same[0].stem],
            group=groups[block_of(same[0].stem)],
            labels=tuple(read_points(file, classes) for file in same),
            twins=tuple(paths[file.stem].name for file in same[1:]),
        )
        for same in twins.values()
    ]


def grow_labels(image: PointedImage, *, pixel_aspect: float = 1.0) -> LabelledImage:
    """Grow boxes and masks from an image's points; all other foreground is ignored.

    Parameters
    ----------
    image : PointedImage
    pixel_aspect : float
        Display width over height of one stored pixel; masks are grown in true proportion.

    Returns
    -------
    LabelledImage
        In stored pixels. A point whose mask cannot be believed is no cell but an ignored region.

    Raises
    ------
    ImageError
        The image cannot be read.
    """
    field = read_image(image.path, pixel_aspect=pixel_aspect)
    to_stored = np.array(field.to_stored)
    first = grow_masks(field.pixels, image.labels[0].places / to_stored)
    places, classes = merge_labels([labels.scaled(*(1 / to_stored)) for labels in image.labels], first.diameter)
    grown = first if len(image.labels) == 1 else grow_masks(field.pixels, places)
    return label_grown(image.path, image.group, field, grown, classes)


def label_grown(
    path: Path, group: str, field: FieldImage, grown: Grown, classes: Sequence[CellClass | None]
) -> LabelledImage:
    """The labels of an image whose masks were grown, in stored pixels.

    Parameters
    ----------
    path : Path
    group : str
    field : FieldImage
        The image in true proportion.
    grown : Grown
        From that field.
    classes : sequence of CellClass or None
        Of each point; what grew from a point without a class is ignored.
    """
    to_stored = np.array(field.to_stored)
    boxes, kept, polygons = [], [], []
    ignored = [outline_of(mask.mask, mask.x, mask.y) * to_stored for mask in grown.unclaimed]
    for mask, cell_class in zip(grown.masks, classes, strict=True):
        if mask is None:
            continue
        outline = outline_of(mask.mask, mask.x, mask.y) * to_stored
        if cell_class is None:
            ignored.append(outline)
            continue
        low, high = outline.min(axis=0), outline.max(axis=0)
        boxes.append((*low, *(high - low)))
        kept.append(cell_class)
        polygons.append((outline,))
    return LabelledImage(
        path=path,
        name=path.name,
        group=group,
        width=field.stored_width,
        height=field.stored_height,
        boxes=np.asarray(boxes, np.float64).reshape(-1, 4),
        classes=tuple(kept),
        polygons=tuple(polygons),
        ignored=tuple(ignored),
        made=True,
    )


def read_grown(
    images: Path,
    labels: Path,
    classes: Mapping[str, CellClass | None] = CHULA_CLASSES,
    *,
    pixel_aspect: float = 1.0,
) -> Iterator[LabelledImage]:
    """`read_pointed`, and `grow_labels` for each image, one by one: some 0.1 s each."""
    for image in read_pointed(images, labels, classes):
        yield grow_labels(image, pixel_aspect=pixel_aspect)


def merge_labels(
    labels: Sequence[LabelledPoints], diameter: float
) -> tuple[NDArray[np.float64], tuple[CellClass | None, ...]]:
    """One point for each cell that any of several label files of the same image labels.

    Parameters
    ----------
    labels : sequence of LabelledPoints
    diameter : float
        Of the usual cell, in the pixels of the points.

    Returns
    -------
    places : ndarray of float, shape (n, 2)
    classes : tuple of CellClass or None, length n
        None where the files contradict each other.
    """
    places: list[NDArray[np.float64]] = []
    classes: list[CellClass | None] = []
    for of_file in labels:
        known = len(places)  # two points of one file are two cells, however near they lie
        free = set(range(known))
        for place, cell_class in zip(of_file.places, of_file.classes, strict=True):
            away = {index: float(np.linalg.norm(places[index] - place)) for index in free}
            nearest = min(away, key=away.__getitem__, default=None)
            if nearest is None or away[nearest] > SAME_CELL * diameter:
                places.append(place)
                classes.append(cell_class)
                continue
            free.discard(nearest)
            classes[nearest] = cell_class if classes[nearest] is cell_class else None
    return np.array(places, np.float64).reshape(-1, 2), tuple(classes)
