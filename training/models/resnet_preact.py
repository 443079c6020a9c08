"""ResNets with pre-activation, as the package ``classification_models`` has them.

He et al., https://arxiv.org/abs/1603.05027. ``segmentation_models`` uses them, and no ResNet of Keras
takes their weights. Raw pixels go in; a BatchNorm without scale, ``bn_data``, is their
normalisation. Layers with weights bear the names that they have there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

REPETITIONS = {
    "ResNet18Preact": (2, 2, 2, 2),
    "ResNet34Preact": (3, 4, 6, 3),
    "ResNet50Preact": (3, 4, 6, 3),
    "ResNet101Preact": (3, 4, 23, 3),
    "ResNet152Preact": (3, 8, 36, 3),
}
"""Name of a network to the number of units in each of its four stages."""

BASIC = ("ResNet18Preact", "ResNet34Preact")
"""Those whose units are two 3×3 convolutions; the others' are bottlenecks of three convolutions."""

_EPSILON = 2e-5


def resnet_preact(name: str, shape: tuple[int, ...], weights: str | None) -> keras.Model:
    """A network of ``REPETITIONS`` without its top.

    Args:
        name: Which one.
        shape: ``(height, width, 3)`` of the input.
        weights: A ``.h5`` file of them, or ``None`` for a random start.

    Raises:
        OSError, ValueError, KeyError: The file cannot be read, or is of another network.
    """
    unit = _basic if name in BASIC else _bottleneck
    image = keras.Input(shape, name="data")
    x = layers.BatchNormalization(epsilon=_EPSILON, scale=False, name="bn_data")(image)
    x = layers.ZeroPadding2D(3, name="conv0_pad")(x)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, kernel_initializer="he_uniform", name="conv0")(x)
    x = _norm_relu(x, "bn0", "relu0")
    x = layers.ZeroPadding2D(1, name="pooling0_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pooling0")(x)
    for stage, repetitions in enumerate(REPETITIONS[name], start=1):
        for index in range(1, repetitions + 1):
            strides = 2 if stage > 1 and index == 1 else 1
            x = _residual(x, unit, 32 * 2**stage, f"stage{stage}_unit{index}", strides, first=index == 1)
    network = keras.Model(image, _norm_relu(x, "bn1", "relu1"))
    if weights:
        network.load_weights(weights)
    return network


def _residual(x: Any, unit: Callable[..., Any], filters: int, name: str, strides: int, *, first: bool) -> Any:
    activated = _norm_relu(x, f"{name}_bn1", f"{name}_relu1")
    made = unit(activated, filters, name, strides)
    shortcut = _convolution(activated, made.shape[-1], 1, f"{name}_sc", strides) if first else x
    return layers.Add(name=f"{name}_add")([made, shortcut])


def _basic(x: Any, filters: int, name: str, strides: int) -> Any:
    x = _convolution(x, filters, 3, f"{name}_conv1", strides)
    x = _norm_relu(x, f"{name}_bn2", f"{name}_relu2")
    return _convolution(x, filters, 3, f"{name}_conv2")


def _bottleneck(x: Any, filters: int, name: str, strides: int) -> Any:
    x = _convolution(x, filters, 1, f"{name}_conv1")
    x = _norm_relu(x, f"{name}_bn2", f"{name}_relu2")
    x = _convolution(x, filters, 3, f"{name}_conv2", strides)
    x = _norm_relu(x, f"{name}_bn3", f"{name}_relu3")
    return _convolution(x, 4 * filters, 1, f"{name}_conv3")


def _convolution(x: Any, filters: int, kernel: int, name: str, strides: int = 1) -> Any:
    if kernel > 1:
        # Not "same", which pads an even side at its end alone when the stride is 2.
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters, kernel, strides=strides, use_bias=False, kernel_initializer="he_uniform", name=name
    )(x)


def _norm_relu(x: Any, norm_name: str, relu_name: str) -> Any:
    x = layers.BatchNormalization(epsilon=_EPSILON, name=norm_name)(x)
    return layers.ReLU(name=relu_name)(x)
