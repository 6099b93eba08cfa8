"""Stand-ins that tests put in place of what is slow: never a user's setting, always handed over at the process's start."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.model_child import ImageTask
from flows.overlay import encode_overlay
from sphero_core.errors import BundleError
from sphero_core.image import read_image
from sphero_core.types import BundleId, Cell, CellClass, CellMeasures, FieldFindings, FieldImage

FACTORY = "tests.fakes:load_engine"
BUNDLE = BundleId("fake", "1", "f" * 64)

CRASHES: tuple[int, int, int] = (255, 0, 0)
HANGS: tuple[int, int, int] = (0, 0, 255)
"""Pictures all of this colour end the fake's process, or make it hang."""
WAITS: tuple[int, int, int] = (0, 255, 0)
"""Pictures all of this colour are not done with before the gate is open."""


class FakeEngine:
    """Reads pictures as the real one does; its cells are made up from the picture's size and mean.

    Parameters
    ----------
    seconds : float
        What a field takes.
    gate : str
        A file; as long as it is there the gate is shut.
    """

    bundle = BUNDLE

    def __init__(self, live: Callable[[], None], seconds: float = 0.0, gate: str = "") -> None:
        self._live = live
        self._seconds = seconds
        self._gate = Path(gate) if gate else None

    def measure(self, task: ImageTask) -> NDArray[np.float64]:
        read_image(task.path, frame=task.frame, pixel_aspect=task.pixel_aspect)
        return np.full(20, 40.0)

    def analyse(self, task: ImageTask, cell_diameter_px: float | None) -> FieldFindings:
        image = read_image(task.path, frame=task.frame, pixel_aspect=task.pixel_aspect)
        colour = tuple(int(value) for value in image.pixels.reshape(-1, 3).mean(axis=0).round())
        if colour == CRASHES:
            os._exit(9)
        time.sleep(3600 if colour == HANGS else self._seconds)
        self._live()
        while colour == WAITS and self._gate is not None and self._gate.exists():
            time.sleep(0.02)
            self._live()
        return made_up_findings(image, cell_diameter_px or 40.0)

    def draw(self, task: ImageTask, findings: FieldFindings) -> bytes:
        return encode_overlay(read_image(task.path, frame=task.frame, pixel_aspect=task.pixel_aspect), findings)


def load_engine(argument: str, live: Callable[[], None]) -> FakeEngine:
    """Make a fake; `argument` is a JSON object of its parameters, or empty."""
    return FakeEngine(live, **(json.loads(argument) if argument else {}))


def made_up_findings(image: FieldImage, cell_diameter_px: float) -> FieldFindings:
    """Ten cells or more in a row, every fifth a spherocyte."""
    count = 10 + int(image.pixels.mean()) % 20
    cells = tuple(_cell(number, image) for number in range(count))
    return FieldFindings(cells, image.width, image.height, cell_diameter_px, passes=1, seconds=0.01)


def _cell(number: int, image: FieldImage) -> Cell:
    side = 8
    x = (number * side) % max(side, image.width - side)
    measures = CellMeasures(64.0, 9.0, 30.0, 0.9, 0.1, 0.95, 0.98, 0.1, float("nan"), float("nan"))
    spherocyte = number % 5 == 0
    return Cell(
        CellClass.SPHEROCYTE if spherocyte else CellClass.RBC,
        0.9,
        0.99,
        x,
        side,
        np.ones((side, side), dtype=np.bool_),
        measures=measures,
    )


def load_broken(argument: str, live: Callable[[], None]) -> FakeEngine:
    """Fail as a damaged bundle does."""
    raise BundleError("the bundle is damaged")
