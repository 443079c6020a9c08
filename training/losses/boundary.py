"""Cross entropy in which pixels near a boundary between two classes count more."""

from __future__ import annotations

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

RADIUS = 2
BOUNDARY_WEIGHT = 3.0


def boundary_cross_entropy(
    y_true: Any,
    logits: Any,
    *,
    ignore_index: int = 255,
    class_weights: Sequence[float] | None = None,
    radius: float = RADIUS,
    boundary_weight: float = BOUNDARY_WEIGHT,
) -> Any:
    """Cross entropy in which a pixel near another class weighs more, as thin things and outlines need it.

    The idea is the weight map of U-Net (Ronneberger et al., https://arxiv.org/abs/1505.04597) with a plain
    step for their Gaussian: a pixel is near a boundary where the square of ``radius`` pixels to each side of
    it holds more than one class. Ignored pixels are no class, so their own outline is no boundary.

    Formula: ``Σ m·w[y]·−log p[y] / Σ m·w[y]`` with m = ``boundary_weight`` near a boundary and 1 elsewhere.

    Args:
        y_true: Class ids ``[N, H, W]``, integers or floats of whole value.
        logits: ``float [N, H, W, C]``.
        ignore_index: Id of pixels that do not count.
        class_weights: C weights w; ``None`` weighs all classes alike.
        radius: Whole number of pixels, at least 1.
        boundary_weight: Weight near a boundary, at least 0; 1 gives cross entropy.

    Returns:
        A scalar ≥ 0; 0 where every pixel is ignored.

    Raises:
        UsageError: An option is out of its range.
    """
    check_number("radius", radius, least=1, whole=True)
    check_number("boundary_weight", boundary_weight)
    truth = one_hot_truth(y_true, logits.shape[-1], ignore_index)
    near = _near_boundary(truth, int(radius))
    weights = true_class_weights(truth, class_weights) * ops.where(near, boundary_weight, 1.0)
    return weighted_mean(pixel_cross_entropy(truth, logits), weights)


def _near_boundary(truth: Any, radius: int) -> Any:
    """Where the window around a pixel holds two classes: one-hot ``[N, H, W, C]`` to ``bool [N, H, W]``."""
    num_classes = truth.shape[-1]
    ids = ops.cast(ops.argmax(truth, axis=-1), "float32")[..., None]
    counted = ops.sum(truth, axis=-1, keepdims=True) > 0
    highest = _highest(ops.where(counted, ids, -1.0), radius)
    lowest = -_highest(ops.where(counted, -ids, -float(num_classes)), radius)
    return (highest > lowest)[..., 0]


def _highest(values: Any, radius: int) -> Any:
    return ops.max_pool(values, 2 * radius + 1, strides=1, padding="same", data_format="channels_last")
