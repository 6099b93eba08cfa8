"""Objects without a label are neither cells nor background.

TensorFlow is imported where a test runs: every worker of pytest-xdist reads this file, one runs it.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("official", reason="the training extra is not installed")

from sphero_core.training.samples import UNLABELLED

LABELLED = [10.0, 10.0, 30.0, 30.0]
LARGE_CLUMP = [50.0, 50.0, 110.0, 110.0]
IN_THE_CLUMP = [52.0, 52.0, 72.0, 72.0]
ON_THE_SMEAR = [120.0, 10.0, 140.0, 30.0]
NOWHERE = [-1.0] * 4


def sampled(classes: list[int]) -> dict[tuple[float, ...], tuple[int, tuple[float, ...]]]:
    """Class and matched box of each region that was sampled, by the region."""
    import tensorflow as tf

    from sphero_core.training.unlabelled import UnlabelledAwareSampler

    sampler = UnlabelledAwareSampler(num_sampled_rois=6, foreground_fraction=0.5)
    regions, matched, found, _ = sampler(
        tf.constant([[LABELLED, IN_THE_CLUMP, ON_THE_SMEAR]]),
        tf.constant([[LABELLED, LARGE_CLUMP, NOWHERE]]),
        tf.constant([[*classes, -1]], tf.int32),
    )
    return {
        tuple(region): (int(c), tuple(box))
        for region, box, c in zip(regions[0].numpy(), matched[0].numpy(), found[0].numpy(), strict=True)
    }


def test_a_region_in_an_unlabelled_object_is_nothing_and_its_offset_is_none() -> None:
    from sphero_core.training.unlabelled import NO_CLASS

    found = sampled([1, UNLABELLED])
    assert found[tuple(LABELLED)] == (1, tuple(LABELLED))
    assert found[tuple(ON_THE_SMEAR)][0] == 0
    assert found[tuple(IN_THE_CLUMP)] == (NO_CLASS, tuple(IN_THE_CLUMP))


def test_the_same_region_in_a_labelled_object_it_does_not_match_is_background() -> None:
    assert sampled([1, 2])[tuple(IN_THE_CLUMP)][0] == 0


def test_no_loss_looks_at_such_a_region() -> None:
    import tensorflow as tf
    from official.vision.losses.maskrcnn_losses import FastrcnnClassLoss

    from sphero_core.training.unlabelled import NO_CLASS

    logits = tf.constant([[[3.0, -2.0, 0.5], [0.0, 0.0, 0.0]]])
    spared = FastrcnnClassLoss()(logits, tf.constant([[NO_CLASS, 0]]))
    other = FastrcnnClassLoss()(logits * 5, tf.constant([[NO_CLASS, 0]]))
    assert float(spared) == pytest.approx(float(other)) == pytest.approx(np.log(3) / 2)


def test_covered_share_is_of_the_box_and_zero_for_padding() -> None:
    import tensorflow as tf

    from sphero_core.training.unlabelled import covered_share

    shares = covered_share(
        tf.constant([[IN_THE_CLUMP, [40.0, 50.0, 60.0, 70.0]]]), tf.constant([[LARGE_CLUMP, NOWHERE]])
    )
    np.testing.assert_allclose(shares.numpy(), [[1.0, 0.5]])
    assert covered_share(tf.constant([[IN_THE_CLUMP]]), tf.constant([[NOWHERE]])).numpy() == [[0.0]]


def test_anchors_in_an_unlabelled_object_are_not_background_and_others_stay() -> None:
    import tensorflow as tf

    from sphero_core.training.unlabelled import spare_anchors

    anchors = {"3": tf.reshape(tf.constant([LABELLED, IN_THE_CLUMP, ON_THE_SMEAR, IN_THE_CLUMP]), [2, 2, 4])}
    scores = {"3": tf.constant([[[1], [0]], [[0], [1]]])}
    spared = spare_anchors(scores, anchors, tf.constant([LARGE_CLUMP]))["3"].numpy()
    assert spared[..., 0].tolist() == [[1, -1], [0, 1]]
    untouched = spare_anchors(scores, anchors, tf.zeros([0, 4]))["3"].numpy()
    assert untouched[..., 0].tolist() == [[1, 0], [0, 1]]
