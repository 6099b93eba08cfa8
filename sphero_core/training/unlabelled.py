"""Objects without a label: neither a cell of any class nor background, in both stages of Mask R-CNN.

The Model Garden takes whatever no label covers for background. Where only some cells of an image are labelled, that would teach the
network not to find the others. Here an anchor or a region that lies in an unlabelled object costs nothing, whatever it is
called: COCO's *iscrowd* and the ignore regions of Pascal VOC are treated in this way.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from official.vision.modeling.layers import roi_sampler

from sphero_core.training.samples import UNLABELLED

#: A region with this share of its area in an unlabelled object is not background.
COVERED = 0.5
#: Class of a sampled region that no loss looks at: no class is -1, and only classes above 0 have boxes and masks.
NO_CLASS = -1


class UnlabelledAwareSampler(roi_sampler.ROISampler):  # type: ignore[misc]  # the Model Garden ships no types
    """`ROISampler` that takes a region in an unlabelled object for nothing at all."""

    def call(
        self, boxes: tf.Tensor, gt_boxes: tf.Tensor, gt_classes: tf.Tensor, gt_outer_boxes: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Sample regions; see `ROISampler.call`. Outer boxes are not used here.

        Parameters
        ----------
        boxes : float, shape (batch, n, 4)
        gt_boxes : float, shape (batch, m, 4)
            Padded with -1.
        gt_classes : int, shape (batch, m)
            Those of unlabelled objects are `UNLABELLED`.
        gt_outer_boxes : None
        """
        del gt_outer_boxes
        unlabelled = tf.equal(gt_classes, UNLABELLED)[..., None]
        nowhere = -tf.ones_like(gt_boxes)
        labelled_classes = tf.where(unlabelled[..., 0], -tf.ones_like(gt_classes), gt_classes)
        regions, matched, classes, indices = super().call(
            boxes, tf.where(unlabelled, nowhere, gt_boxes), labelled_classes
        )
        inside = covered_share(regions, tf.cast(tf.where(unlabelled, gt_boxes, nowhere), regions.dtype)) >= COVERED
        ignored = tf.logical_and(tf.equal(classes, 0), inside)
        classes = tf.where(ignored, tf.fill(tf.shape(classes), tf.cast(NO_CLASS, classes.dtype)), classes)
        # Its box is its own target: an offset of nothing instead of one to nowhere.
        return regions, tf.where(ignored[..., None], regions, matched), classes, indices


def covered_share(boxes: tf.Tensor, objects: tf.Tensor) -> tf.Tensor:
    """The largest share of each box that lies in one of the objects.

    Parameters
    ----------
    boxes : float, shape (batch, n, 4)
        ``y0, x0, y1, x1``.
    objects : float, shape (batch, m, 4)
        Padded with -1.

    Returns
    -------
    float, shape (batch, n)
        0 where there is no object.
    """
    low = tf.maximum(boxes[:, :, None, :2], objects[:, None, :, :2])
    high = tf.minimum(boxes[:, :, None, 2:], objects[:, None, :, 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=-1)
    area = tf.reduce_prod(tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)
    return tf.reduce_max(shared, axis=-1) / tf.maximum(area, 1e-6)


def spare_anchors(
    scores: Mapping[str, tf.Tensor], anchors: Mapping[str, tf.Tensor], objects: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Anchor targets in which no anchor within an unlabelled object stands for background.

    Parameters
    ----------
    scores : mapping of level to int, shape (height, width, anchors)
        1 object, 0 background, -1 not looked at, of one image.
    anchors : mapping of level to float, shape (height, width, anchors * 4)
    objects : float, shape (m, 4)

    Returns
    -------
    dict
        `scores` with -1 in place of 0 there.
    """
    spared = {}
    for level, target in scores.items():
        boxes = tf.reshape(anchors[level], [1, -1, 4])
        inside = tf.reshape(
            covered_share(boxes, tf.pad(objects, [[0, 1], [0, 0]], constant_values=-1.0)[None]), tf.shape(target)
        )
        spared[level] = tf.where(tf.logical_and(inside >= COVERED, tf.equal(target, 0)), -tf.ones_like(target), target)
    return spared
