"""Figures against labelled points, one at the centre of each labelled cell: what `sphero evaluate --points` writes.

Points are not exhaustive, so nothing is said about detections without a point. A point is found when it lies inside a
detection's mask. Where several points and masks meet, the pair whose point lies nearest to the mask's centre comes first; one
cell satisfies one point.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.coco import class_from_name
from sphero_core.errors import DatasetError
from sphero_core.types import Cell, CellClass

#: What a class label of a point stands for, by default: Chula RBC-12, where 3 is the spherocyte and all others are red cells.
CHULA_CLASSES: Mapping[str, CellClass] = {
    str(label): CellClass.SPHEROCYTE if label == 3 else CellClass.RBC for label in range(13)
}
#: Column of the confusion for points that no detection covers.
MISSED = "missed"
#: How the names of images end.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPoints:
    """The labelled points of one image.

    Attributes
    ----------
    places : ndarray of float, shape (n, 2)
        ``x, y`` in pixels.
    classes : tuple of CellClass, length n
    """

    places: NDArray[np.float64]
    classes: tuple[CellClass, ...]

    def scaled(self, x: float, y: float) -> LabelledPoints:
        """The same points in another pixel grid, e.g. from stored pixels to the field in true proportion."""
        return LabelledPoints(self.places * np.array([x, y]), self.classes)


def pair_files(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Each label file of a folder with the image of the same name, sorted by name.

    Raises
    ------
    DatasetError
        There is no label file, or one has no image.
    """
    paths = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.casefold() in IMAGE_SUFFIXES}
    files = sorted(labels.glob("*.txt"))
    if not files:
        raise DatasetError("the folder of points holds no .txt file; give one for each image, with lines 'x y class'")
    missing = [path.name for path in files if path.stem not in paths]
    if missing:
        raise DatasetError(f"{len(missing)} label files have no image of the same name, {missing[0]} the first")
    return [(paths[path.stem], path) for path in files]


def read_points(path: Path, classes: Mapping[str, CellClass | None] = CHULA_CLASSES) -> LabelledPoints:
    """Read a label file: a line ``x y class`` for each cell.

    Parameters
    ----------
    path : Path
    classes : mapping
        From the label in the file to the class; points whose label is given None are left out.

    Raises
    ------
    DatasetError
        The file cannot be read, a line is no point, or a label is not in `classes`.
    """
    places, found = [], []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path.name} cannot be read as point labels ({type(error).__name__}); give a text file"
        ) from error
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        try:
            x, y, label = float(words[0]), float(words[1]), words[2]
        except (ValueError, IndexError) as error:
            raise DatasetError(f"{path.name}, line {number}: {line!r} is no point; write 'x y class'") from error
        if label not in classes:
            raise DatasetError(
                f"{path.name}, line {number}: class {label!r} is not known; name it in a file given by --point-classes"
            )
        cell_class = classes[label]
        if cell_class is not None:
            places.append((x, y))
            found.append(cell_class)
    return LabelledPoints(np.array(places, np.float64).reshape(-1, 2), tuple(found))


def read_point_classes(path: Path) -> dict[str, CellClass | None]:
    """Read what the labels of points stand for: a JSON object such as ``{"0": "RBC", "3": "Spherocyte", "9": null}``.

    Raises
    ------
    DatasetError
        The file is no such object, or it names a class that is not known.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path.name} cannot be read as JSON ({type(error).__name__}: {error})") from error
    if not isinstance(document, dict):
        raise DatasetError(f'{path.name} must hold a JSON object such as {{"3": "Spherocyte", "0": "RBC"}}')
    classes: dict[str, CellClass | None] = {}
    for label, name in document.items():
        classes[label] = None if name is None else class_from_name(str(name))
        if name is not None and classes[label] is None:
            raise DatasetError(
                f"{path.name}: {name!r} is no class; use {', '.join(CellClass)} or null to leave points out"
            )
    return classes


def match_points(places: NDArray[np.float64], cells: Sequence[Cell]) -> NDArray[np.int64]:
    """The cell that each point found.

    Parameters
    ----------
    places : ndarray of float, shape (n, 2)
        ``x, y`` in the pixels of the cells' field; pixel (0, 0) reaches from 0 to 1.
    cells : sequence of Cell

    Returns
    -------
    ndarray of int, shape (n,)
        Index into `cells`; -1 where no cell is left that covers the point.
    """
    columns, rows = np.floor(places).astype(np.int64).T
    pairs: list[tuple[float, int, int]] = []
    for index, cell in enumerate(cells):
        height, width = cell.mask.shape
        near = np.nonzero(
            (columns >= cell.x) & (columns < cell.x + width) & (rows >= cell.y) & (rows < cell.y + height)
        )[0]
        covered = near[cell.mask[rows[near] - cell.y, columns[near] - cell.x]]
        if len(covered):
            down, across = np.nonzero(cell.mask)
            centre = np.array([cell.x + across.mean() + 0.5, cell.y + down.mean() + 0.5])
            distances = np.hypot(*(places[covered] - centre).T)
            pairs.extend((float(d), int(point), index) for d, point in zip(distances, covered, strict=True))
    matched: NDArray[np.int64] = np.full(len(places), -1, np.int64)
    taken: set[int] = set()
    for _, point, index in sorted(pairs):
        if matched[point] < 0 and index not in taken:
            matched[point] = index
            taken.add(index)
    return matched


def evaluate_points(labels: Sequence[LabelledPoints], found: Sequence[Sequence[Cell]]) -> dict[str, Any]:
    """The figures of `sphero evaluate --points`, ready for JSON.

    Parameters
    ----------
    labels : sequence of LabelledPoints
        One for each image, in the pixels of the field in true proportion.
    found : sequence of sequence of Cell
        The cells of each image at the operating thresholds.

    Returns
    -------
    dict
        ``recall``: share of the points found, ``all`` and by labelled class. ``confusion``: labelled class, then called class
        or ``missed``, then points. ``spherocyte``: ``recall``, the share of the points labelled so whose cell was called so;
        ``precision_at_points``, the share labelled so of the points whose cell was called so; ``f1``, their harmonic mean.
        ``false_spherocyte_share``: of the points not labelled Spherocyte, the share called so. ``points``, ``images``. A
        share of nothing is None.
    """
    if len(labels) != len(found):
        raise ValueError(
            f"{len(labels)} labelled images and {len(found)} analysed ones: give one of each for each image"
        )
    confusion = {str(true): dict.fromkeys((*map(str, CellClass), MISSED), 0) for true in CellClass}
    for image, cells in zip(labels, found, strict=True):
        matched = match_points(image.places, cells)
        for true, index in zip(image.classes, matched, strict=True):
            confusion[true][MISSED if index < 0 else cells[int(index)].cell_class] += 1
    confusion = {true: row for true, row in confusion.items() if sum(row.values())}
    points = {true: sum(row.values()) for true, row in confusion.items()}
    called = {true: row[CellClass.SPHEROCYTE] for true, row in confusion.items()}
    all_points, hits = sum(points.values()), called.get(CellClass.SPHEROCYTE, 0)
    labelled, calls = points.get(CellClass.SPHEROCYTE, 0), sum(called.values())
    missed = {true: row[MISSED] for true, row in confusion.items()}
    return {
        "recall": {
            "all": _share(all_points - sum(missed.values()), all_points),
            **{true: _share(points[true] - missed[true], points[true]) for true in confusion},
        },
        "confusion": confusion,
        "spherocyte": {
            "recall": _share(hits, labelled),
            "precision_at_points": _share(hits, calls),
            "f1": _share(2 * hits, calls + labelled),
        },
        "false_spherocyte_share": _share(calls - hits, all_points - labelled),
        "points": all_points,
        "images": len(labels),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
