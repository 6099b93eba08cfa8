"""The network as the service sees it: one image at the network's size in, candidates out.

TensorFlow is imported when a detector is made, not before: the processes that never detect stay light.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphero_core.bundle import Bundle, InputSpec, Thresholds
from sphero_core.calibration import Calibration
from sphero_core.judge import SpherocyteJudge
from sphero_core.types import BundleId

#: A pass that gives this many candidates may have lost some.
MAX_CANDIDATES = 300


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What one pass of the network gives, before any threshold.

    Attributes
    ----------
    boxes : ndarray of float32, shape (n, 4)
        ``y0, x0, y1, x1`` in pixels of the pass.
    probabilities : ndarray of float32, shape (n, 4)
        Of RBC, Spherocyte, Platelet, WBC.
    masks : ndarray of float32, shape (n, side, side)
        Probability of each pixel of the box, stretched over the box.
    """

    boxes: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    masks: NDArray[np.float32]


Forward = Callable[[NDArray[np.uint8]], Candidates]


@dataclass(frozen=True, slots=True)
class Detector:
    """A loaded network with its operating point.

    Attributes
    ----------
    forward : callable
        Takes uint8 RGB of shape (input.height, input.width, 3).
    input : InputSpec
    thresholds : Thresholds
    bundle : BundleId or None
        None while a network is still in training.
    judge : SpherocyteJudge or None
        None leaves the decision on spherocytes to the network.
    label_margin : float
        See `sphero_core.bundle.Bundle`.
    calibration : Calibration or None
        Of P(Spherocyte | red cell).
    """

    forward: Forward
    input: InputSpec
    thresholds: Thresholds
    bundle: BundleId | None = None
    judge: SpherocyteJudge | None = None
    label_margin: float = 0.0
    calibration: Calibration | None = None


def load_detector(bundle: Bundle, *, threads: int | None = None, passes: int = 1) -> Detector:
    """Import TensorFlow, load the bundle's network and run it once so that the first field does not pay for it.

    Parameters
    ----------
    bundle : Bundle
    threads : int, optional
        Threads of one operation; all cores when left out. Counts only where nothing ran in TensorFlow before.
    passes : int
        Passes that callers make at a time.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # One more than passes: with just as many, a pass waits at times for a thread that another holds.
        tf.config.threading.set_inter_op_parallelism_threads(passes + 1)
    module = tf.saved_model.load(str(bundle.model_path))
    forward = _forward(module.signatures["serving_default"], tf)
    forward(np.full((bundle.input.height, bundle.input.width, 3), 220, np.uint8))
    return Detector(
        forward, bundle.input, bundle.thresholds, bundle.id, bundle.judge, bundle.label_margin, bundle.calibration
    )


def _forward(signature: Any, tf: Any) -> Forward:
    def forward(image: NDArray[np.uint8]) -> Candidates:
        outputs = signature(image=tf.constant(image[None]))
        return Candidates(*(outputs[name].numpy() for name in ("boxes", "probabilities", "masks")))

    # The signature lives as long as what was loaded; keep both together.
    return forward
