"""The real engine of the model process: images read, cells found, pictures drawn, all with `sphero_core`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.model_child import WORKERS, ImageTask
from flows.overlay import encode_overlay
from sphero_core.bundle import load_bundle
from sphero_core.case import FieldSource, analyse_source
from sphero_core.detector import Candidates, Detector, load_detector
from sphero_core.image import read_image, read_reduced
from sphero_core.quality import DEFAULT_LIMITS, QualityLimits
from sphero_core.scale import measure_cell_diameters
from sphero_core.types import BundleId, FieldFindings


class DetectorEngine:
    """Fields through one detector.

    Parameters
    ----------
    detector : Detector
        With its bundle.
    live : callable
        Called after each pass.
    limits : QualityLimits
        What a field must keep to be counted.
    """

    def __init__(
        self,
        detector: Detector,
        bundle: BundleId,
        live: Callable[[], None],
        limits: QualityLimits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
        self._detector = replace(detector, forward=self._forward)
        self._network = detector.forward
        self._live = live
        self._bundle = bundle

    @property
    def bundle(self) -> BundleId:
        """The detector's bundle."""
        return self._bundle

    def measure(self, task: ImageTask) -> NDArray[np.float64]:
        """Diameters of the field's lone red cells, in pixels of the field."""
        reduced = read_reduced(task.path, frame=task.frame, pixel_aspect=task.pixel_aspect)
        return measure_cell_diameters(reduced.pixels) * reduced.factor

    def analyse(self, task: ImageTask, cell_diameter_px: float | None) -> FieldFindings:
        """Find and measure the cells of a field."""
        source = FieldSource(task.path, "", task.frame, task.pixel_aspect)
        return analyse_source(self._detector, source, cell_diameter_px, self._limits)[1]

    def draw(self, task: ImageTask, findings: FieldFindings) -> bytes:
        """The findings drawn over their field, as JPEG."""
        return encode_overlay(read_image(task.path, frame=task.frame, pixel_aspect=task.pixel_aspect), findings)

    def _forward(self, pixels: NDArray[np.uint8]) -> Candidates:
        candidates = self._network(pixels)
        self._live()
        return candidates


def engine_argument(bundle_folder: Path, limits: QualityLimits) -> str:
    """What `load_engine` is to be given, as one argument of a command line."""
    return json.dumps({"bundle": str(bundle_folder), "quality": asdict(limits)})


def load_engine(argument: str, live: Callable[[], None]) -> DetectorEngine:
    """Verify a bundle, import TensorFlow and load the network; `argument` as of `engine_argument`."""
    given = json.loads(argument)
    bundle = load_bundle(Path(given["bundle"]))
    # A pass that is split over all cores spends more on splitting, and leaves some idle between its steps. Several at a
    # time on few threads each fill them.
    threads = -(-len(os.sched_getaffinity(0)) // WORKERS)
    detector = load_detector(bundle, threads=threads, passes=WORKERS)
    return DetectorEngine(detector, bundle.id, live, QualityLimits(**given["quality"]))
