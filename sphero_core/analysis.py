"""From pixels to cells: one field through the network, one cell one class, measured.

The order for a case: `measure_cell_diameters` on each field, `case_cell_diameter` over them, `analyse_field` on each field,
`relate_to_case` over the findings.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sphero_core.bundle import Thresholds
from sphero_core.detector import MAX_CANDIDATES, Candidates, Detector
from sphero_core.judge import judge_cells
from sphero_core.morphology import in_field_pixels, measure_cells
from sphero_core.tiling import Tile, TilePlan, plan_tiles
from sphero_core.turning import usual_turn
from sphero_core.types import Cell, CellClass, FieldFindings, FieldImage

#: Two masks that overlap more than this are one cell (Mask R-CNN's and COCO's usual criterion).
SAME_CELL_IOU = 0.5
#: A mask that lies within another by more than this share is a part of that cell.
PART_OF_CELL = 0.8
#: A cell this close to the field's edge is cut by it, in pixels of the pass.
BORDER_PIXELS = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A candidate in field coordinates, before and after the thresholds are looked at.

    Attributes
    ----------
    box : tuple of float
        ``x0, y0, x1, y1`` in field pixels.
    probabilities : tuple of float
        Of RBC, Spherocyte, Platelet, WBC.
    mask : ndarray of float32, shape (side, side)
        Over the box.
    """

    box: tuple[float, float, float, float]
    probabilities: tuple[float, float, float, float]
    mask: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Called:
    """What the network called in one field.

    Attributes
    ----------
    cells : list of Cell
        Measured, lengths in pixels of the picture that was analysed; sorted by place, top to bottom.
    passes : int
        Of the network.
    saturated : bool
        Whether a pass gave as many candidates as it can.
    """

    cells: list[Cell]
    passes: int
    saturated: bool


def analyse_field(
    detector: Detector,
    image: FieldImage,
    cell_diameter_px: float,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> FieldFindings:
    """Find and measure every cell of a field.

    Parameters
    ----------
    detector : Detector
    image : FieldImage
    cell_diameter_px : float
        Median cell diameter of the case in pixels of this field in true proportion; see `sphero_core.scale`.
    clock : callable
        Seconds, monotonic.

    Returns
    -------
    FieldFindings
        Cells sorted by their place, top to bottom; measures relative to the case are still NaN, see `relate_to_case`.
    """
    started = clock()
    called = cells_of(detector, image, cell_diameter_px, detector.thresholds)
    cells = in_field_pixels(called.cells, image.reduction)
    threshold = detector.thresholds.spherocyte
    cells = judge_cells(cells, detector.judge, threshold, cell_diameter_px, detector.calibration)
    return FieldFindings(
        cells=tuple(cells),
        width=image.width,
        height=image.height,
        cell_diameter_px=cell_diameter_px,
        passes=called.passes,
        seconds=clock() - started,
        saturated=called.saturated,
    )


def cells_of(detector: Detector, image: FieldImage, cell_diameter_px: float, thresholds: Thresholds) -> Called:
    """The measured cells of a field by the network alone, analysed in the field's usual view (`sphero_core.turning`).

    Parameters
    ----------
    detector : Detector
    image : FieldImage
    cell_diameter_px : float
        As of `analyse_field`.
    thresholds : Thresholds
        The detector's, or lower ones where candidates are wanted.
    """
    turn = usual_turn(image.pixels)
    view = replace(image, pixels=turn.apply(image.pixels))
    plan = plan_tiles(view.width, view.height, cell_diameter_px / image.reduction, detector.input)
    found, saturated = find(detector, view.pixels, plan)
    cells = measure_cells(view.pixels, call_cells(found, thresholds, view, plan.scale))
    return Called(_by_place(turn.undo(cells, view.width, view.height)), len(plan.tiles), saturated)


def find(detector: Detector, pixels: NDArray[np.uint8], plan: TilePlan) -> tuple[list[Found], bool]:
    """Every candidate of a field, in field pixels, and whether a pass was saturated."""
    scaled = _resized(pixels, plan)
    filling = _background(scaled)
    found: list[Found] = []
    saturated = False
    for tile in plan.tiles:
        window = scaled[tile.y : tile.y + detector.input.height, tile.x : tile.x + detector.input.width]
        canvas = np.empty((detector.input.height, detector.input.width, 3), np.uint8)
        canvas[:] = filling
        canvas[: window.shape[0], : window.shape[1]] = window
        candidates = detector.forward(canvas)
        saturated |= len(candidates.boxes) >= MAX_CANDIDATES
        found.extend(_of_tile(candidates, tile, plan, pixels.shape[1], pixels.shape[0]))
    return found, saturated


def _resized(pixels: NDArray[np.uint8], plan: TilePlan) -> NDArray[np.uint8]:
    """The field at the size the network sees it; a large one is halved first, which is faster and gives the same but for rounding."""
    interpolation = cv2.INTER_AREA if plan.scale < 1 else cv2.INTER_LINEAR
    while pixels.shape[1] >= 4 * plan.width and not (pixels.shape[0] % 2 or pixels.shape[1] % 2):
        pixels = np.asarray(
            cv2.resize(pixels, (pixels.shape[1] // 2, pixels.shape[0] // 2), interpolation=cv2.INTER_AREA), np.uint8
        )
    return np.asarray(cv2.resize(pixels, (plan.width, plan.height), interpolation=interpolation), np.uint8)


def _of_tile(candidates: Candidates, tile: Tile, plan: TilePlan, width: int, height: int) -> list[Found]:
    across, down = width / plan.width, height / plan.height
    found = []
    for (y0, x0, y1, x1), probabilities, mask in zip(
        candidates.boxes.tolist(), candidates.probabilities.tolist(), candidates.masks, strict=True
    ):
        cx, cy = tile.x + (x0 + x1) / 2, tile.y + (y0 + y1) / 2
        if x1 - x0 < 2 or y1 - y0 < 2 or not tile.owns(cx, cy) or cx >= plan.width or cy >= plan.height:
            continue
        box = ((tile.x + x0) * across, (tile.y + y0) * down, (tile.x + x1) * across, (tile.y + y1) * down)
        found.append(Found(box, (probabilities[0], probabilities[1], probabilities[2], probabilities[3]), mask))
    return found


def _background(scaled: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The smear's colour without a cell, to fill a pass beyond the field's edge; as in training."""
    flat = scaled[::4, ::4].reshape(-1, 3)
    bright = flat[flat[:, 1] >= np.quantile(flat[:, 1], 0.67)]
    return np.asarray(np.median(bright, axis=0), np.uint8)


def call_cells(found: list[Found], thresholds: Thresholds, image: FieldImage, scale: float) -> list[Cell]:
    """Candidates above their threshold as cells: one cell, one class, no cell twice.

    Parameters
    ----------
    found : list of Found
    thresholds : Thresholds
    image : FieldImage
    scale : float
        Network pixels per field pixel; sets how close to the edge a cut cell is.

    Returns
    -------
    list of Cell
        No two with a mask IoU above `SAME_CELL_IOU`, sorted by place.
    """
    called: list[Cell] = []
    for candidate in sorted(found, key=_certainty, reverse=True):
        decision = _decide(candidate.probabilities, thresholds)
        if decision is None:
            continue
        cell = _paste(candidate, decision, image, BORDER_PIXELS / scale)
        if cell is not None and not any(_same(cell, other) for other in called):
            called.append(cell)
    called = _flag_overlaps(called, reach=max(1, round(1.0 / scale)))
    return _by_place(called)


def _by_place(cells: list[Cell]) -> list[Cell]:
    return sorted(cells, key=lambda cell: (cell.y + cell.mask.shape[0] / 2, cell.x))


def _certainty(candidate: Found) -> float:
    rbc, spherocyte, platelet, wbc = candidate.probabilities
    return max(rbc + spherocyte, platelet, wbc)


def _decide(
    probabilities: tuple[float, float, float, float], thresholds: Thresholds
) -> tuple[CellClass, float, float] | None:
    """Class, its probability and the red-cell score; None below every threshold."""
    rbc, spherocyte, platelet, wbc = probabilities
    red = rbc + spherocyte
    if red >= max(platelet, wbc):
        if red < thresholds.red_cell:
            return None
        if spherocyte >= thresholds.spherocyte:
            return CellClass.SPHEROCYTE, spherocyte, red
        return CellClass.RBC, rbc, red
    cell_class, score, threshold = (
        (CellClass.PLATELET, platelet, thresholds.platelet) if platelet >= wbc else (CellClass.WBC, wbc, thresholds.wbc)
    )
    return (cell_class, score, red) if score >= threshold else None


def _paste(candidate: Found, decision: tuple[CellClass, float, float], image: FieldImage, margin: float) -> Cell | None:
    """Draw a candidate's mask at field resolution; None if nothing of it lies in the field."""
    x0, y0, x1, y1 = candidate.box
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    right, bottom = min(image.width, int(np.ceil(x1))), min(image.height, int(np.ceil(y1)))
    if right - left < 2 or bottom - top < 2:
        return None
    side_y, side_x = candidate.mask.shape
    fx, fy = side_x / (x1 - x0), side_y / (y1 - y0)
    # Pixel centres lie at halves: field pixel u maps to (u + 0.5 - x0) * fx - 0.5 in the small mask.
    matrix = np.array([[fx, 0, (left + 0.5 - x0) * fx - 0.5], [0, fy, (top + 0.5 - y0) * fy - 0.5]])
    drawn = cv2.warpAffine(
        candidate.mask,
        matrix,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    piece = _largest_piece(drawn >= 0.5)
    if piece is None:
        return None
    offset_x, offset_y, mask = piece
    x, y = left + offset_x, top + offset_y
    cut = (
        x <= margin
        or y <= margin
        or x + mask.shape[1] >= image.width - margin
        or y + mask.shape[0] >= image.height - margin
    )
    cell_class, score, red = decision
    return Cell(cell_class, float(score), float(red), x, y, mask, touches_border=cut)


def _largest_piece(mask: NDArray[np.bool_]) -> tuple[int, int, NDArray[np.bool_]] | None:
    """The largest connected piece of a mask, tightly cropped, with its offset ``x, y``."""
    bits = mask.view(np.uint8)
    outlines, _ = cv2.findContours(bits, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return None
    if len(outlines) == 1:  # nearly always, and some ten times faster than labelling every pixel
        x, y, w, h = cv2.boundingRect(outlines[0])
        return x, y, np.ascontiguousarray(mask[y : y + h, x : x + w])
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bits, connectivity=8)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    x, y, w, h = (int(v) for v in stats[largest, :4])
    return x, y, np.ascontiguousarray(labels[y : y + h, x : x + w] == largest)


def _same(cell: Cell, other: Cell) -> bool:
    """Whether two masks are the same cell, or a part of it."""
    shared = intersection(cell, other)
    if shared == 0:
        return False
    first, second = int(cell.mask.sum()), int(other.mask.sum())
    if shared / (first + second - shared) > SAME_CELL_IOU:
        return True
    both_red = cell.cell_class.is_red_cell and other.cell_class.is_red_cell
    return both_red and shared / min(first, second) > PART_OF_CELL


def intersection(cell: Cell, other: Cell) -> int:
    """Pixels that two cells share."""
    x0, y0 = max(cell.x, other.x), max(cell.y, other.y)
    x1 = min(cell.x + cell.mask.shape[1], other.x + other.mask.shape[1])
    y1 = min(cell.y + cell.mask.shape[0], other.y + other.mask.shape[0])
    if x1 <= x0 or y1 <= y0:
        return 0
    first = cell.mask[y0 - cell.y : y1 - cell.y, x0 - cell.x : x1 - cell.x]
    second = other.mask[y0 - other.y : y1 - other.y, x0 - other.x : x1 - other.x]
    return int(np.count_nonzero(first & second))


def _flag_overlaps(cells: list[Cell], reach: int) -> list[Cell]:
    """Flag cells whose masks touch or overlap when one of them is grown by `reach` pixels."""
    touching: set[int] = set()
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)).astype(np.uint8)
    for i, cell in enumerate(cells):
        for j in range(i + 1, len(cells)):
            if _boxes_near(cell, cells[j], reach) and _touch(cell, cells[j], reach, disc):
                touching.update((i, j))
    return [replace(cell, overlaps=i in touching) for i, cell in enumerate(cells)]


def _touch(cell: Cell, other: Cell, reach: int, disc: NDArray[np.uint8]) -> bool:
    """Whether a cell grown by `reach` shares a pixel with another; looks only where their boxes are near."""
    x, y, width, height = other.box
    x0, y0 = max(cell.x, x - reach), max(cell.y, y - reach)
    x1, y1 = min(cell.x + cell.mask.shape[1], x + width + reach), min(cell.y + cell.mask.shape[0], y + height + reach)
    window = cell.mask[y0 - cell.y : y1 - cell.y, x0 - cell.x : x1 - cell.x].view(np.uint8)
    grown = cv2.dilate(np.pad(window, reach), disc).view(np.bool_)
    return intersection(replace(cell, x=x0 - reach, y=y0 - reach, mask=grown), other) > 0


def _boxes_near(cell: Cell, other: Cell, reach: int) -> bool:
    x, y, w, h = cell.box
    ox, oy, ow, oh = other.box
    return x - reach < ox + ow and ox < x + w + reach and y - reach < oy + oh and oy < y + h + reach
