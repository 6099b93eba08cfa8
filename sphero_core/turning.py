"""The same picture, however it was turned: which of its eight views is analysed, and the way back.

A square can be turned and mirrored in eight ways, and a network's opinion of a cell near its threshold changes a little between them. So that
a picture that was turned by quarters or mirrored gives the same counts, it is first brought to one view that its own content chooses: the longer
side across, and more light on the right and in the lower half than on the other side. What is found is turned back without being resampled.

This makes a result repeatable. It makes no network less sensitive: see deploy/decisions/0018-one-view-of-a-field.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.types import Cell


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to turn a picture; rows and columns are exchanged first, then it is mirrored.

    Attributes
    ----------
    transposed : bool
        Rows become columns.
    across, down : bool
        Mirrored left to right, top to bottom.
    """

    transposed: bool
    across: bool
    down: bool

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture turned, in memory of its own unless nothing changes."""
        turned = cv2.transpose(pixels) if self.transposed else pixels
        if self.across or self.down:
            turned = cv2.flip(turned, -1 if self.across and self.down else 1 if self.across else 0)
        return np.asarray(turned, np.uint8)

    def undo(self, cells: Sequence[Cell], width: int, height: int) -> list[Cell]:
        """Cells of the turned picture where they lie in the picture as it came, pixel for pixel.

        Parameters
        ----------
        cells : sequence of Cell
        width, height : int
            Of the turned picture.
        """
        return [self._undone(cell, width, height) for cell in cells]

    def _undone(self, cell: Cell, width: int, height: int) -> Cell:
        x, y, w, h = cell.box
        mask = cell.mask
        if self.across:
            x, mask = width - x - w, mask[:, ::-1]
        if self.down:
            y, mask = height - y - h, mask[::-1]
        if self.transposed:
            x, y, mask = y, x, mask.T
        return replace(cell, x=x, y=y, mask=np.ascontiguousarray(mask))


def usual_turn(pixels: NDArray[np.uint8]) -> Turn:
    """The turn that brings a picture to its usual view, the same one from each of its eight.

    The first moments of green, where cells are dark, decide. They are reckoned in whole numbers, so that no rounding tells two views of a picture
    apart, and they hardly move with noise or compression. A moment of exactly 0, as in a blank or a symmetric picture, turns nothing.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB.
    """
    green = cv2.extractChannel(pixels, 1)
    across = _moment(cv2.reduce(green, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S))
    down = _moment(cv2.reduce(green, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S))
    height, width = green.shape
    transposed = height > width or (height == width and abs(down) > abs(across))
    if transposed:
        across, down = down, across
    return Turn(transposed, across < 0, down < 0)


def usual_view(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture in its usual view, for what has no direction: sizes, figures of quality."""
    return usual_turn(pixels).apply(pixels)


def _moment(sums: NDArray[Any]) -> int:
    """Of the sums of rows or columns about their middle, times two."""
    light = sums.ravel().astype(np.int64)
    return int(np.dot(light, 2 * np.arange(len(light), dtype=np.int64) - (len(light) - 1)))
