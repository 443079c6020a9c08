"""A finished network rebuilt with other strides and padding, and the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

# Layers with a kernel over the picture; DepthwiseConv2D and SeparableConv2D are no subclasses of Conv2D.
_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)


def dilated(network: keras.Model) -> keras.Model:
    """The network with an output of 1/16 of its input's size instead of 1/32, by dilation.

    The last halving is left out, and the 3×3 and 5×5 convolutions behind it look twice as far, so that they
    see what they saw (Chen et al., DeepLabv3, https://arxiv.org/abs/1706.05587).

    Args:
        network: Of a static input size whose sides are multiples of 32.
    """
    height = network.input_shape[1]
    return _rebuilt(network, lambda layer: _without_last_halving(layer, height))


def same_padded(network: keras.Model) -> keras.Model:
    """The network with all its ``valid`` convolutions made ``same``: each halving gives exactly half."""

    def padded(layer: keras.Layer) -> dict[str, Any]:
        return {"padding": "same"} if isinstance(layer, _CONVOLUTIONS) else {}

    return _rebuilt(network, padded)


def _rebuilt(network: keras.Model, changes: Callable[[keras.Layer], dict[str, Any]]) -> keras.Model:
    def copy(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config({**layer.get_config(), **changes(layer)})

    made = keras.models.clone_model(network, clone_function=copy)
    made.set_weights(network.get_weights())
    return made


def _without_last_halving(layer: keras.Layer, height: int) -> dict[str, Any]:
    """What changes in a layer's config; where it stands is told by the sizes that it sees and makes."""
    if not isinstance(layer, (*_CONVOLUTIONS, layers.MaxPooling2D, layers.ZeroPadding2D)):
        return {}
    if isinstance(layer, layers.ZeroPadding2D):
        return _padding(layer, layer.input.shape[1], height)
    if layer.output.shape[1] != height // 32:
        return {}
    if layer.strides != (1, 1):
        return {"strides": (1, 1)}
    return (
        {"dilation_rate": (2, 2)} if isinstance(layer, _CONVOLUTIONS) and layer.kernel_size != (1, 1) else {}
    )


def _padding(layer: layers.ZeroPadding2D, side: int, height: int) -> dict[str, Any]:
    if side == height // 16:
        # Before a stride of 2 an even side is padded more at its end; without it that would lose a pixel.
        return {"padding": tuple((max(pair), max(pair)) for pair in layer.padding)}
    if side == height // 32:
        return {"padding": tuple((2 * before, 2 * after) for before, after in layer.padding)}
    return {}
