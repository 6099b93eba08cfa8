"""Reading COCO annotations, Roboflow exports included.

Source: the COCO data format, https://cocodataset.org/#format-data. Roboflow writes a box without a mask as a polygon of
the box's four corners; such a polygon is no mask and is not taken for one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from sphero_core.datasets.masks import outline_of
from sphero_core.errors import DatasetError
from sphero_core.types import CellClass

#: Category of regions that are neither a cell of a class nor background.
IGNORED = "ignored"

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
    made : bool
        Whether masks were made of boxes or points by a program: figures against them are named so.
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
    made: bool = False


def class_from_name(name: str) -> CellClass | None:
    """The class a category name stands for; case, plural and synonyms are forgiven, numbers are never looked at."""
    plain = " ".join(name.replace("_", " ").replace("-", " ").casefold().split())
    return _NAMES.get(plain) or _NAMES.get(plain.removesuffix("s"))


def load_coco(annotations: Path) -> dict[str, Any]:
    """Load a COCO file and see that it is one.

    Raises
    ------
    DatasetError
    """
    try:
        document: dict[str, Any] = json.loads(annotations.read_text(encoding="utf-8"))
        for part, keys in (("categories", ("id", "name")), ("annotations", ("image_id", "category_id", "bbox"))):
            for entry in document[part]:
                _ = [entry[key] for key in keys]
        for entry in document["images"]:
            _ = entry["id"], entry["file_name"], entry["width"], entry["height"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{annotations.name} cannot be read as COCO annotations ({type(error).__name__}: {error}); "
            "give a JSON file with 'images', 'annotations' and 'categories'"
        ) from error
    return document


def read_coco(images: Path, annotations: Path, on_missing: Callable[[str], None] | None = None) -> list[LabelledImage]:
    """Read a COCO file.

    Parameters
    ----------
    images : Path
        Folder of the images.
    annotations : Path
        The COCO JSON file.
    on_missing : callable, optional
        Told the name of an image that is not in the folder and is therefore left out; without it that is an error.

    Returns
    -------
    list of LabelledImage
        Sorted by file name. Objects of unknown category are left out; those of the category ``ignored``, and crowds, become
        `LabelledImage.ignored`.

    Raises
    ------
    DatasetError
        The file is no COCO file, or an image it names is missing.
    """
    document = load_coco(annotations)
    names = {int(c["id"]): str(c["name"]) for c in document["categories"]}
    if not any(class_from_name(name) for name in names.values()):
        raise DatasetError(
            f"{annotations.name} names no category known here; name them {', '.join(CellClass)} (plural forgiven)"
        )
    objects: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in document["annotations"]:
        objects[int(annotation["image_id"])].append(annotation)
    found = []
    for entry in sorted(document["images"], key=lambda entry: str(entry["file_name"])):
        name = str(entry["file_name"])
        path = image_path(images, name)
        if path is not None:
            found.append(_labelled(path, entry, objects[int(entry["id"])], names))
        elif on_missing is not None:
            on_missing(name)
        else:
            raise DatasetError(f"image {name} is named in the annotations but is not in the folder; copy it there")
    return found


def image_path(images: Path, name: str) -> Path | None:
    """Where an image that annotations name lies in a folder: by its relative path or by its name alone; never outside."""
    inside = Path(name)
    if not inside.is_absolute() and ".." not in inside.parts and (images / inside).is_file():
        return images / inside
    return images / inside.name if inside.name and (images / inside.name).is_file() else None


def _labelled(
    path: Path, entry: Mapping[str, Any], annotations: list[Mapping[str, Any]], names: Mapping[int, str]
) -> LabelledImage:
    boxes, classes, polygons = [], [], []
    ignored: list[NDArray[np.float64]] = []
    for annotation in annotations:
        name = names.get(int(annotation["category_id"]), "")
        cell_class = class_from_name(name)
        x, y, w, h = (float(v) for v in annotation["bbox"])
        outlines = true_polygons(annotation.get("segmentation"), (x, y, w, h))
        if w <= 0 or h <= 0 or (cell_class is None and name.casefold() != IGNORED):
            continue
        if cell_class is None or annotation.get("iscrowd"):
            ignored.extend(outlines or (corners_of((x, y, w, h)),))
            continue
        boxes.append((x, y, w, h))
        classes.append(cell_class)
        polygons.append(outlines)
    return LabelledImage(
        path=path,
        name=str(entry["file_name"]),
        group=str(entry.get("group") or entry.get("patient") or ""),
        width=int(entry["width"]),
        height=int(entry["height"]),
        boxes=np.asarray(boxes, np.float64).reshape(-1, 4),
        classes=tuple(classes),
        polygons=tuple(polygons),
        ignored=tuple(ignored),
        made=any(annotation.get("made") for annotation in annotations),
    )


def corners_of(box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """The outline of a box ``x, y, width, height``, shape (4, 2)."""
    x, y, w, h = box
    return np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], np.float64)


def true_polygons(segmentation: object, box: tuple[float, float, float, float]) -> tuple[NDArray[np.float64], ...]:
    """The outlines of a mask, be it polygons or run lengths; none for a polygon that is only the box's corners."""
    if isinstance(segmentation, dict):
        return _outlines_of_runs(segmentation)
    if not isinstance(segmentation, list):
        return ()
    found = []
    for flat in segmentation:
        points = np.asarray(flat, np.float64).reshape(-1, 2)
        if len(points) >= 3 and not is_box(points, box):
            found.append(points)
    return tuple(found)


def _outlines_of_runs(segmentation: Mapping[str, Any]) -> tuple[NDArray[np.float64], ...]:
    try:
        height, width = (int(v) for v in segmentation["size"])
        runs = segmentation["counts"]
        encoded = coco_mask.frPyObjects(segmentation, height, width) if isinstance(runs, list) else segmentation
        mask = np.asarray(coco_mask.decode(encoded), np.uint8)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"a run-length mask cannot be read ({error}); it needs 'size' and 'counts'") from error
    x, y, w, h = cv2.boundingRect(mask)
    if w == 0:
        return ()
    count, parts = cv2.connectedComponents(mask[y : y + h, x : x + w], connectivity=4)
    return tuple(outline_of(np.asarray(parts == part), x, y) for part in range(1, count))


def is_box(points: NDArray[np.float64], box: tuple[float, float, float, float]) -> bool:
    """Whether a polygon is only the corners of a box, as Roboflow writes boxes."""
    x, y, w, h = box
    corners = {(x, y), (x + w, y), (x, y + h), (x + w, y + h)}
    tolerance = 0.51
    return all(any(abs(px - cx) < tolerance and abs(py - cy) < tolerance for cx, cy in corners) for px, py in points)
