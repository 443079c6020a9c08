"""What all losses share: which pixels count, their one-hot truth and cross entropy, and the weighted mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from edgeseg.errors import UsageError

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


def true_class_weights(truth: Any, class_weights: Sequence[float] | None) -> Any:
    """One-hot truth ``[…, C]`` to the weight of each pixel's class ``float32 […]``, 0 where it is ignored."""
    return ops.sum(truth * class_weight_vector(class_weights, truth.shape[-1]), axis=-1)


def pixel_cross_entropy(truth: Any, logits: Any) -> Any:
    """−log softmax(logits) at the true class: one-hot truth and logits ``[…, C]`` to ``float32 […]``.

    It is finite as long as the logits are, and 0 where the pixel is ignored.
    """
    logits = ops.cast(logits, "float32")
    counted = ops.sum(truth, axis=-1)
    return counted * ops.logsumexp(logits, axis=-1) - ops.sum(truth * logits, axis=-1)


def weighted_mean(values: Any, weights: Any) -> Any:
    """Sum of values × weights over the sum of weights: 0, with zero gradients, where no weight is left."""
    return batch_sum(values * weights) / ops.maximum(batch_sum(weights), _TINY)


def batch_sum(values: Any, axis: Sequence[int] | None = None) -> Any:
    """A sum over the whole batch, also where several of TensorFlow's replicas hold a share of it each.

    Its gradient is that of the whole, see :mod:`edgeseg.training.distributed`. On JAX, and on one device, the
    batch is in one piece.
    """
    total = ops.sum(values, axis=axis)
    if keras.backend.backend() != "tensorflow":
        return total
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return total
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, total)


def safe_ratio(numerator: Any, denominator: Any) -> Any:
    """A ratio of counts that is 0, with finite gradients, where the denominator is 0."""
    return numerator / ops.maximum(denominator, _TINY)


def safe_power(base: Any, exponent: float) -> Any:
    """base^exponent with finite gradients: where the base is 0, or below 0 by rounding, it has none."""
    return ops.power(ops.maximum(base, _TINY), exponent)


def check_number(
    name: str, value: float, *, least: float = 0, most: float | None = None, whole: bool = False
) -> None:
    """Refuse an option of a loss that is no number of the range ``least`` to ``most``, both allowed.

    Raises:
        UsageError: It is none, or must be whole and is not.
    """
    fits = isinstance(value, int | float) and least <= value <= (float("inf") if most is None else most)
    if fits and value < float("inf") and (not whole or value == int(value)):
        return
    kind = "a whole number" if whole else "a number"
    raise UsageError(
        f"loss_options.{name}",
        expected=f"{kind} of at least {least}" if most is None else f"{kind} from {least} to {most}",
        found=repr(value),
        next_step=f"Correct it, for instance by --set loss_options.{name}=VALUE.",
    )
