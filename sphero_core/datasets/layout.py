"""The local layout of a labelled data set: one folder with one COCO file, and images that are copied there or stay where they are.

    DIR/annotations.json    as a person labelled it, duplicates merged
    DIR/masks.json          the same with a mask for each cell and with what is ignored: made of it, and made anew at will
    DIR/images/             only where images were copied

Both files are COCO instances. What they have beside COCO's own keys:

    info            schema, name, licence, pixel_aspect, images (the folder; relative to DIR, or absolute)
    images[]        sha256 of the file, group (what must never be split), twins (names of files with the same bytes)
    categories[]    "ignored": neither a cell of a class nor background; such annotations are crowds (iscrowd 1) to other programs
    annotations[]   made: true where the mask was made by a program; a labelled centre without a box is a keypoint with a box of no size: bbox [x, y, 0, 0], keypoints [x, y, 2]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.coco import (
    IGNORED,
    LabelledImage,
    class_from_name,
    corners_of,
    image_path,
    load_coco,
    true_polygons,
)
from sphero_core.errors import DatasetError
from sphero_core.exports import COCO_CATEGORIES
from sphero_core.types import CellClass

SCHEMA = "urn:spheroflow:dataset:1"
ANNOTATIONS, MASKS, IMAGES = "annotations.json", "masks.json", "images"
_IGNORED_ID = max(COCO_CATEGORIES.values()) + 1

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """One label.

    Attributes
    ----------
    cell_class : CellClass or None
        None where nothing can be said: the region is ignored.
    box : tuple of float or None
        ``x, y, width, height`` in stored pixels.
    point : tuple of float or None
        ``x, y`` of a labelled centre; either this or `box` is given.
    polygons : tuple of ndarray of float, each of shape (k, 2)
        The mask, if there is one.
    made : bool
        Whether the mask was made by a program.
    """

    cell_class: CellClass | None
    box: Box | None = None
    point: tuple[float, float] | None = None
    polygons: tuple[NDArray[np.float64], ...] = ()
    made: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class DataImage:
    """One image of a data set; lengths are in stored pixels.

    Attributes
    ----------
    path : Path
    name : str
        Path below the folder of images.
    sha256 : str
        Hex digest of the file's bytes.
    group : str
        What must never be split.
    width, height : int
    labels : tuple of Label
    twins : tuple of str
        Names of other files with the same bytes, whose labels are merged into these.
    """

    path: Path
    name: str
    sha256: str
    group: str
    width: int
    height: int
    labels: tuple[Label, ...]
    twins: tuple[str, ...] = ()

    @property
    def is_pointed(self) -> bool:
        """Whether cells are labelled by their centres and no mask was grown yet."""
        return any(label.point is not None for label in self.labels)

    @property
    def labelled(self) -> LabelledImage:
        """The same for training and evaluation.

        Raises
        ------
        DatasetError
            There are points without a box.
        """
        if self.is_pointed:
            raise DatasetError(f"{self.name} is labelled by points only; `sphero dataset masks` grows boxes and masks")
        cells = [label for label in self.labels if label.cell_class is not None]
        return LabelledImage(
            path=self.path,
            name=self.name,
            group=self.group,
            width=self.width,
            height=self.height,
            boxes=np.asarray([label.box for label in cells], np.float64).reshape(-1, 4),
            classes=tuple(label.cell_class for label in cells if label.cell_class is not None),
            polygons=tuple(label.polygons for label in cells),
            ignored=tuple(
                outline
                for label in self.labels
                if label.cell_class is None and label.box is not None
                for outline in label.polygons or (corners_of(label.box),)
            ),
            made=any(label.made for label in self.labels),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A data set.

    Attributes
    ----------
    name, licence : str
    pixel_aspect : float
        Display width over height of one stored pixel.
    images : tuple of DataImage
        Each content once.
    """

    name: str
    licence: str
    pixel_aspect: float
    images: tuple[DataImage, ...]


def labels_of(image: LabelledImage) -> tuple[Label, ...]:
    """The labels of an image that was read or grown."""
    cells = tuple(
        Label(cell_class, _box(box), None, polygons)
        for cell_class, box, polygons in zip(image.classes, image.boxes, image.polygons, strict=True)
    )
    return cells + tuple(Label(None, _extent(outline), None, (outline,)) for outline in image.ignored)


def write_dataset(folder: Path, dataset: Dataset, images: Path, file_name: str = ANNOTATIONS) -> Path:
    """Write a data set's COCO file.

    Parameters
    ----------
    folder : Path
        Made if missing.
    dataset : Dataset
    images : Path
        The folder that the images' names start from.
    file_name : str
        `ANNOTATIONS` or `MASKS`.

    Returns
    -------
    Path
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base, root = folder.resolve(), images.resolve()
    place = root.relative_to(base).as_posix() if root.is_relative_to(base) else str(root)
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(dataset.images, start=1):
        for label in image.labels:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **_annotation(label)})
    document = {
        "info": {
            "schema": SCHEMA,
            "name": dataset.name,
            "licence": dataset.licence,
            "pixel_aspect": dataset.pixel_aspect,
            "images": place,
        },
        "licenses": [{"id": 1, "name": dataset.licence}] if dataset.licence else [],
        "categories": [
            *({"id": number, "name": name.value} for name, number in COCO_CATEGORIES.items()),
            {"id": _IGNORED_ID, "name": IGNORED},
        ],
        "images": [_image_entry(number, image) for number, image in enumerate(dataset.images, start=1)],
        "annotations": annotations,
    }
    path = folder / file_name
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")
    return path


def read_dataset(folder: Path, *, masks: bool = False) -> Dataset:
    """Read a data set from its folder.

    Parameters
    ----------
    folder : Path
    masks : bool
        Read `MASKS` where it is there, else `ANNOTATIONS`.

    Raises
    ------
    DatasetError
        There is no data set, or an image of it is missing.
    """
    path = folder / (MASKS if masks and (folder / MASKS).is_file() else ANNOTATIONS)
    if not path.is_file():
        raise DatasetError(f"the folder holds no {ANNOTATIONS}; `sphero dataset import` makes one")
    document = load_coco(path)
    info = document.get("info", {})
    if info.get("schema") != SCHEMA:
        raise DatasetError(
            f"{path.name} is not of this program's layout; `sphero dataset import` reads other COCO files"
        )
    root = folder / str(info["images"])  # an absolute path stays what it is
    names = {int(c["id"]): class_from_name(str(c["name"])) for c in document["categories"]}
    labels: dict[int, list[Label]] = {int(entry["id"]): [] for entry in document["images"]}
    for annotation in document["annotations"]:
        labels[int(annotation["image_id"])].append(_label(annotation, names))
    images = tuple(_read_image_entry(root, entry, labels[int(entry["id"])]) for entry in document["images"])
    return Dataset(str(info["name"]), str(info.get("licence", "")), float(info["pixel_aspect"]), images)


def images_root(folder: Path) -> Path:
    """The folder that the names of a data set's images start from."""
    return folder / str(load_coco(folder / ANNOTATIONS)["info"]["images"])


def changed_images(images: Sequence[DataImage]) -> list[str]:
    """Names of the images whose files are no longer what was imported."""
    return [image.name for image in images if file_sha256(image.path) != image.sha256]


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _image_entry(number: int, image: DataImage) -> dict[str, Any]:
    entry = {"id": number, "file_name": image.name, "width": image.width, "height": image.height}
    return {**entry, "sha256": image.sha256, "group": image.group, "twins": list(image.twins)}


def _read_image_entry(root: Path, entry: Mapping[str, Any], labels: Sequence[Label]) -> DataImage:
    name = str(entry["file_name"])
    path = image_path(root, name)
    if path is None:
        raise DatasetError(f"image {name} of the data set is gone; bring it back or import the data set again")
    return DataImage(
        path=path,
        name=name,
        sha256=str(entry["sha256"]),
        group=str(entry["group"]),
        width=int(entry["width"]),
        height=int(entry["height"]),
        labels=tuple(labels),
        twins=tuple(str(twin) for twin in entry.get("twins", ())),
    )


def _annotation(label: Label) -> dict[str, Any]:
    category = _IGNORED_ID if label.cell_class is None else COCO_CATEGORIES[label.cell_class]
    common: dict[str, Any] = {"category_id": category, "iscrowd": int(label.cell_class is None)}
    if label.made:
        common["made"] = True
    if label.point is not None:
        x, y = (round(float(v), 2) for v in label.point)
        return {
            **common, "bbox": [x, y, 0, 0], "area": 0, "segmentation": [], "keypoints": [x, y, 2], "num_keypoints": 1,
        }  # fmt: skip
    if label.box is None:
        raise ValueError("a label needs a box or a point")
    outlines = [np.round(outline, 2) for outline in label.polygons]
    area = sum(float(cv2.contourArea(outline.astype(np.float32))) for outline in outlines)
    return {
        **common,
        "bbox": [round(float(v), 2) for v in label.box],
        "area": round(area if outlines else float(label.box[2] * label.box[3]), 2),
        "segmentation": [outline.ravel().tolist() for outline in outlines],
    }


def _label(annotation: Mapping[str, Any], names: Mapping[int, CellClass | None]) -> Label:
    cell_class = names.get(int(annotation["category_id"]))
    if annotation.get("num_keypoints"):
        x, y = (float(v) for v in annotation["keypoints"][:2])
        return Label(cell_class, point=(x, y))
    box = _box(annotation["bbox"])
    polygons = true_polygons(annotation.get("segmentation"), box)
    return Label(cell_class, box, None, polygons, bool(annotation.get("made")))


def _box(values: Sequence[float] | NDArray[np.float64]) -> Box:
    x, y, width, height = (float(v) for v in values)
    return x, y, width, height


def _extent(outline: NDArray[np.float64]) -> Box:
    low, high = outline.min(axis=0), outline.max(axis=0)
    return _box([*low, *(high - low)])
