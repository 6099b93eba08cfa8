"""Import of foreign labels: COCO and Roboflow exports, and labelled cell centres; each content once, each image in its group.

What becomes of files with the same bytes: `sphero_core.datasets.twins`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from sphero_core.datasets.coco import (
    IGNORED,
    LabelledImage,
    class_from_name,
    is_box,
    load_coco,
    read_coco,
)
from sphero_core.datasets.groups import block_of, number_of, source_of
from sphero_core.datasets.layout import DataImage, Label, file_sha256, labels_of
from sphero_core.datasets.problems import Problem
from sphero_core.datasets.twins import merge_boxes, merge_points, merge_twins
from sphero_core.errors import DatasetError, ImageError
from sphero_core.evaluation.points import CHULA_CLASSES, IMAGE_SUFFIXES, read_points
from sphero_core.image import probe_image
from sphero_core.types import CellClass

ROBOFLOW_FILE = "_annotations.coco.json"

Tick = Callable[[], None]


class GroupBy(StrEnum):
    """What the group of an image comes from."""

    AUTO = "auto"
    PATIENT = "patient"
    BLOCK = "block"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Grouping:
    """How images are grouped.

    Attributes
    ----------
    by : GroupBy
        ``auto``: the patient that the labels name, else the block for points, else the image itself.
    pattern : str
        A regular expression that finds the group in a file's name; its first group, or the whole match. Comes before `by`.
    """

    by: GroupBy = GroupBy.AUTO
    pattern: str = ""

    def group_of(self, name: str, patient: str, *, numbered: bool) -> str:
        """The group of an image.

        Raises
        ------
        DatasetError
            The labels name no patient, or the pattern does not match, where one was asked for.
        """
        if self.pattern:
            found = re.search(self.pattern, name)
            if found is None:
                raise DatasetError(f"the pattern of groups matches nothing in {name}; correct it, or leave it out")
            return found.group(1) if found.groups() else found.group()
        if self.by is GroupBy.PATIENT and not patient:
            raise DatasetError(f"the labels name no patient for {name}; group by block or image, or by a pattern")
        if patient and self.by in (GroupBy.AUTO, GroupBy.PATIENT):
            return patient
        if self.by is GroupBy.BLOCK or (self.by is GroupBy.AUTO and numbered):
            return block_of(Path(name).stem)
        return source_of(Path(name).name)


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """What an import gives.

    Attributes
    ----------
    images : tuple of DataImage
    root : Path
        The folder that the images' names start from.
    problems : tuple of Problem
        What was seen on the way.
    """

    images: tuple[DataImage, ...]
    root: Path
    problems: tuple[Problem, ...]


def find_exports(folder: Path) -> list[Path]:
    """The annotation files of a Roboflow export: one in the folder, or one in each of ``train``, ``valid`` and ``test``.

    Raises
    ------
    DatasetError
        There is none.
    """
    found = sorted(folder.rglob(ROBOFLOW_FILE))
    if not found:
        raise DatasetError(f"the folder holds no {ROBOFLOW_FILE}; export as COCO, or give --images and --coco")
    return found


def import_coco(
    root: Path, files: Sequence[tuple[Path, Path]], grouping: Grouping = Grouping(), tick: Tick = lambda: None
) -> Imported:
    """Import COCO files.

    Parameters
    ----------
    root : Path
        The folder that images are named from.
    files : sequence of (Path, Path)
        Folder of images below `root`, and the COCO file of these.
    grouping : Grouping
    tick : callable
        Called after each image.

    Raises
    ------
    DatasetError
        A file is no COCO file, no image is left, or images cannot be grouped as asked.
    """
    missing: list[str] = []
    problems: list[Problem] = []
    found: list[tuple[DataImage, bool]] = []
    for folder, file in files:
        problems += _problems_of_document(file)
        for label in read_coco(folder, file, missing.append):
            found.append((_image_of(root, label, grouping), bool(label.group)))
            tick()
    if missing:
        problems.append(
            Problem(
                "missing_image", f"{len(missing)} images are named but not there; they are left out", tuple(missing)
            )
        )
    images, refused = _readable([image for image, _ in found])
    problems += refused
    merged, twins = merge_twins(images, lambda group: group[0].labels if len(group) == 1 else merge_boxes(group))
    problems += twins
    if not grouping.pattern and grouping.by is GroupBy.AUTO and not all(named for _, named in found):
        problems.append(
            Problem(
                "no_patient",
                "the labels name no patient: each image is a group of its own, and images of one patient may be on both "
                "sides of a split; name the groups by --group-pattern or --group-by block",
            )
        )
    return _finished(merged, root, problems)


def import_points(
    images: Path,
    labels: Path,
    classes: Mapping[str, CellClass | None] = CHULA_CLASSES,
    grouping: Grouping = Grouping(),
    tick: Tick = lambda: None,
) -> Imported:
    """Import a folder of label files, lines ``x y class``, and one of images of the same names.

    Parameters
    ----------
    images, labels : Path
    classes : mapping
        As of `sphero_core.evaluation.points.read_points`.
    grouping : Grouping
    tick : callable
        Called after each image.

    Raises
    ------
    DatasetError
        There is no label file, one cannot be read, no image is left, or images cannot be grouped as asked.
    """
    paths = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.casefold() in IMAGE_SUFFIXES}
    files = sorted(labels.glob("*.txt"), key=lambda path: (number_of(path.stem), path.stem))
    if not files:
        raise DatasetError("the folder of points holds no .txt file; give one for each image, with lines 'x y class'")
    lost = tuple(file.name for file in files if file.stem not in paths)
    bare = tuple(sorted(path.name for stem, path in paths.items() if not (labels / f"{stem}.txt").is_file()))
    problems = []
    if lost:
        problems.append(Problem("missing_image", f"{len(lost)} label files have no image; they are left out", lost))
    if bare:
        problems.append(Problem("no_label_file", f"{len(bare)} images have no label file; they are left out", bare))
    found = []
    for file in files:
        if file.stem not in paths:
            continue
        points, path = read_points(file, classes), paths[file.stem]
        places = [
            Label(cell_class, point=(float(x), float(y)))
            for (x, y), cell_class in zip(points.places, points.classes, strict=True)
        ]
        group = grouping.group_of(path.name, "", numbered=True)
        found.append(DataImage(path, path.name, file_sha256(path), group, 0, 0, tuple(places)))
        tick()
    readable, refused = _readable(found)
    merged, twins = merge_twins(readable, merge_points)
    return _finished(merged, images, [*problems, *refused, *twins])


def _image_of(root: Path, label: LabelledImage, grouping: Grouping) -> DataImage:
    name = label.path.resolve().relative_to(root.resolve()).as_posix()
    group = grouping.group_of(name, label.group, numbered=False)
    return DataImage(label.path, name, file_sha256(label.path), group, label.width, label.height, labels_of(label))


def _readable(images: Sequence[DataImage]) -> tuple[list[DataImage], list[Problem]]:
    """Those whose header can be read, with their true size; labels of another size than the image's are brought to it."""
    kept, damaged, resized = [], [], []
    for image in images:
        try:
            header = probe_image(image.path)
        except ImageError:
            damaged.append(image.name)
            continue
        if image.width and (image.width, image.height) != (header.width, header.height):
            resized.append(image.name)
            continue
        kept.append(replace(image, width=header.width, height=header.height))
    problems = []
    if damaged:
        text = f"{len(damaged)} images cannot be read; they are left out"
        problems.append(Problem("damaged_image", text, tuple(damaged)))
    if resized:
        text = f"{len(resized)} images are of another size than their labels say; they are left out: export both again"
        problems.append(Problem("other_size", text, tuple(resized)))
    return kept, problems


def _problems_of_document(annotations: Path) -> list[Problem]:
    document = load_coco(annotations)
    names = {int(c["id"]): str(c["name"]) for c in document["categories"]}
    counts = Counter(names.get(int(a["category_id"]), "?") for a in document["annotations"])
    found = []
    unknown = [f"{name} ({counts[name]})" for name in counts if not class_from_name(name) and name != IGNORED]
    if unknown:
        text = f"categories that are not known here are left out, with their labels: {', '.join(sorted(unknown))}"
        found.append(Problem("unknown_category", text))
    polygons = [
        is_box(np.asarray(flat, np.float64).reshape(-1, 2), tuple(float(v) for v in a["bbox"]))  # type: ignore[arg-type]
        for a in document["annotations"]
        if isinstance(a.get("segmentation"), list)
        for flat in a["segmentation"]
        if len(flat) >= 6
    ]
    if polygons and sum(polygons):
        text = (
            f"{sum(polygons)} of {len(polygons)} polygons are only the corners of their box and no masks; "
            "`sphero dataset masks` makes masks of boxes"
        )
        found.append(Problem("box_polygons", text))
    return found


def _finished(images: Sequence[DataImage], root: Path, problems: Sequence[Problem]) -> Imported:
    if not images:
        raise DatasetError("no image is left to import; " + "; ".join(problem.text for problem in problems))
    return Imported(tuple(images), root, tuple(problems))
