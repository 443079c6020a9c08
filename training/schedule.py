"""The learning rate over the steps of a run, and its cuts where validation stands still."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

POLY_POWER = 0.9
PLATEAU_EPOCHS = 5
PLATEAU_FACTOR = 0.5


@keras.saving.register_keras_serializable(package="edgeseg")
class WarmUpSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise to ``peak`` over ``warmup_steps``, then a fall of some shape.

    Args:
        peak: The highest learning rate.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the rise; 0 starts at the peak.
        shape: ``cosine`` (half a cosine down to 0), ``poly`` ((1 − done)^0.9, as in DeepLab), ``constant``,
            or ``plateau``: constant too, for its cuts come from :func:`plateau_factor` after each epoch.
    """

    def __init__(self, peak: float, total_steps: int, warmup_steps: int, shape: str) -> None:
        super().__init__()
        self.peak, self.total_steps, self.warmup_steps, self.shape = peak, total_steps, warmup_steps, shape

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        # The first step already learns: its rate is peak / warmup_steps, not 0.
        rise = ops.minimum((step + 1) / max(self.warmup_steps, 1), 1.0)
        return self.peak * rise * self._fall(step)

    def _fall(self, step: Any) -> Any:
        if self.shape in ("constant", "plateau"):
            return 1.0
        done = (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
        done = ops.clip(done, 0.0, 1.0)
        return (
            ops.power(1 - done, POLY_POWER) if self.shape == "poly" else 0.5 * (1 + ops.cos(math.pi * done))
        )

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "shape": self.shape,
        }


def plateau_factor(scores: Sequence[float]) -> float:
    """What the learning rate is multiplied by after these epochs: halved after each 5 without a better score.

    Args:
        scores: Val mIoU of the finished epochs. A pure function of them, so that a resumed run goes on as the
            uninterrupted one would have.
    """
    factor, best, waited = 1.0, -math.inf, 0
    for score in scores:
        best, waited = (score, 0) if score > best else (best, waited + 1)
        if waited == PLATEAU_EPOCHS:
            factor, waited = factor * PLATEAU_FACTOR, 0
    return factor
