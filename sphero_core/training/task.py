"""The Model Garden's Mask R-CNN task, fed with our samples.

Only the input and the sampling of regions are ours: model, losses, metrics and the training step are `official.vision.tasks.maskrcnn.MaskRCNNTask`'s.

Nothing of it lets Python decide by the value of a tensor, so AutoGraph has nothing to rewrite: it is told to leave the code alone, which
took it half of the time until the first step. Where that should cease to be so, TensorFlow refuses to build the graph and says where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from official.vision.configs import maskrcnn as maskrcnn_config
from official.vision.ops import anchor, preprocess_ops
from official.vision.tasks import maskrcnn

from sphero_core.training.samples import UNLABELLED, Sample
from sphero_core.training.unlabelled import UnlabelledAwareSampler, spare_anchors

SampleSource = Callable[[], Iterator[Sample]]


class SmearTask(maskrcnn.MaskRCNNTask):  # type: ignore[misc]  # the Model Garden ships no types
    """`MaskRCNNTask` whose training data are samples of smears.

    Parameters
    ----------
    params : MaskRCNNTask configuration
    source : callable
        Gives an endless iterator of samples.
    logging_dir : str, optional
    """

    def __init__(
        self, params: maskrcnn_config.MaskRCNNTask, source: SampleSource, logging_dir: str | None = None
    ) -> None:
        super().__init__(params, logging_dir=logging_dir)
        self._source = source

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def build_model(self) -> Any:
        """The Model Garden's network, with regions sampled in our way."""
        model = super().build_model()
        sampler = self.task_config.model.roi_sampler
        model.roi_sampler = [
            UnlabelledAwareSampler(
                mix_gt_boxes=sampler.mix_gt_boxes,
                num_sampled_rois=sampler.num_sampled_rois,
                foreground_fraction=sampler.foreground_fraction,
                foreground_iou_threshold=sampler.foreground_iou_threshold,
                background_iou_high_threshold=sampler.background_iou_high_threshold,
                background_iou_low_threshold=sampler.background_iou_low_threshold,
            )
        ]
        return model

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def train_step(self, inputs: Any, model: Any, optimizer: Any, metrics: Any = None) -> Any:
        """One step of the Model Garden's, as it is."""
        return super().train_step(inputs, model, optimizer, metrics)

    def build_inputs(self, params: Any, input_context: Any = None) -> tf.data.Dataset:
        """Batches of ``(images, labels)`` as `MaskRCNNTask.train_step` takes them."""
        height, width = self.task_config.model.input_size[:2]
        crop = params.parser.mask_crop_size
        dataset = tf.data.Dataset.from_generator(
            self._tuples,
            output_signature=(
                tf.TensorSpec((height, width, 3), tf.uint8),
                tf.TensorSpec((None, 4), tf.float32),
                tf.TensorSpec((None,), tf.int32),
                tf.TensorSpec((None, crop, crop), tf.float32),
            ),
        )
        dataset = dataset.map(lambda *sample: self._labels(params, *sample), num_parallel_calls=1)
        return dataset.batch(params.global_batch_size, drop_remainder=True).prefetch(2)

    def _tuples(self) -> Iterator[tuple[np.ndarray[Any, Any], ...]]:
        for sample in self._source():
            yield sample.pixels, sample.boxes, sample.classes, sample.masks

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _labels(
        self, params: Any, pixels: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor, masks: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, Any]]:
        """Anchor targets and padding, as `official.vision.dataloaders.maskrcnn_input.Parser` makes them."""
        model, parser = self.task_config.model, params.parser
        height, width = model.input_size[:2]
        generator = anchor.build_anchor_generator(
            min_level=model.min_level,
            max_level=model.max_level,
            num_scales=model.anchor.num_scales,
            aspect_ratios=model.anchor.aspect_ratios,
            anchor_size=model.anchor.anchor_size,
        )
        anchor_boxes = generator(image_size=(height, width))
        labeler = anchor.RpnAnchorLabeler(
            parser.rpn_match_threshold,
            parser.rpn_unmatched_threshold,
            parser.rpn_batch_size_per_im,
            parser.rpn_fg_fraction,
        )
        unlabelled = tf.equal(classes, UNLABELLED)
        labelled = tf.boolean_mask(boxes, ~unlabelled)
        scores, offsets = labeler.label_anchors(anchor_boxes, labelled, tf.ones_like(labelled[:, :1]))
        scores = spare_anchors(scores, anchor_boxes, tf.boolean_mask(boxes, unlabelled))
        limit = parser.max_num_instances
        size = tf.constant([height, width], tf.float32)
        padded_boxes = preprocess_ops.clip_or_pad_to_fixed_size(boxes, limit, -1)
        return tf.cast(preprocess_ops.normalize_image(pixels), params.dtype), {
            "anchor_boxes": anchor_boxes,
            "image_info": tf.stack([size, size, tf.ones(2), tf.zeros(2)]),
            "rpn_score_targets": scores,
            "rpn_box_targets": offsets,
            "gt_boxes": padded_boxes,
            "gt_classes": preprocess_ops.clip_or_pad_to_fixed_size(classes, limit, -1),
            "gt_outer_boxes": padded_boxes,
            "gt_masks": preprocess_ops.clip_or_pad_to_fixed_size(masks, limit, -1),
        }
