"""A loss of ``LOSSES`` as the object that Keras compiles and saves."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from edgeseg.errors import UsageError
from edgeseg.training.losses import loss_function

_SHARED = {"y_true", "logits", "ignore_index", "class_weights"}


@keras.saving.register_keras_serializable(package="edgeseg")
class NamedLoss(keras.losses.Loss):
    """The loss of that name with its settings.

    Args:
        loss: One of :data:`edgeseg.training.losses.LOSSES`.
        num_classes: Number of classes C of the logits.
        ignore_index: Mask value that does not count.
        class_weights: C weights of at least 0, not all 0, or ``None``.
        **options: What else the function takes, for instance ``gamma`` of ``focal_tversky``.

    Raises:
        UnknownNameError: There is no such loss.
        UsageError: The class weights do not fit, or the loss has no such option or not with that value.
    """

    def __init__(
        self,
        loss: str,
        num_classes: int,
        ignore_index: int = 255,
        class_weights: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=loss)
        self._function, self._num_classes = loss_function(loss), num_classes
        self._settings = {"ignore_index": ignore_index, "class_weights": class_weights, **options}
        _check_weights(class_weights, num_classes)
        _check_options(self._function, options)
        # Of one pixel, so that a value that the loss refuses is said here and not in a compiled step.
        self.call(keras.ops.zeros((1, 1, 1)), keras.ops.zeros((1, 1, 1, num_classes)))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Ids ``[N, H, W]`` and logits ``[N, H, W, C]`` to a scalar."""
        return self._function(y_true, y_pred, **self._settings)

    def get_config(self) -> dict[str, Any]:
        return {"loss": self.name, "num_classes": self._num_classes, **self._settings}


def _check_weights(weights: Sequence[float] | None, num_classes: int) -> None:
    if weights is None or (len(weights) == num_classes and _usable(weights)):
        return
    raise UsageError(
        "class_weights",
        expected=f"{num_classes} finite numbers of at least 0, one for each class, not all 0",
        found=str(list(weights)),
        next_step="Correct them, or use median_frequency.",
    )


def _usable(weights: Sequence[float]) -> bool:
    return all(0 <= weight < math.inf for weight in weights) and any(weights)


def _check_options(function: Callable[..., Any], options: dict[str, Any]) -> None:
    known = sorted({*inspect.signature(function).parameters} - _SHARED)
    unknown = sorted({*options} - {*known})
    if unknown:
        raise UsageError(
            f"loss_options of {function.__name__}",
            expected=f"some of {', '.join(known)}" if known else "none, for this loss has no options",
            found=", ".join(unknown),
            next_step="Remove it, or choose a loss that has it.",
        )
