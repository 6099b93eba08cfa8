"""From a checkpoint to a bundle."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sphero_core.bundle import InputSpec, Thresholds, seal_bundle
from sphero_core.detector import Candidates, Detector
from sphero_core.training.config import RunConfig
from sphero_core.training.train import load_model

if TYPE_CHECKING:
    import tensorflow as tf

    from sphero_core.training.serving import ServingModule
    from sphero_core.training.task import SampleSource

CLASSES = ["RBC", "Spherocyte", "Platelet", "WBC"]
OUTPUTS = ("boxes", "probabilities", "masks")


def detector_of(
    run: RunConfig, checkpoint: Path, thresholds: Thresholds, samples: SampleSource, label_margin: float = 0.0
) -> Detector:
    """A detector straight from a checkpoint, to evaluate a network that is not exported."""
    import tensorflow as tf

    from sphero_core.training.serving import ServingModule

    module = ServingModule(load_model(run, checkpoint, samples), run.input_height, run.input_width)

    def forward(image: np.ndarray[Any, np.dtype[np.uint8]]) -> Candidates:
        outputs = module.detect(tf.constant(image[None]))
        return Candidates(*(outputs[name].numpy() for name in OUTPUTS))

    spec = InputSpec(run.input_height, run.input_width, run.cell_diameter)
    return Detector(forward, spec, thresholds, label_margin=label_margin)


def export_bundle(
    run: RunConfig,
    checkpoint: Path,
    thresholds: Thresholds,
    samples: SampleSource,
    out: Path,
    provenance: Mapping[str, Any],
) -> str:
    """Write a bundle.

    Parameters
    ----------
    run : RunConfig
    checkpoint : Path
    thresholds : Thresholds
    samples : callable
        Training samples of the run; the statistics of the batch normalisations are measured on them.
    out : Path
        The bundle's folder; replaced if it is there.
    provenance : mapping
        Training data and split by hash, licences, figures; lands in ``bundle.json``.

    Returns
    -------
    str
        The bundle's SHA-256.
    """
    import tensorflow as tf

    from sphero_core.training.serving import ServingModule

    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    module = ServingModule(load_model(run, checkpoint, samples), run.input_height, run.input_width)
    _save_frozen(module, out / "model")
    description = {
        "schema": "spheroflow-bundle-1",
        "name": run.name,
        "version": run.version,
        "classes": CLASSES,
        "input": {"height": run.input_height, "width": run.input_width, "cell_diameter": run.cell_diameter},
        "thresholds": asdict(thresholds),
        "tensorflow": tf.__version__,
        "model_garden": importlib.metadata.version("tf-models-official"),
        "git_revision": _revision(),
        "run": {**asdict(run), "groups": list(run.groups)},
        **provenance,
    }
    return seal_bundle(out, description)


def _save_frozen(module: ServingModule, out: Path) -> None:
    """Save the serving graph alone, weights as constants.

    Saving the Keras model itself would trace its training path as well; a frozen graph loads faster and lets TensorFlow
    fold the batch normalisations.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(module.detect.get_concrete_function())

    class Served(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
        @tf.function(input_signature=frozen_signature(frozen))  # type: ignore[misc]
        def detect(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            return dict(zip(sorted(OUTPUTS), frozen(image), strict=True))

    served = Served()
    options = tf.saved_model.SaveOptions(save_debug_info=False)
    tf.saved_model.save(served, str(out), signatures={"serving_default": served.detect}, options=options)


def frozen_signature(frozen: Any) -> list[tf.TensorSpec]:
    """Input signature of a frozen graph."""
    import tensorflow as tf

    return [tf.TensorSpec(tensor.shape, tensor.dtype, name="image") for tensor in frozen.inputs]


def _revision() -> str:
    """The source's git revision, or "unknown" outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
