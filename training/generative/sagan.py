"""``sagan``: noise becomes an image together with its mask.

Reference: Zhang et al., "Self-Attention Generative Adversarial Networks", ICML 2019: attention in both
networks, spectral normalisation in both, hinge loss, a discriminator that learns faster than the generator.
It differs from the paper in what it makes: not an image of a class, but an image and, in further channels,
the class of each of its pixels. The discriminator sees both together, so that the one must fit the other.

A real mask is 0 or 1 in each channel, a softmax never is, and that alone would give a made mask away. So the
discriminator sees a made mask's likeliest class as 1, and its gradient is that of the softmax (Bengio et al.,
"Estimating or Propagating Gradients Through Stochastic Neurons", 2013).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops
from typing_extensions import override

from edgeseg.training.generative.attention import SelfAttention, spectral
from edgeseg.training.generative.game import Game, Rules

NOISE = 128

_LEVELS = 5
_ATTENTION = 2  # where a side is a quarter of the image's


def build(classes: int, height: int, width: int, channels: int) -> Game:
    """As :func:`edgeseg.training.generative.build_game`."""
    rules = Rules(fooled, caught, rates=(4e-4, 1e-4), betas=(0.0, 0.9))
    return Game(
        _generator(classes, height, width, channels),
        _discriminator(classes, height, width, channels),
        classes,
        rules,
        NOISE,
    )


def fooled(made: Any) -> Any:
    """The hinge loss's part of the generator."""
    return -ops.mean(made)


def caught(real: Any, made: Any) -> Any:
    """Hinge loss: what is told apart by more than 1 on either side counts no more."""
    return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + made))


class OneClass(keras.Layer):
    """Softmax ``[N, H, W, C]`` to 1 for the likeliest class and 0 for all others, with its own gradient."""

    @override
    def call(self, shares: Any) -> Any:
        chosen = ops.one_hot(ops.argmax(shares, axis=-1), shares.shape[-1], dtype=shares.dtype)
        return shares + ops.stop_gradient(chosen - shares)


def _generator(classes: int, height: int, width: int, channels: int) -> keras.Model:
    noise = keras.Input((NOISE,), name="noise")
    rows, columns, widest = height // 2**_LEVELS, width // 2**_LEVELS, _width(channels, _LEVELS)
    x = spectral(layers.Dense(rows * columns * widest, name="begin"))(noise)
    x = layers.Reshape((rows, columns, widest), name="begin_places")(x)
    for level in reversed(range(_LEVELS)):
        x = layers.UpSampling2D(2, name=f"up{level}_nearest")(x)
        x = spectral(
            layers.Conv2D(_width(channels, level), 3, padding="same", use_bias=False, name=f"up{level}")
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"up{level}_bn")(x)
        x = layers.ReLU(name=f"up{level}_relu")(x)
        if level == _ATTENTION:
            x = SelfAttention(_width(channels, level))(x)
    image = layers.Conv2D(3, 3, padding="same", name="image_head")(x)
    image = layers.Activation("tanh", dtype="float32", name="image")(image)
    shares = layers.Conv2D(classes + 1, 3, padding="same", name="layout_head")(x)
    shares = layers.Softmax(dtype="float32", name="layout_shares")(shares)
    return keras.Model(noise, [image, OneClass(dtype="float32", name="layout")(shares)], name="generator")


def _discriminator(classes: int, height: int, width: int, channels: int) -> keras.Model:
    image = keras.Input((height, width, 3), name="image")
    shares = keras.Input((height, width, classes + 1), name="layout")
    x = layers.Concatenate(name="pair")([image, shares])
    for level in range(_LEVELS):
        x = spectral(
            layers.Conv2D(_width(channels, level), 4, strides=2, padding="same", name=f"judge{level}")
        )(x)
        x = layers.LeakyReLU(0.2, name=f"judge{level}_relu")(x)
        if level + 1 == _ATTENTION:
            x = SelfAttention(_width(channels, level))(x)
    x = layers.GlobalAveragePooling2D(name="all")(x)
    x = spectral(layers.Dense(1, name="judge"))(x)
    scores = layers.Activation("linear", dtype="float32", name="scores")(x)
    return keras.Model([image, shares], scores, name="discriminator")


def _width(channels: int, level: int) -> int:
    return int(channels * min(2**level, 4))
