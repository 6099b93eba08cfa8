"""Masks for labels that have none: grown from points, or cut out by boxes; and what is ignored beside them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.growing import grow_masks
from sphero_core.datasets.ignored import with_ignored
from sphero_core.datasets.layout import DataImage, labels_of
from sphero_core.datasets.masks import masks_from_boxes, outline_of
from sphero_core.datasets.points import label_grown
from sphero_core.image import read_image

#: How far a made outline may run from the mask it was traced on, in stored pixels.
TOLERANCE = 0.4


def with_masks(image: DataImage, *, pixel_aspect: float = 1.0) -> DataImage:
    """The same image with a mask for each cell, and an ignored region for all other foreground.

    Parameters
    ----------
    image : DataImage
        As labelled. Masks that a person drew stay.
    pixel_aspect : float
        Display width over height of one stored pixel; masks are made in true proportion.

    Returns
    -------
    DataImage
        Points whose mask cannot be believed are ignored regions; boxes stay as they were labelled.

    Raises
    ------
    ImageError
    """
    field = read_image(image.path, pixel_aspect=pixel_aspect)
    to_stored = np.array(field.to_stored)
    if image.is_pointed:
        pointed = [label for label in image.labels if label.point is not None]
        places = np.array([label.point for label in pointed], np.float64).reshape(-1, 2) / to_stored
        grown = grow_masks(field.pixels, places)
        labelled = label_grown(image.path, image.group, field, grown, [label.cell_class for label in pointed])
        polygons = tuple(tuple(map(_thin, of_cell)) for of_cell in labelled.polygons)
    else:
        labelled = with_ignored(image.labelled, field)
        made = masks_from_boxes(field.pixels, labelled.boxes / np.tile(to_stored, 2))
        polygons = tuple(
            drawn or (_thin(outline_of(mask.mask, mask.x, mask.y) * to_stored),)
            for drawn, mask in zip(labelled.polygons, made, strict=True)
        )
    drawn = [bool(of_cell) and not image.is_pointed for of_cell in labelled.polygons]
    ignored = tuple(_thin(outline) for outline in labelled.ignored)
    labels = labels_of(replace(labelled, polygons=polygons, ignored=ignored))
    cells = tuple(replace(label, made=not kept) for label, kept in zip(labels, drawn, strict=False))
    return replace(image, labels=cells + labels[len(drawn) :])


def _thin(outline: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same outline with fewer points, none farther than `TOLERANCE` from it."""
    points = cv2.approxPolyDP(outline.astype(np.float32)[:, None], TOLERANCE, True)[:, 0]
    return np.asarray(points if len(points) >= 3 else outline, np.float64)
