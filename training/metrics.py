"""mIoU while training: a confusion matrix that grows on the device, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

# Counts of a large split pass 2³¹, and not every backend has int64: they are kept as high·2²⁴ + low.
_BASE = 1 << 24
_WORTH_COMPILING = 1 << 17
"""Numbers of one image's logits; of fewer the compiler takes longer than it saves."""


@keras.saving.register_keras_serializable(package="edgeseg")
class MeanIoU(keras.metrics.Metric):
    """Mean IoU over the classes in truth or prediction, of sparse labels and logits, exactly counted.

    It is the mIoU of :mod:`edgeseg.metrics`, at model resolution. ``update_state`` takes ids ``[N, H, W]``
    and logits ``[N, H, W, C]``; pixels of ``ignore_index`` do not count.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, name: str = "miou") -> None:
        super().__init__(name=name)
        self.num_classes, self.ignore_index = num_classes, ignore_index
        shape = (num_classes * num_classes,)
        self._low = self.add_variable(shape, "zeros", dtype="int32", name="low")
        self._high = self.add_variable(shape, "zeros", dtype="int32", name="high")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if sample_weight is not None:
            raise ValueError(
                "MeanIoU counts pixels and takes no sample_weight; ignore pixels in the mask instead"
            )
        truth = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        predicted = ops.reshape(_best_class(y_pred), (-1,))
        cells = self.num_classes**2
        # What is ignored falls into one more cell, which is cut off.
        cell = ops.where(truth == self.ignore_index, cells, truth * self.num_classes + predicted)
        counts = ops.segment_sum(ops.ones_like(cell), cell, num_segments=cells + 1)[:cells]
        low = self._low + counts
        self._high.assign_add(low // _BASE)
        self._low.assign(low % _BASE)

    def result(self) -> Any:
        """A scalar from 0 to 1; 0 where nothing was counted."""
        counts = ops.cast(self._high, "float32") * _BASE + ops.cast(self._low, "float32")
        matrix = ops.reshape(counts, (self.num_classes, self.num_classes))
        hit = ops.diagonal(matrix)
        union = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - hit
        present = ops.cast(union > 0, "float32")
        return ops.sum(hit / ops.maximum(union, 1.0) * present) / ops.maximum(ops.sum(present), 1.0)

    def matrix(self) -> npt.NDArray[np.int64]:
        """The exact counts ``int64 [C, C]``, row = truth, column = prediction."""
        low, high = (ops.convert_to_numpy(v).astype(np.int64) for v in (self._low, self._high))
        counts: npt.NDArray[np.int64] = (high * _BASE + low).reshape(self.num_classes, self.num_classes)
        return counts

    def get_config(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes, "ignore_index": self.ignore_index, "name": self.name}


def _best_class(logits: Any) -> Any:
    """``int32 [N, H, W]`` of logits ``[N, H, W, C]``, the first of equal ones."""
    large = math.prod(logits.shape[1:]) >= _WORTH_COMPILING
    if keras.backend.backend() == "tensorflow" and large:
        return _compiled_argmax()(logits)
    return ops.cast(ops.argmax(logits, axis=-1), "int32")


@cache
def _compiled_argmax() -> Callable[[Any], Any]:
    # On a CPU TensorFlow's own takes seven times as long, which was 4 % of a step of edge.
    import tensorflow as tf

    def argmax(logits: Any) -> Any:
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    compiled: Callable[[Any], Any] = tf.function(argmax, jit_compile=True, reduce_retracing=True)
    return compiled
