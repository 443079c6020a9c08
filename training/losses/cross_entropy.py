"""Cross entropy of sparse labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from edgeseg.training.losses.pixels import class_weight_vector, one_hot_truth, weighted_mean


def cross_entropy(
    y_true: Any, logits: Any, *, ignore_index: int = 255, class_weights: Sequence[float] | None = None
) -> Any:
    """−log softmax(logits) at the true class, averaged over the pixels that count.

    Formula: ``Σ w[y]·−log p[y] / Σ w[y]`` over all pixels of the batch that are not ignored.

    Args:
        y_true: Class ids ``[N, H, W]``, integers or floats of whole value.
        logits: ``float [N, H, W, C]``.
        ignore_index: Id of pixels that do not count.
        class_weights: C weights w; ``None`` weighs all classes alike.

    Returns:
        A scalar ≥ 0; 0 where every pixel is ignored.
    """
    logits = ops.cast(logits, "float32")
    num_classes = logits.shape[-1]
    truth = one_hot_truth(y_true, num_classes, ignore_index)
    weights = ops.sum(truth * class_weight_vector(class_weights, num_classes), axis=-1)
    per_pixel = ops.logsumexp(logits, axis=-1) - ops.sum(truth * logits, axis=-1)
    return weighted_mean(per_pixel, weights)
