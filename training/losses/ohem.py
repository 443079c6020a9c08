"""Cross entropy of the hard pixels alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from edgeseg.training.losses.pixels import (
    check_number,
    one_hot_truth,
    pixel_cross_entropy,
    true_class_weights,
    weighted_mean,
)

THRESHOLD = 0.7
MIN_SHARE = 1 / 16


def ohem_cross_entropy(
    y_true: Any,
    logits: Any,
    *,
    ignore_index: int = 255,
    class_weights: Sequence[float] | None = None,
    threshold: float = THRESHOLD,
    min_share: float = MIN_SHARE,
) -> Any:
    """Cross entropy over the pixels whose true class has a probability below ``threshold``.

    Online hard example mining (Shrivastava et al., https://arxiv.org/abs/1604.03540) with the defaults of
    BiSeNet's code. Where too few pixels are that hard, the hardest ``min_share`` of them are taken, and with
    them those that are just as hard as the last. Which pixels are hard does not depend on the class weights.

    Args:
        y_true: Class ids ``[N, H, W]``, integers or floats of whole value.
        logits: ``float [N, H, W, C]``.
        ignore_index: Id of pixels that do not count, for the share neither.
        class_weights: C weights of the mean over the hard pixels; ``None`` weighs all classes alike.
        threshold: Probability, above 0 to 1; 1 takes every pixel.
        min_share: Share of the batch's pixels, 0 to 1; at least one pixel is taken.

    Returns:
        A scalar ≥ 0; 0 where every pixel is ignored.

    Raises:
        UsageError: An option is out of its range.
    """
    check_number("threshold", threshold, least=1e-6, most=1)
    check_number("min_share", min_share, most=1)
    truth = one_hot_truth(y_true, logits.shape[-1], ignore_index)
    loss = pixel_cross_entropy(truth, logits)
    hard = _hard(ops.stop_gradient(loss), ops.sum(truth, axis=-1), -math.log(threshold), min_share)
    return weighted_mean(loss, hard * true_class_weights(truth, class_weights))


def _hard(loss: Any, counted: Any, threshold: float, min_share: float) -> Any:
    """1 at the pixels that are taken, 0 elsewhere, ``float32 [N, H, W]``."""
    falling = -ops.sort(ops.reshape(-loss, (-1,)))
    fewest = ops.maximum(ops.ceil(min_share * ops.sum(counted)), 1.0)
    last = ops.take(falling, ops.cast(fewest, "int32") - 1)
    return ops.cast(loss >= ops.minimum(last, threshold), "float32")
