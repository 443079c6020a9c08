"""Cross entropy of sparse labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeseg.training.losses.pixels import (
    one_hot_truth,
    pixel_cross_entropy,
    true_class_weights,
    weighted_mean,
)


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
    truth = one_hot_truth(y_true, logits.shape[-1], ignore_index)
    return weighted_mean(pixel_cross_entropy(truth, logits), true_class_weights(truth, class_weights))
