"""What all losses share: which pixels count, their one-hot truth, and the weighted mean over classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

_TINY = 1e-7


def one_hot_truth(y_true: Any, num_classes: int, ignore_index: int) -> Any:
    """Ids ``[N, H, W]`` to ``float32 [N, H, W, C]``; a pixel that is ignored is zero in every class.

    It exists inside the compiled step alone: no one-hot tensor comes from the data. Keras hands labels to a
    loss as floats, so the ids are made integers again.
    """
    ids = ops.cast(y_true, "int32")
    # A class may not stand at the ignore index; one_hot gives zeros for −1 in every backend.
    return ops.one_hot(ops.where(ids == ignore_index, -1, ids), num_classes, dtype="float32")


def class_weight_vector(class_weights: Sequence[float] | None, num_classes: int) -> Any:
    """``float32 [C]``; ones where there are no weights."""
    return ops.ones(num_classes) if class_weights is None else ops.convert_to_tensor(class_weights, "float32")


def weighted_mean(values: Any, weights: Any) -> Any:
    """Sum of values × weights over the sum of weights: 0, with zero gradients, where no weight is left."""
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), _TINY)


def safe_ratio(numerator: Any, denominator: Any) -> Any:
    """A ratio of counts that is 0, with finite gradients, where the denominator is 0."""
    return numerator / ops.maximum(denominator, _TINY)
