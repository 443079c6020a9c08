"""``pix2pix``: a mask becomes an image of it.

Reference: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017. The
generator is a U-Net whose dropout stays on when images are made: it is all the chance that it has. The
discriminator judges patches of 34×34 pixels, each beside its part of the mask; the paper's are of 70×70 in
images of 256×256. Instances are normalised, and the loss of a made image is log loss and 100 times its mean
absolute difference from the real one.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from edgeseg.training.generative.game import Game, Rules, layout

_LEVELS = 5
_DROPPED = 2


def build(classes: int, height: int, width: int, channels: int) -> Game:
    """As :func:`edgeseg.training.generative.build_game`."""
    rules = Rules(fooled, caught, rates=(2e-4, 2e-4), betas=(0.5, 0.999), likeness=100.0)
    return Game(
        _generator(classes, height, width, channels),
        _discriminator(classes, height, width, channels),
        classes,
        rules,
    )


def fooled(made: Any) -> Any:
    """Log loss of made pairs' scores as those of real ones."""
    return ops.mean(ops.softplus(-made))


def caught(real: Any, made: Any) -> Any:
    """Log loss of both kinds' scores, halved as in the paper: the discriminator learns more slowly."""
    return (ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(made))) / 2


def _generator(classes: int, height: int, width: int, channels: int) -> keras.Model:
    masks = keras.Input((height, width), dtype="uint8", name="mask")
    x, skips = layout(masks, classes), []
    for level in range(_LEVELS):
        skips.append(x)
        # The innermost may be one pixel, of which nothing would be left.
        x = _down(x, channels * min(2**level, 4), f"down{level}", normalised=0 < level < _LEVELS - 1)
    for level in reversed(range(1, _LEVELS)):
        x = _up(x, channels * min(2 ** (level - 1), 4), f"up{level}")
        if level >= _LEVELS - _DROPPED:
            x = layers.Dropout(0.5, name=f"dropout{level}")(x, training=True)
        x = layers.Concatenate(name=f"skip{level}")([x, skips[level]])
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", name="up0")(x)
    image = layers.Activation("tanh", dtype="float32", name="image")(x)
    return keras.Model(masks, image, name="generator")


def _discriminator(classes: int, height: int, width: int, channels: int) -> keras.Model:
    image = keras.Input((height, width, 3), name="image")
    shares = keras.Input((height, width, classes + 1), name="layout")
    x = layers.Concatenate(name="pair")([image, shares])
    for level in range(2):
        x = _down(x, channels * 2**level, f"judge{level}", normalised=level > 0)
    x = layers.Conv2D(channels * 4, 4, padding="same", use_bias=False, name="judge2")(x)
    x = layers.LeakyReLU(0.2, name="judge2_relu")(_normalised(x, "judge2"))
    x = layers.Conv2D(1, 4, padding="same", name="judge3")(x)
    scores = layers.Activation("linear", dtype="float32", name="scores")(x)
    return keras.Model([image, shares], scores, name="discriminator")


def _down(x: Any, filters: int, name: str, *, normalised: bool) -> Any:
    x = layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False, name=name)(x)
    return layers.LeakyReLU(0.2, name=f"{name}_relu")(_normalised(x, name) if normalised else x)


def _up(x: Any, filters: int, name: str) -> Any:
    x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False, name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(_normalised(x, name))


def _normalised(x: Any, name: str) -> Any:
    """Each channel of each image for itself."""
    return layers.GroupNormalization(groups=-1, name=f"{name}_norm")(x)
