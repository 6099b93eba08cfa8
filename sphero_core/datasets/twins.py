"""Files with the same bytes are one image: their labels are merged, and the groups they lie in become one.

Where the labels of twins contradict each other on one cell, nobody can say which is right, and that cell is ignored. A cell that
only one of them labels keeps its label. Files that Roboflow made of one image by augmentation differ in their bytes but show the
same cells: they stay, in one group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from sphero_core.datasets.groups import join_groups, source_of
from sphero_core.datasets.ignored import usual_diameter
from sphero_core.datasets.layout import DataImage, Label
from sphero_core.datasets.points import merge_labels
from sphero_core.datasets.problems import Problem
from sphero_core.evaluation.points import LabelledPoints
from sphero_core.image import read_image

#: Boxes of twins that overlap by more than this (intersection over union) label the same cell.
SAME_BOX = 0.5


def merge_twins(
    images: Sequence[DataImage], merge: Callable[[Sequence[DataImage]], tuple[Label, ...]]
) -> tuple[list[DataImage], list[Problem]]:
    """Keep each content once, join the groups that share one, and tell what the twins' labels say."""
    by_content: dict[str, list[DataImage]] = defaultdict(list)
    for image in images:
        by_content[image.sha256].append(image)
    groups = join_groups([image.group for image in same] for same in by_content.values())
    # Files that Roboflow made of one image have other bytes, yet show the same cells.
    by_source: dict[str, list[str]] = defaultdict(list)
    for image in images:
        name = image.name.rsplit("/", 1)[-1]
        by_source[source_of(name) if source_of(name) != name else image.sha256].append(groups[image.group])
    groups_of_sources = join_groups(by_source.values())
    merged = [
        replace(
            same[0],
            labels=merge(same),
            group=groups_of_sources[groups[same[0].group]],
            twins=tuple(image.name for image in same[1:]),
        )
        for same in by_content.values()
    ]
    problems = _problems_of_twins(by_content, merged)
    copies = sum(len(of_source) - 1 for source, of_source in by_source.items() if source not in by_content)
    if copies:
        text = f"{copies} files are augmented copies of other files; they lie in one group with them"
        problems.append(Problem("augmented_copies", text))
    joined = sorted({group for group, first in (groups | groups_of_sources).items() if group != first})
    if joined:
        text = f"groups share images and were joined: {', '.join(joined)} went into others"
        problems.append(Problem("joined_groups", text))
    return merged, problems


def _problems_of_twins(by_content: Mapping[str, Sequence[DataImage]], merged: Sequence[DataImage]) -> list[Problem]:
    pairs = [(same, image) for same, image in zip(by_content.values(), merged, strict=True) if len(same) > 1]
    if not pairs:
        return []
    disputed = sum(sum(label.cell_class is None for label in image.labels) for _, image in pairs)
    before = sum(sum(label.cell_class is None for label in image.labels) for same, _ in pairs for image in same)
    both = sum(sum(len(image.labels) for image in same) - len(image.labels) for same, image in pairs)
    text = f"{sum(len(same) - 1 for same, _ in pairs)} files have the same bytes as another; each content is kept once"
    if both:
        contradicted = max(disputed - before, 0)
        text += (
            f"; of {both} cells that both label, the classes agree on {100 * (1 - contradicted / both):.0f} %, "
            "and the others are ignored"
        )
    return [Problem("duplicates", text, tuple(" = ".join(image.name for image in same) for same, _ in pairs))]


def merge_boxes(twins: Sequence[DataImage]) -> tuple[Label, ...]:
    """The labels of images with the same bytes; cells on which they contradict each other are ignored."""
    merged: list[Label] = []
    for image in twins:
        free = set(range(len(merged)))  # two boxes of one file are two cells
        for label in image.labels:
            overlaps = {index: _overlap(merged[index], label) for index in free}
            best = max(overlaps, key=overlaps.__getitem__, default=None)
            if best is None or overlaps[best] <= SAME_BOX:
                merged.append(label)
                continue
            free.discard(best)
            if merged[best].cell_class is not label.cell_class:
                merged[best] = replace(merged[best], cell_class=None)
    return tuple(merged)


def merge_points(twins: Sequence[DataImage]) -> tuple[Label, ...]:
    """The points of images with the same bytes, as `sphero_core.datasets.points.merge_labels` merges them."""
    if len(twins) == 1:
        return twins[0].labels
    sets = [
        LabelledPoints(
            np.array([label.point for label in image.labels], np.float64).reshape(-1, 2),
            tuple(label.cell_class for label in image.labels if label.cell_class is not None),
        )
        for image in twins
    ]
    places, classes = merge_labels(sets, usual_diameter(read_image(twins[0].path).pixels))
    return tuple(Label(name, point=(float(x), float(y))) for (x, y), name in zip(places, classes, strict=True))


def _overlap(one: Label, other: Label) -> float:
    if one.box is None or other.box is None:
        return 0.0
    ax, ay, aw, ah = one.box
    bx, by, bw, bh = other.box
    shared = max(0.0, min(ax + aw, bx + bw) - max(ax, bx)) * max(0.0, min(ay + ah, by + bh) - max(ay, by))
    return shared / max(aw * ah + bw * bh - shared, 1e-9)
