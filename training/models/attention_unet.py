"""Attention U-Net (Oktay et al., https://arxiv.org/abs/1804.03999).

A U-Net whose skips pass additive attention gates: the coarser features say where the finer ones matter.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from edgeseg.training.models.blocks import (
    check_channels,
    check_momentum,
    check_option,
    image_input,
    logits,
    pair,
    upsample,
)
from edgeseg.training.models.pixel_scale import rescale

DEPTHS = (2, 3, 4)


def build(
    num_classes: int,
    height: int,
    width: int,
    *,
    channels: int = 32,
    depth: int = 4,
    momentum: float = 0.9,
) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; the size must be a multiple of 2 to the ``depth``.

    Args:
        num_classes, height, width: The output's classes and the input's size.
        channels: Channels of the first level; doubled at each level below.
        depth: Number of halvings, 2 to 4.
        momentum: Of BatchNorm.

    Raises:
        UsageError: An option's value does not fit.
    """
    check_channels("channels", channels)
    check_option("depth", depth, fits=depth in DEPTHS, expected="2, 3 or 4")
    check_momentum(momentum)
    image = image_input(height, width, multiple=2**depth)
    x = rescale(image, "minus1to1")
    skips = []
    for level in range(1, depth + 1):
        x = pair(x, channels * 2 ** (level - 1), name=f"down{level}", momentum=momentum)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    x = pair(x, channels * 2**depth, name="bottleneck", momentum=momentum)
    for level in range(depth, 0, -1):
        filters = channels * 2 ** (level - 1)
        skip = _gated(skips[level - 1], x, filters, f"gate{level}", momentum)
        x = upsample(x, filters, f"up{level}", "transpose")
        x = layers.Concatenate(name=f"up{level}_concat")([x, skip])
        x = pair(x, filters, name=f"up{level}", momentum=momentum)
    return keras.Model(image, logits(x, num_classes), name="attention_unet")


def _gated(skip: Any, gate: Any, filters: int, name: str, momentum: float) -> Any:
    """The skip ``[N, 2h, 2w, C]``, each pixel weighed by 0 to 1 as the gate ``[N, h, w, D]`` tells.

    Both are brought to the gate's size and half of the skip's channels and added; the weights that come of it
    are enlarged back.
    """
    between = max(1, filters // 2)
    seen = layers.Conv2D(between, 2, strides=2, use_bias=False, name=f"{name}_skip")(skip)
    asked = layers.Conv2D(between, 1, name=f"{name}_ask")(gate)
    met = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([seen, asked]))
    weights = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_weights")(met)
    weights = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_bilinear")(weights)
    weighed = layers.Multiply(name=f"{name}_multiply")([skip, weights])
    weighed = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_out")(weighed)
    return layers.BatchNormalization(momentum=momentum, name=f"{name}_out_bn")(weighed)
