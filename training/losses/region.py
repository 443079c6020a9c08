"""Losses of overlapping regions: Dice, IoU, Tversky and focal Tversky.

All of them compare, per class, the predicted probabilities with the truth, summed over the whole batch, and
average over the classes that the batch's truth holds: a class that is not there has no region to miss. Of
ignored pixels neither truth nor probability counts. Each is 0 for a perfect prediction, at most 1, and 0 with
zero gradients where all pixels are ignored.

Arguments, all functions: ``y_true`` class ids ``[N, H, W]``; ``logits`` ``float [N, H, W, C]``;
``ignore_index``; ``class_weights``, C weights of the mean over classes; α, β, γ of at least 0, or a
UsageError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from edgeseg.training.losses.pixels import (
    batch_sum,
    check_number,
    class_weight_vector,
    one_hot_truth,
    safe_power,
    safe_ratio,
    weighted_mean,
)

FALSE_POSITIVE_WEIGHT = 0.3
FALSE_NEGATIVE_WEIGHT = 0.7
FOCAL_GAMMA = 1.5


def dice(
    y_true: Any, logits: Any, *, ignore_index: int = 255, class_weights: Sequence[float] | None = None
) -> Any:
    """1 − 2·TP / (2·TP + FP + FN), the mean over classes (Milletari et al., https://arxiv.org/abs/1606.04797)."""
    r = _regions(y_true, logits, ignore_index)
    overlap = safe_ratio(2 * r.hit, 2 * r.hit + r.false_positive + r.false_negative)
    return _mean_over_classes(1 - overlap, r, class_weights)


def iou(
    y_true: Any, logits: Any, *, ignore_index: int = 255, class_weights: Sequence[float] | None = None
) -> Any:
    """1 − TP / (TP + FP + FN), the mean over classes; also called Jaccard loss."""
    r = _regions(y_true, logits, ignore_index)
    overlap = safe_ratio(r.hit, r.hit + r.false_positive + r.false_negative)
    return _mean_over_classes(1 - overlap, r, class_weights)


def tversky(
    y_true: Any,
    logits: Any,
    *,
    ignore_index: int = 255,
    class_weights: Sequence[float] | None = None,
    alpha: float = FALSE_POSITIVE_WEIGHT,
    beta: float = FALSE_NEGATIVE_WEIGHT,
) -> Any:
    """1 − TP / (TP + α·FP + β·FN), the mean over classes (Salehi et al., https://arxiv.org/abs/1706.05721)."""
    r = _regions(y_true, logits, ignore_index)
    return _mean_over_classes(1 - _tversky_index(r, alpha, beta), r, class_weights)


def focal_tversky(
    y_true: Any,
    logits: Any,
    *,
    ignore_index: int = 255,
    class_weights: Sequence[float] | None = None,
    alpha: float = FALSE_POSITIVE_WEIGHT,
    beta: float = FALSE_NEGATIVE_WEIGHT,
    gamma: float = FOCAL_GAMMA,
) -> Any:
    """(1 − Tversky index)^γ, the mean over classes: γ > 1 turns to the classes that are still wrong.

    Abraham and Khan, https://arxiv.org/abs/1810.07842, who write the exponent as 1/γ.
    """
    check_number("gamma", gamma)
    r = _regions(y_true, logits, ignore_index)
    missed = safe_power(1 - _tversky_index(r, alpha, beta), gamma)
    return _mean_over_classes(missed, r, class_weights)


class _Regions(NamedTuple):
    """Soft counts of pixels per class ``float32 [C]`` over the batch; ``pixels`` are those truly of it."""

    hit: Any
    false_positive: Any
    false_negative: Any
    pixels: Any


def _regions(y_true: Any, logits: Any, ignore_index: int) -> _Regions:
    truth = one_hot_truth(y_true, logits.shape[-1], ignore_index)
    counted = ops.sum(truth, axis=-1, keepdims=True)
    probability = ops.softmax(ops.cast(logits, "float32"), axis=-1) * counted
    hit = batch_sum(truth * probability, axis=(0, 1, 2))
    pixels = batch_sum(truth, axis=(0, 1, 2))
    return _Regions(hit, batch_sum(probability, axis=(0, 1, 2)) - hit, pixels - hit, pixels)


def _tversky_index(r: _Regions, alpha: float, beta: float) -> Any:
    check_number("alpha", alpha)
    check_number("beta", beta)
    return safe_ratio(r.hit, r.hit + alpha * r.false_positive + beta * r.false_negative)


def _mean_over_classes(losses: Any, r: _Regions, class_weights: Sequence[float] | None) -> Any:
    present = ops.cast(r.pixels > 0, "float32")
    return weighted_mean(losses, present * class_weight_vector(class_weights, losses.shape[-1]))
