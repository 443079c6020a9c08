"""The Lovász-Softmax loss: the Jaccard loss, made continuous without taking probabilities for counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from edgeseg.training.losses.pixels import class_weight_vector, one_hot_truth, weighted_mean


def lovasz_softmax(
    y_true: Any, logits: Any, *, ignore_index: int = 255, class_weights: Sequence[float] | None = None
) -> Any:
    """The Lovász extension of each class's Jaccard loss (Berman et al., https://arxiv.org/abs/1705.08790).

    Per class, the pixels of the whole batch are sorted by their error, 1 − p where the class is true and p
    elsewhere, and each error is weighed by what its pixel adds to the Jaccard loss of the pixels before it.
    Of certain predictions, right or wrong, it is their Jaccard loss 1 − IoU. The mean is over the classes
    that the truth holds.

    It sorts C × N·H·W numbers in each step, which is slow without an accelerator.

    Args:
        y_true: Class ids ``[N, H, W]``, integers or floats of whole value.
        logits: ``float [N, H, W, C]``.
        ignore_index: Id of pixels that do not count.
        class_weights: C weights of the mean over classes; ``None`` weighs all classes alike.

    Returns:
        A scalar from 0 to 1; 0 where every pixel is ignored.
    """
    num_classes = logits.shape[-1]
    truth = ops.reshape(one_hot_truth(y_true, num_classes, ignore_index), (-1, num_classes))
    probability = ops.reshape(ops.softmax(ops.cast(logits, "float32"), axis=-1), (-1, num_classes))
    counted = ops.sum(truth, axis=-1, keepdims=True)
    # 1 − p or p. Where it is 0 a pixel adds nothing, whatever its place in the order.
    error = (truth + probability * (1 - 2 * truth)) * counted
    losses, pixels = _extended_jaccard(ops.transpose(error), ops.transpose(truth))
    present = ops.cast(pixels > 0, "float32")
    return weighted_mean(losses, present * class_weight_vector(class_weights, num_classes))


def _extended_jaccard(error: Any, truth: Any) -> tuple[Any, Any]:
    """Errors and truth ``[C, P]`` to the loss of each class ``[C]`` and its number of true pixels ``[C]``."""
    order = ops.argsort(-ops.stop_gradient(error), axis=-1)
    error = ops.take_along_axis(error, order, axis=-1)
    # As integers: a float32 that counts up by 1 stops at 2^24 pixels.
    truth = ops.cast(ops.take_along_axis(truth, order, axis=-1), "int32")
    pixels = ops.sum(truth, axis=-1, keepdims=True)
    return ops.sum(error * _jaccard_steps(truth, pixels), axis=-1), pixels[:, 0]


def _jaccard_steps(truth: Any, pixels: Any) -> Any:
    """What each pixel adds to the Jaccard loss when it turns wrong after all before it: ``float32 [C, P]``.

    With intersection I and union U after the step: a true pixel takes 1 from I, which adds 1/U; another one
    adds 1 to U, which adds I/(U − 1) − I/U = I/(U·(U − 1)).
    """
    missed = ops.cumsum(truth, axis=-1)
    intersection = ops.cast(pixels - missed, "float32")
    union = ops.cast(pixels + ops.cumsum(1 - truth, axis=-1), "float32")
    added = intersection / (union * ops.maximum(union - 1, 1.0))
    return ops.where(truth > 0, 1 / ops.maximum(union, 1.0), added)
