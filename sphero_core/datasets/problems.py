"""What is wrong with a data set, in words: what its labels tell, and what its pixels tell.

problems_of_labels    classes that are empty or nearly so, images without a label, boxes that reach outside
look_at, problems_of_pixels    stretched images, cells that nobody labelled: a sample of the images is segmented
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.growing import grow_masks
from sphero_core.datasets.ignored import cell_foreground, pieces
from sphero_core.datasets.layout import DataImage
from sphero_core.datasets.masks import BoxMask
from sphero_core.image import read_image
from sphero_core.types import CellClass

#: Fewer cells than this cannot be learnt, nor judged.
FEW_CELLS = 50
#: Median width over height of single cells, away from 1 by more than this, means that the images were stretched.
STRETCH, CELLS_TO_TELL = 0.06, 60
#: Aspects that cameras and exports have; a measured one that is near is taken for it.
USUAL_ASPECTS = (4 / 3, 3 / 4, 16 / 9, 9 / 16, 3 / 2, 2 / 3, 5 / 4, 4 / 5)
#: Share of cells without a label above which it is told.
UNLABELLED = 0.02
#: Pieces of foreground between these shares of a usual cell's area count as a cell.
CELL_AREA = (0.4, 2.2)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to know before the data are used.

    Attributes
    ----------
    kind : str
        A word for programs; stable.
    text : str
        For people: what it is, how much of it, and what to do.
    images : tuple of str
        The names concerned, if they are few or must be known.
    """

    kind: str
    text: str
    images: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "images": list(self.images)}


@dataclass(frozen=True, slots=True)
class Look:
    """What the pixels of one image tell.

    Attributes
    ----------
    name : str
    aspects : tuple of float
        Width over height, by second moments in stored pixels, of each cell that stands alone.
    cells : int
        Pieces of foreground of a cell's size, away from the edge, clumps taken apart.
    unlabelled : int
        Those of them in which no label has its centre.
    """

    name: str
    aspects: tuple[float, ...]
    cells: int
    unlabelled: int


def count_cells(images: Iterable[DataImage]) -> dict[CellClass, int]:
    """Labelled cells of each class."""
    counts = Counter(label.cell_class for image in images for label in image.labels)
    return {name: counts[name] for name in CellClass}


def problems_of_labels(images: Sequence[DataImage]) -> list[Problem]:
    """What labels alone tell."""
    found = []
    for name, count in count_cells(images).items():
        if count < FEW_CELLS:
            said = "no label" if not count else f"only {count} labels"
            found.append(
                Problem("few_cells", f"{name} has {said}: too few to learn the class, or to say how well it is found")
            )
    bare = tuple(i.name for i in images if not any(label.cell_class for label in i.labels))
    if bare:
        found.append(
            Problem("no_labels", f"{len(bare)} images have no label of a cell; nothing can be learnt from them", bare)
        )
    outside = tuple(i.name for i in images if any(_is_outside(i, label.box or label.point) for label in i.labels))
    if outside:
        found.append(Problem("outside", f"{len(outside)} images have labels that reach beyond their edge", outside))
    return found


def sample_of(images: Sequence[DataImage], count: int) -> list[DataImage]:
    """At most `count` images, evenly over the set."""
    places = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int))
    return [images[int(place)] for place in places] if images else []


def look_at(image: DataImage, *, pixel_aspect: float = 1.0) -> Look:
    """Segment one image and hold the pieces against its labels.

    Parameters
    ----------
    image : DataImage
    pixel_aspect : float
        Display width over height of one stored pixel; what is measured remains after it is undone.

    Raises
    ------
    ImageError
    """
    field = read_image(image.path, pixel_aspect=pixel_aspect)
    grown = grow_masks(field.pixels, _centres(image) / np.array(field.to_stored))
    usual = np.pi / 4 * grown.diameter**2
    height, width = field.pixels.shape[:2]

    def is_whole_cell(piece: BoxMask) -> bool:
        inside = piece.x > 0 and piece.y > 0
        inside &= piece.x + piece.mask.shape[1] < width and piece.y + piece.mask.shape[0] < height
        return inside and CELL_AREA[0] * usual <= piece.mask.sum() <= CELL_AREA[1] * usual

    unlabelled = sum(is_whole_cell(piece) for piece in grown.unclaimed)
    labelled = sum(mask is not None and is_whole_cell(mask) for mask in grown.masks)
    alone = filter(is_whole_cell, pieces(cell_foreground(field.pixels, grown.diameter), grown.diameter))
    aspects = (_aspect(piece) for piece in alone)
    return Look(image.name, tuple(a for a in aspects if a is not None), labelled + unlabelled, unlabelled)


def problems_of_pixels(looks: Sequence[Look], images: int) -> list[Problem]:
    """What the pixels of a sample tell of a set of so many images."""
    of = f"in {len(looks)} of {images} images looked at" if len(looks) < images else "in all images"
    found = []
    aspects = np.array([aspect for look in looks for aspect in look.aspects])
    if len(aspects) >= CELLS_TO_TELL and abs(np.log(np.median(aspects))) > STRETCH:
        measured = float(np.median(aspects))
        suggested = min(USUAL_ASPECTS, key=lambda usual: abs(np.log(usual * measured)))
        if abs(np.log(suggested * measured)) > 0.05:
            suggested = 1 / measured
        found.append(
            Problem(
                "stretch",
                f"the images look stretched: single cells are {measured:.3f} times as wide as high (median of "
                f"{len(aspects)} {of}); import them with --pixel-aspect {suggested:.4f}",
            )
        )
    cells, unlabelled = sum(look.cells for look in looks), sum(look.unlabelled for look in looks)
    if cells and unlabelled > UNLABELLED * cells:
        worst = sorted((look for look in looks if look.cells), key=lambda look: -look.unlabelled / look.cells)
        found.append(
            Problem(
                "unlabelled",
                f"not every cell is labelled: about {100 * unlabelled / cells:.0f} % of the cells away from the edge have "
                f"no label ({unlabelled} of {cells} {of}); `sphero dataset masks` marks them as ignored, so that training "
                "does not take them for background",
                tuple(look.name for look in worst if look.unlabelled > 0.5 * look.cells),
            )
        )
    return found


def _centres(image: DataImage) -> NDArray[np.float64]:
    """Centres of the labels in stored pixels, shape (n, 2)."""
    boxes = [label.box or (*(label.point or (0.0, 0.0)), 0.0, 0.0) for label in image.labels]
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    return np.asarray(corners[:, :2] + corners[:, 2:] / 2, np.float64)


def _is_outside(image: DataImage, place: tuple[float, ...] | None) -> bool:
    x, y, width, height = (*(place or (0.0, 0.0)), 0.0, 0.0)[:4]
    tolerance = 1.5
    return (
        x < -tolerance or y < -tolerance or x + width > image.width + tolerance or y + height > image.height + tolerance
    )


def _aspect(piece: BoxMask) -> float | None:
    """Width over height by second moments; None for what is not convex, hence not one cell."""
    contours, _ = cv2.findContours(np.pad(piece.mask, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outer = max(contours, key=cv2.contourArea)
    if cv2.contourArea(outer) < 0.94 * cv2.contourArea(cv2.convexHull(outer)):
        return None
    rows, columns = np.nonzero(piece.mask)
    return float(columns.std() / rows.std())
