"""One run of training as one YAML file, and the Model Garden experiment it stands for.

The experiment starts from the Model Garden's own ``maskrcnn_mobilenet_coco`` (MobileNetV2, FPN, Mask R-CNN) and changes what
blood smears ask for; each change has its reason beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sphero_core.errors import DatasetError
from sphero_core.training.samples import CLASS_IDS

if TYPE_CHECKING:
    from official.core import config_definitions as cfg
    from official.vision.configs import maskrcnn


@dataclass(frozen=True)
class AugmentationConfig:
    """How far samples are changed; shares are probabilities, ranges are relative unless said."""

    quarter_turns: float = 0.5
    free_rotation: float = 0.25
    scale_min: float = 0.75
    scale_max: float = 1.33
    stain_strength: float = 0.35
    stain_tint: float = 0.15
    new_background: float = 0.35
    exposure: float = 0.1
    gradient: float = 0.08
    blur: float = 0.4
    blur_sigma: float = 1.3
    noise: float = 0.3
    jpeg: float = 0.4


@dataclass(frozen=True)
class PointsConfig:
    """A second data set beside the patients: centre points, from which masks were grown; see `sphero_core.datasets.points`.

    Its groups are blocks of neighbouring images, numbered at their names' ends. Of every `blocks` of them one is read by nothing but a
    later evaluation and one only chooses thresholds and judge; the rest is trained on.

    Attributes
    ----------
    data : mapping
        What the bundle says of the set: name, licence, citation.
    share : float
        Share of samples taken from it.
    blocks, reported, chosen_on : int
        Blocks whose number modulo `blocks` is `reported` or `chosen_on` are kept out of training.
    pretrain_steps : int
        Length of a first stage on these points and on synthetic smears alone, from which every network of the run starts.
    """

    data: Mapping[str, str] = field(default_factory=dict)
    share: float = 0.35
    blocks: int = 5
    reported: int = 0
    chosen_on: int = 1
    pretrain_steps: int = 0


@dataclass(frozen=True)
class RunConfig:
    """One run: data, recipe, seed.

    Attributes
    ----------
    name, version : str
        Of the bundle that leaves.
    groups : tuple of str
        Patients that are trained on; all others of the data set are left out of everything.
    data : mapping
        What the bundle says of its data: name, licence, citation.
    pixel_aspect : float
        Display width over height of one stored pixel of the data set.
    cell_diameter : float
        Apparent diameter, in network pixels, to which the median cell of a patient is brought.
    input_height, input_width : int
        The network's input in pixels; multiples of 2 ** 6.
    steps, inner_steps, batch : int
        Length of the final schedule, of the schedule in an inner fold, and images a step.
    checkpoints : int
        How many checkpoints are kept, evenly over the second half of the run; stopping chooses among them.
    learning_rate, warmup_steps, weight_decay : float, int, float
        Adam with linear warm-up and cosine decay to zero.
    synthetic_fields : int
        Artificial smears drawn for the run, with exact truth.
    synthetic_share : float
        Share of samples taken from them.
    bfloat16 : bool
        Mixed precision, where the processor has bfloat16 products of its own (`sphero_core.training.hardware`); float32 elsewhere.
    points : PointsConfig or None
        The second data set; None trains on the patients alone.
    """

    name: str
    version: str
    groups: tuple[str, ...]
    data: Mapping[str, str] = field(default_factory=dict)
    pixel_aspect: float = 1.0
    cell_diameter: float = 60.0
    input_height: int = 384
    input_width: int = 512
    steps: int = 1400
    inner_steps: int = 700
    batch: int = 4
    checkpoints: int = 3
    learning_rate: float = 7e-4
    warmup_steps: int = 100
    weight_decay: float = 4e-5
    synthetic_fields: int = 60
    synthetic_share: float = 0.2
    bfloat16: bool = False
    seed: int = 1
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    points: PointsConfig | None = None


def read_run(path: Path) -> RunConfig:
    """Read a run from YAML.

    Raises
    ------
    DatasetError
        A key is unknown or a value has the wrong form; the message names it.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    try:
        augmentation = AugmentationConfig(**document.pop("augmentation", {}))
        points = document.pop("points", None)
        return RunConfig(
            **{**document, "groups": tuple(document["groups"])},
            augmentation=augmentation,
            points=None if points is None else PointsConfig(**points),
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise DatasetError(f"{path.name}: {error}; see `sphero model train --help` for the keys of a run") from error


def write_run(run: RunConfig, path: Path) -> None:
    """Write a run as YAML, every key of it."""
    document: dict[str, Any] = dataclasses.asdict(run)
    document["groups"] = list(run.groups)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def experiment(run: RunConfig) -> cfg.ExperimentConfig:
    """The Model Garden experiment of a run."""
    # Here, for it brings TensorFlow: a run is read, and reported on, without.
    import official.vision.configs.maskrcnn  # noqa: F401  # registers maskrcnn_mobilenet_coco
    from official.core import exp_factory

    config = exp_factory.get_exp_config("maskrcnn_mobilenet_coco")
    config.runtime.mixed_precision_dtype = "bfloat16" if run.bfloat16 else "float32"
    config.runtime.distribution_strategy = "one_device"
    config.runtime.num_gpus = 0
    _model(config.task.model, run)
    config.task.annotation_file = None
    config.task.losses.l2_weight_decay = run.weight_decay
    data = config.task.train_data
    data.input_path, data.global_batch_size, data.seed = "", run.batch, run.seed
    data.dtype = "bfloat16" if run.bfloat16 else "float32"
    # A field holds up to 139 labelled cells and as many without a label; the default of 100 would drop the rest.
    data.parser.max_num_instances = 200
    data.parser.mask_crop_size = 56
    data.parser.rpn_match_threshold = 0.6
    _trainer(config.trainer, run)
    return config


def _model(model: maskrcnn.MaskRCNN, run: RunConfig) -> None:
    model.num_classes = 1 + len(CLASS_IDS)
    model.input_size = [run.input_height, run.input_width, 3]
    # Cells are round and of one apparent size: two scales an octave and one aspect ratio fit them.
    model.anchor.anchor_size, model.anchor.num_scales, model.anchor.aspect_ratios = 3, 2, [1.0]
    # One device: batch statistics have nobody to be synchronised with.
    model.norm_activation.use_sync_bn = False
    # 300 proposals are plenty for a field, and the default of 1,000 dominates the time.
    proposals = model.roi_generator
    proposals.pre_nms_top_k, proposals.num_proposals = 1000, 300
    proposals.test_pre_nms_top_k, proposals.test_num_proposals = 600, 300
    model.roi_sampler.num_sampled_rois, model.roi_sampler.foreground_fraction = 96, 0.5
    model.mask_sampler.num_sampled_masks = 32
    # A cell's box and outline do not depend on what we call it.
    model.detection_head.class_agnostic_bbox_pred = True
    model.mask_head.class_agnostic = True
    model.detection_generator.max_num_detections = 300


def _trainer(trainer: cfg.TrainerConfig, run: RunConfig) -> None:
    # The trainer wants every interval to be a multiple of its inner loop.
    loop = min(20, max(1, run.steps // (2 * run.checkpoints)))
    interval = loop * max(1, run.steps // (2 * run.checkpoints * loop))
    trainer.train_steps, trainer.steps_per_loop, trainer.summary_interval = run.steps, loop, loop
    trainer.checkpoint_interval, trainer.max_to_keep = interval, run.checkpoints + 1
    trainer.validation_steps, trainer.validation_interval = 0, run.steps
    trainer.optimizer_config.override(
        {
            "optimizer": {"type": "adam", "adam": {"clipnorm": 10.0}},
            "learning_rate": {
                "type": "cosine",
                "cosine": {"initial_learning_rate": run.learning_rate, "decay_steps": run.steps, "alpha": 0.0},
            },
            "warmup": {"type": "linear", "linear": {"warmup_steps": run.warmup_steps, "warmup_learning_rate": 0.0}},
        },
        is_strict=False,
    )
