"""Focal loss: cross entropy in which pixels that are right already count less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from edgeseg.training.losses.pixels import (
    check_number,
    one_hot_truth,
    pixel_cross_entropy,
    safe_power,
    true_class_weights,
    weighted_mean,
)

GAMMA = 2.0


def focal(
    y_true: Any,
    logits: Any,
    *,
    ignore_index: int = 255,
    class_weights: Sequence[float] | None = None,
    gamma: float = GAMMA,
) -> Any:
    """Cross entropy with each pixel times (1 − p)^γ (Lin et al., https://arxiv.org/abs/1708.02002).

    Formula: ``Σ w[y]·(1 − p[y])^γ·−log p[y] / Σ w[y]`` over all pixels of the batch that are not ignored.

    Args:
        y_true: Class ids ``[N, H, W]``, integers or floats of whole value.
        logits: ``float [N, H, W, C]``.
        ignore_index: Id of pixels that do not count.
        class_weights: C weights w, the paper's α; ``None`` weighs all classes alike.
        gamma: γ, at least 0; 0 gives cross entropy, and the larger it is, the less easy pixels count.

    Returns:
        A scalar ≥ 0; 0 where every pixel is ignored.

    Raises:
        UsageError: γ is below 0.
    """
    check_number("gamma", gamma)
    truth = one_hot_truth(y_true, logits.shape[-1], ignore_index)
    loss = pixel_cross_entropy(truth, logits)
    # 1 − p without the rounding of p near 1.
    missed = -ops.expm1(-loss)
    return weighted_mean(safe_power(missed, gamma) * loss, true_class_weights(truth, class_weights))
