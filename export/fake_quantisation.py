"""Int8's rounding inside a float network: a value becomes the one that an int8 file would hold.

The gradient passes through as if nothing had been rounded (Bengio et al., https://arxiv.org/abs/1308.3432;
Jacob et al., https://arxiv.org/abs/1712.05877).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from edgeseg.export.ranges import Range

_STEPS = 255
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Grid:
    """What the int8 files of a format round to.

    Args:
        kernel_steps: A kernel's channel holds whole steps from minus so many to so many.
        symmetric: Whether zero is in the middle of the range of an activation, whatever it holds.
    """

    kernel_steps: int = 127
    symmetric: bool = False


INT8 = Grid()
"""The usual one."""


def quantised_kernel(kernel: Any, axes: tuple[int, ...], steps: int) -> Any:
    """A kernel rounded in each output channel, symmetrically about zero.

    A BatchNorm that the converter folds into it multiplies an output channel by one factor, and so its step:
    rounded and then folded is the same as folded and then rounded.

    Args:
        kernel: Float, of any shape.
        axes: Those that an output channel spreads over.
        steps: The greatest magnitude becomes so many steps.

    Returns:
        The same shape; the gradient passes straight through.
    """
    greatest = ops.stop_gradient(ops.max(ops.abs(kernel), axis=axes, keepdims=True))
    step = ops.maximum(greatest, _SMALLEST) / steps
    return _straight_through(kernel, ops.round(kernel / step) * step)


def quantised_activation(x: Any, low: Any, high: Any, *, symmetric: bool = False) -> Any:
    """Values clipped to a range and rounded to its 256 steps, of which zero is one.

    Args:
        x: Float, of any shape.
        low: Its least value, a scalar; the range is widened to hold zero.
        high: Its greatest.
        symmetric: Put zero in the middle.

    Returns:
        The same shape; the gradient passes straight through inside the range, and is zero outside.
    """
    low, high = ops.minimum(low, 0.0), ops.maximum(high, 0.0)
    if symmetric:
        high = ops.maximum(-low, high)
        low, steps = -high, _STEPS - 1
    else:
        steps = _STEPS
    step = ops.maximum(high - low, _SMALLEST) / steps
    # Zero is a step, so the range moves by a part of one.
    below = ops.round(-low / step)
    inside = ops.clip(x, -below * step, (steps - below) * step)
    return _straight_through(inside, ops.round(inside / step) * step)


def _straight_through(x: Any, rounded: Any) -> Any:
    return x + ops.stop_gradient(rounded - x)


class Rounding(layers.Layer):
    """First sees what an activation holds in float; then rounds it as the quantiser will.

    The range is the whole of what was seen, zero with it, as the plain rule has it. It follows the weights as
    they are trained: it stays in the same proportion to what a batch's images span.

    Args:
        symmetric: As in :class:`Grid`.
    """

    def __init__(self, *, symmetric: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.symmetric = symmetric
        self.shares: tuple[float, float] | None = None
        self._seen: list[Range] | None = None

    def look(self) -> None:
        """From now on, keep what each frame spans."""
        self._seen = []

    def settle(self) -> None:
        """From now on, round."""
        lows, highs = np.transpose(self._seen)
        self.shares = _share(lows.min(), lows.mean()), _share(highs.max(), highs.mean())
        self._seen = None

    def call(self, x: Any) -> Any:
        if self._seen is not None:
            self._seen.append((min(float(ops.min(x)), 0.0), max(float(ops.max(x)), 0.0)))
        if self.shares is None:
            return x
        inner = tuple(range(1, len(x.shape)))
        low = ops.mean(ops.minimum(ops.min(x, axis=inner), 0.0))
        high = ops.mean(ops.maximum(ops.max(x, axis=inner), 0.0))
        low, high = ops.stop_gradient(low * self.shares[0]), ops.stop_gradient(high * self.shares[1])
        return quantised_activation(x, low, high, symmetric=self.symmetric)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


def _share(extreme: float, usual: float) -> float:
    return float(extreme / usual) if usual else 0.0


def kernels_of(layer: keras.Layer) -> list[tuple[keras.Variable, tuple[int, ...]]]:
    """The kernels of a layer that int8 files round, each with the axes that an output channel spreads over.

    Empty for a layer without any, and for one of a kind that is not known here.
    """
    if isinstance(layer, layers.SeparableConv2D):
        return [(layer.depthwise_kernel, (0, 1)), (layer.pointwise_kernel, (0, 1, 2))]
    axes = next((axes for kind, axes in _KERNEL_AXES.items() if isinstance(layer, kind)), None)
    return [] if axes is None else [(layer.kernel, axes)]


_KERNEL_AXES: dict[type[keras.Layer], tuple[int, ...]] = {
    layers.Conv2D: (0, 1, 2),
    layers.DepthwiseConv2D: (0, 1),
    layers.Conv2DTranspose: (0, 1, 3),
    layers.Dense: (0,),
}
