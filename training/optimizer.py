"""Optimiser and learning-rate schedule of a recipe."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from edgeseg.training.recipe import Recipe


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The recipe's optimiser, at the learning rate of :class:`WarmUpSchedule`."""
    total = recipe.epochs * steps_per_epoch
    rate = WarmUpSchedule(recipe.learning_rate, total, round(recipe.warmup * total), recipe.schedule)
    if recipe.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
        # Decay is for kernels: it would only pull BatchNorm's scales and the biases to zero.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)


@keras.saving.register_keras_serializable(package="edgeseg")
class WarmUpSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise to ``peak`` over ``warmup_steps``, then half a cosine down to 0, or no change.

    Args:
        peak: The highest learning rate.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the rise; 0 starts at the peak.
        shape: ``cosine`` or ``constant``.
    """

    def __init__(self, peak: float, total_steps: int, warmup_steps: int, shape: str) -> None:
        super().__init__()
        self.peak, self.total_steps, self.warmup_steps, self.shape = peak, total_steps, warmup_steps, shape

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        # The first step already learns: its rate is peak / warmup_steps, not 0.
        rise = ops.minimum((step + 1) / max(self.warmup_steps, 1), 1.0)
        if self.shape == "constant":
            return self.peak * rise
        done = (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
        fall = 0.5 * (1 + ops.cos(math.pi * ops.clip(done, 0.0, 1.0)))
        return self.peak * rise * fall

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "shape": self.shape,
        }
