"""Training one run: samples in, checkpoints out.

TensorFlow and the Model Garden are imported where a network is built: they take ten seconds, and figures of runs are told without them.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sphero_core.datasets.coco import LabelledImage
from sphero_core.errors import DatasetError
from sphero_core.image import read_image
from sphero_core.scale import case_cell_diameter, measure_cell_diameters
from sphero_core.synthetic import draw_smear, random_style
from sphero_core.training.config import RunConfig, experiment, write_run
from sphero_core.training.hardware import multiplies_bfloat16
from sphero_core.training.samples import (
    UNLABELLED,
    Augmenter,
    TrainingField,
    endless,
    prepare_labelled,
    prepare_synthetic,
)

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras

    from sphero_core.training.task import SampleSource

#: Labelled cells from which on a field is drawn as often as any other.
ENOUGH_LABELS = 20
#: Batches over which the statistics of the batch normalisations are measured, and the weight of the past in them.
STATISTICS_BATCHES = 60
STATISTICS_MOMENTUM = 0.95


def group_diameters(images: Sequence[LabelledImage], pixel_aspect: float = 1.0) -> dict[str, float]:
    """Median cell diameter of each patient, in pixels of the field in true proportion.

    Measured from the images alone, as it is when the network serves.

    Raises
    ------
    DatasetError
        No cell can be measured in any image of a patient.
    """
    measured: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for image in images:
        measured[image.group].append(measure_cell_diameters(read_image(image.path, pixel_aspect=pixel_aspect).pixels))
    diameters = {}
    for group, fields in measured.items():
        diameter = case_cell_diameter(fields)
        if diameter is None:
            raise DatasetError(f"group '{group}': no cell could be measured; is the pixel aspect right?")
        diameters[group] = diameter
    return diameters


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingData:
    """Where the samples of a run come from.

    Attributes
    ----------
    patients : tuple of LabelledImage
        The data set with patients; a run reads those of its groups.
    pointed : tuple of LabelledImage
        The second data set, grown from points, without the blocks that are kept out of training.
    diameters : mapping
        Median cell diameter of each group in pixels of a field in true proportion.
    made : dict
        Fields that were prepared already; data sets that `dataclasses.replace` makes of this one share it.
    """

    patients: tuple[LabelledImage, ...]
    pointed: tuple[LabelledImage, ...]
    diameters: Mapping[str, float]
    made: dict[tuple[Path, float, float], TrainingField] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    def ready(self, image: LabelledImage, pixel_aspect: float, cell_diameter: float) -> TrainingField:
        """An image as the network is trained on it; made once, however many networks see it."""
        key = (image.path, pixel_aspect, cell_diameter)
        if key not in self.made:
            scale = cell_diameter / self.diameters[image.group]
            self.made[key] = prepare_labelled(image, pixel_aspect=pixel_aspect, scale=scale)
        return self.made[key]


def training_fields(data: TrainingData, run: RunConfig) -> tuple[list[TrainingField], NDArray[np.float64]]:
    """All fields of a run and the weight with which each is drawn."""
    patients = [
        data.ready(image, run.pixel_aspect, run.cell_diameter) for image in data.patients if image.group in run.groups
    ]
    if run.groups and not patients:
        raise DatasetError(f"no image belongs to the groups {', '.join(run.groups)}")
    pointed = [data.ready(image, 1.0, run.cell_diameter) for image in data.pointed]
    synthetic = list(_drawn(run.seed, run.synthetic_fields, run.cell_diameter)) if run.synthetic_share > 0 else []
    synthetic_share = run.synthetic_share if synthetic else 0.0
    pointed_share = run.points.share if run.points and pointed else 0.0
    if not patients:  # the first stage: what is left shares alike
        pointed_share = 1.0 - synthetic_share
    shares = (1.0 - synthetic_share - pointed_share, pointed_share, synthetic_share)
    weights = [share * _told(fields) for fields, share in zip((patients, pointed, synthetic), shares, strict=True)]
    return [*patients, *pointed, *synthetic], np.concatenate(weights)


def _told(fields: Sequence[TrainingField]) -> NDArray[np.float64]:
    """How often each of some fields is drawn: as often as others, but less where few of its cells are labelled. Sums to 1."""
    labels = np.array([np.count_nonzero(field.classes != UNLABELLED) for field in fields], np.float64)
    told = np.minimum(labels, ENOUGH_LABELS)
    return told / max(float(told.sum()), 1.0)


@functools.lru_cache(maxsize=1)
def _drawn(seed: int, fields: int, cell_diameter: float) -> tuple[TrainingField, ...]:
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(fields):
        style = random_style(rng)
        drawn.append(prepare_synthetic(draw_smear(style, rng), scale=cell_diameter / style.cell_diameter_px))
    return tuple(drawn)


def train(run: RunConfig, data: TrainingData, out: Path, *, start: Path | None = None) -> list[Path]:
    """Train a run through the Model Garden's trainer; resumes from the newest checkpoint in `out`, and has nothing to do after the last.

    Parameters
    ----------
    run : RunConfig
    data : TrainingData
        Only `run.groups` of its patients are touched.
    out : Path
        Folder of the run: ``run.yaml``, checkpoints, TensorBoard logs.
    start : Path, optional
        Checkpoint of a network of the same form to begin with, instead of random weights.

    Returns
    -------
    list of Path
        The kept checkpoints, oldest first.
    """
    import tensorflow as tf
    import tf_keras
    from official.core import train_lib

    from sphero_core.training.task import SmearTask

    kept = checkpoints(out)
    if kept and step_of(kept[-1]) >= run.steps:
        return kept
    out.mkdir(parents=True, exist_ok=True)
    write_run(run, out / "run.yaml")
    tf.keras.utils.set_random_seed(run.seed)
    gpu = bool(tf.config.list_physical_devices("GPU"))
    here = dataclasses.replace(run, bfloat16=run.bfloat16 and (gpu or multiplies_bfloat16()))
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if here.bfloat16 else "float32")
    samples = samples_of(run, data)
    config = experiment(here)
    if start is not None:
        config.task.init_checkpoint, config.task.init_checkpoint_modules = str(start), "all"
    strategy = tf.distribute.OneDeviceStrategy("/gpu:0" if gpu else "/cpu:0")
    with strategy.scope():
        task = SmearTask(config.task, samples, logging_dir=str(out))
        train_lib.run_experiment(strategy, task, "train", config, str(out), run_post_eval=False)
    return checkpoints(out)


def checkpoints(out: Path) -> list[Path]:
    """Kept checkpoints of a run's folder, oldest first, as paths without a suffix."""
    found = {Path(os.fspath(path).removesuffix(".index")) for path in out.glob("ckpt-*.index")}
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Training step at which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def samples_of(run: RunConfig, data: TrainingData) -> SampleSource:
    """What gives endless training samples of a run, the same ones each time it is called."""
    fields, weights = training_fields(data, run)
    crop = experiment(run).task.train_data.parser.mask_crop_size
    augmenter = Augmenter(run.input_height, run.input_width, crop, dataclasses.asdict(run.augmentation))
    return lambda: endless(fields, weights, augmenter, run.seed)


def load_model(run: RunConfig, checkpoint: Path, samples: SampleSource) -> tf_keras.Model:
    """The network of a run in float32 with the weights of one checkpoint, ready to serve."""
    import tensorflow as tf
    import tf_keras

    from sphero_core.training.task import SmearTask

    tf_keras.mixed_precision.set_global_policy("float32")
    config = experiment(dataclasses.replace(run, bfloat16=False)).task
    task = SmearTask(config, samples)
    model = task.build_model()
    status = tf.train.Checkpoint(model=model).read(str(checkpoint))
    status.expect_partial().assert_existing_objects_matched()
    estimate_statistics(model, task.build_inputs(config.train_data))
    return model


def estimate_statistics(model: tf_keras.Model, batches: tf.data.Dataset) -> None:
    """Measure the batch normalisations' statistics anew with the final weights.

    Moving averages kept while the weights still change lag behind them, the more the shorter the schedule: an inner fold of 600 steps
    found a fifth of the cells with them and nine tenths without. Source: Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm",
    arXiv:2105.07576, section 3.
    """
    import tensorflow as tf
    import tf_keras

    for layer in model.submodules:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = STATISTICS_MOMENTUM

    @tf.function  # type: ignore[untyped-decorator]
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # see `sphero_core.training.task`
    def update(images: tf.Tensor, labels: Mapping[str, tf.Tensor]) -> None:
        model(
            images,
            image_shape=labels["image_info"][:, 1, :],
            anchor_boxes=labels["anchor_boxes"],
            gt_boxes=labels["gt_boxes"],
            gt_classes=labels["gt_classes"],
            gt_masks=labels["gt_masks"],
            training=True,
        )

    for images, labels in batches.take(STATISTICS_BATCHES):
        update(images, labels)
