"""The graph that a bundle serves: from one image at the network's scale to candidates, one row an object.

The Model Garden's detection generator suppresses per class, so that one cell leaves both as RBC and as Spherocyte. Here the
boxes are suppressed across all classes and each keeps its probabilities of every class.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from official.vision.ops import box_ops, preprocess_ops

#: Box regression weights of the first (only) detection head, `MaskRCNNModel._cascade_layer_to_weights`.
_REGRESSION_WEIGHTS = [10.0, 10.0, 5.0, 5.0]
#: Objects below this probability never leave the graph; every operating threshold lies above it.
SMALLEST_SCORE = 0.05
#: Two boxes that overlap more than this are one object; masks are compared once more afterwards.
BOX_IOU = 0.6
MAX_CANDIDATES = 300


class ServingModule(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
    """Wraps a Mask R-CNN of the Model Garden for serving.

    Parameters
    ----------
    model : MaskRCNNModel
        With class-agnostic boxes and masks, built for one input size.
    height, width : int
        The input size in pixels.
    """

    def __init__(self, model: Any, height: int, width: int) -> None:
        super().__init__(name="spheroflow")
        self.model = model
        self.detect = tf.function(
            self._detect, input_signature=[tf.TensorSpec((1, height, width, 3), tf.uint8, name="image")]
        )
        self._size = (height, width)

    @tf.autograph.experimental.do_not_convert  # type: ignore[misc]  # see `sphero_core.training.task`
    def _detect(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Candidates of one image.

        Parameters
        ----------
        image : uint8, shape (1, height, width, 3)
            RGB.

        Returns
        -------
        dict
            ``boxes`` float32 (n, 4) as y0, x0, y1, x1 in pixels; ``probabilities`` float32 (n, 4) of RBC, Spherocyte,
            Platelet and WBC; ``masks`` float32 (n, 28, 28), the probability of each pixel of the box.
        """
        size = tf.constant([self._size], tf.float32)
        normalised = preprocess_ops.normalize_image(image[0])[None]
        outputs, intermediate = self.model._call_box_outputs(normalised, size, training=False)
        probabilities = tf.nn.softmax(tf.cast(outputs["cls_outputs"], tf.float32))[0, :, 1:]
        decoded = box_ops.decode_boxes(
            tf.cast(outputs["box_outputs"], tf.float32), intermediate["current_rois"], weights=_REGRESSION_WEIGHTS
        )
        boxes = box_ops.clip_boxes(decoded, size[:, None])[0]
        red = probabilities[:, 0] + probabilities[:, 1]
        objectness = tf.maximum(red, tf.reduce_max(probabilities[:, 2:], axis=1))
        kept = tf.image.non_max_suppression(boxes, objectness, MAX_CANDIDATES, BOX_IOU, SMALLEST_SCORE)
        boxes, probabilities = tf.gather(boxes, kept), tf.gather(probabilities, kept)
        classes = 1 + tf.argmax(probabilities, axis=1, output_type=tf.int32)
        return {"boxes": boxes, "probabilities": probabilities, "masks": self._masks(outputs, boxes, classes)}

    def _masks(self, outputs: dict[str, tf.Tensor], boxes: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        # The mask head wants a fixed number of objects an image; as many images of one object each cost only what
        # was found.
        regions = self.model.mask_roi_aligner(outputs["decoder_features"], boxes[None])
        side = regions.shape[2:]
        logits = self.model.mask_head([tf.reshape(regions, [-1, 1, *side]), classes[:, None]], training=False)
        return tf.sigmoid(tf.cast(logits[:, 0], tf.float32))
