"""Reading COCO annotations, Roboflow exports included.

Source: the COCO data format, https://cocodataset.org/#format-data. Roboflow writes a box without a mask as a polygon of
the box's four corners; such a polygon is no mask and is not taken for one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.errors import DatasetError
from sphero_core.types import CellClass

_NAMES = {
    "rbc": CellClass.RBC,
    "red blood cell": CellClass.RBC,
    "redbloodcell": CellClass.RBC,
    "red cell": CellClass.RBC,
    "erythrocyte": CellClass.RBC,
    "spherocyte": CellClass.SPHEROCYTE,
    "platelet": CellClass.PLATELET,
    "thrombocyte": CellClass.PLATELET,
    "wbc": CellClass.WBC,
    "white blood cell": CellClass.WBC,
    "whitebloodcell": CellClass.WBC,
    "leukocyte": CellClass.WBC,
    "leucocyte": CellClass.WBC,
}


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image of an annotated data set.

    Attributes
    ----------
    path : Path
    name : str
        File name within the data set.
    group : str
        What must never be split: the patient, or an empty string where the set does not say.
    width, height : int
        Stored size in pixels.
    boxes : ndarray of float, shape (n, 4)
        ``x, y, width, height`` in stored pixels.
    classes : tuple of CellClass, length n
    polygons : tuple, length n
        The mask as polygons, each of shape (k, 2) in stored pixels; an empty tuple where there is a box only.
    ignored : tuple of ndarray of float, each of shape (k, 2)
        Outlines, in stored pixels, of what is there but carries no usable label: cells nobody labelled, platelets, dirt, labels
        that contradict each other. **Neither a cell of any class nor background**: training must not punish a detection there.
        Empty until someone looked at the image, see `sphero_core.datasets.ignored` and `sphero_core.datasets.points`.
    """

    path: Path
    name: str
    group: str
    width: int
    height: int
    boxes: NDArray[np.float64]
    classes: tuple[CellClass, ...]
    polygons: tuple[tuple[NDArray[np.float64], ...], ...]
    ignored: tuple[NDArray[np.float64], ...] = ()


def class_from_name(name: str) -> CellClass | None:
    """The class a category name stands for; case, plural and synonyms are forgiven, numbers are never looked at."""
    plain = " ".join(name.replace("_", " ").replace("-", " ").casefold().split())
    return _NAMES.get(plain) or _NAMES.get(plain.removesuffix("s"))


def read_coco(images: Path, annotations: Path) -> list[LabelledImage]:
    """Read a COCO file.

    Parameters
    ----------
    images : Path
        Folder of the images.
    annotations : Path
        The COCO JSON file.

    Returns
    -------
    list of LabelledImage
        Sorted by file name. Objects of unknown category are left out.

    Raises
    ------
    DatasetError
        The file is no COCO file, or an image it names is missing.
    """
    try:
        document: Mapping[str, Any] = json.loads(annotations.read_text(encoding="utf-8"))
        categories = {int(c["id"]): class_from_name(str(c["name"])) for c in document["categories"]}
        objects: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for annotation in document["annotations"]:
            objects[int(annotation["image_id"])].append(annotation)
        entries = sorted(document["images"], key=lambda entry: str(entry["file_name"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{annotations.name} cannot be read as COCO annotations ({type(error).__name__}: {error}); "
            "give a JSON file with 'images', 'annotations' and 'categories'"
        ) from error
    if not any(categories.values()):
        raise DatasetError(
            f"{annotations.name} names no category known here; name them {', '.join(CellClass)} (plural forgiven)"
        )
    return [_labelled(images, entry, objects[int(entry["id"])], categories) for entry in entries]


def _labelled(
    images: Path,
    entry: Mapping[str, Any],
    annotations: list[Mapping[str, Any]],
    categories: Mapping[int, CellClass | None],
) -> LabelledImage:
    name = str(entry["file_name"])
    path = images / Path(name).name
    if not path.is_file():
        raise DatasetError(f"image {name} is named in the annotations but is not in the folder; copy it there")
    boxes, classes, polygons = [], [], []
    for annotation in annotations:
        cell_class = categories.get(int(annotation["category_id"]))
        x, y, w, h = (float(v) for v in annotation["bbox"])
        if cell_class is None or annotation.get("iscrowd") or w <= 0 or h <= 0:
            continue
        boxes.append((x, y, w, h))
        classes.append(cell_class)
        polygons.append(_true_polygons(annotation.get("segmentation"), (x, y, w, h)))
    return LabelledImage(
        path=path,
        name=name,
        group=str(entry.get("patient", "")),
        width=int(entry["width"]),
        height=int(entry["height"]),
        boxes=np.asarray(boxes, np.float64).reshape(-1, 4),
        classes=tuple(classes),
        polygons=tuple(polygons),
    )


def _true_polygons(segmentation: object, box: tuple[float, float, float, float]) -> tuple[NDArray[np.float64], ...]:
    """The polygons of a mask; none for a run-length mask or for a polygon that is only the box's corners."""
    if not isinstance(segmentation, list):
        return ()
    found = []
    for flat in segmentation:
        points = np.asarray(flat, np.float64).reshape(-1, 2)
        if len(points) >= 3 and not _is_box(points, box):
            found.append(points)
    return tuple(found)


def _is_box(points: NDArray[np.float64], box: tuple[float, float, float, float]) -> bool:
    x, y, w, h = box
    corners = {(x, y), (x + w, y), (x, y + h), (x + w, y + h)}
    tolerance = 0.51
    return all(any(abs(px - cx) < tolerance and abs(py - cy) < tolerance for cx, cy in corners) for px, py in points)
