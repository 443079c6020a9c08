"""U-Net Mini: two levels and a dilated bottleneck, ordered so that it folds, quantises and trains well.

The shape is that of the source notebook's network (``unet_mini_source``). What differs: each convolution is
followed by BatchNorm and then ReLU, and upsampling is a transposed convolution of kernel 2, which every
accelerator runs.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from edgeseg.training.models.blocks import (
    check_channels,
    check_input_channels,
    check_momentum,
    check_option,
    image_input,
    logits,
    luma,
    pair,
    upsample,
)
from edgeseg.training.models.pixel_scale import rescale

UPSAMPLINGS = ("transpose", "bilinear")


def build(
    num_classes: int,
    height: int,
    width: int,
    *,
    channels: int = 32,
    momentum: float = 0.9,
    upsampling: str = "transpose",
    input_channels: int = 3,
) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; 0.47 million parameters by default.

    Args:
        num_classes, height, width: The output's classes and the input's size, a multiple of 4.
        channels: Channels of the first level; doubled at each of the two levels below.
        momentum: Of BatchNorm's moving averages. Keras's own 0.99 lags for hundreds of steps, and a model
            that has learnt well then predicts badly.
        upsampling: ``transpose`` (kernel 2, stride 2) or ``bilinear``.
        input_channels: 3, or 1 to see the image in grey.

    Raises:
        UsageError: An option's value does not fit.
    """
    check_channels("channels", channels)
    check_option("upsampling", upsampling, fits=upsampling in UPSAMPLINGS, expected=" or ".join(UPSAMPLINGS))
    check_momentum(momentum)
    check_input_channels(input_channels)
    image = image_input(height, width, multiple=4)
    x = rescale(image, "minus1to1")
    if input_channels == 1:
        x = luma(x)
    skips = []
    for level, filters in enumerate((channels, 2 * channels), start=1):
        x = pair(x, filters, name=f"down{level}", momentum=momentum)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    x = pair(x, 4 * channels, name="bottleneck", momentum=momentum, dilations=(2, 4))
    for level, filters in ((2, 2 * channels), (1, channels)):
        x = _upsample(x, filters, f"up{level}", upsampling)
        x = layers.Concatenate(name=f"up{level}_concat")([x, skips[level - 1]])
        x = pair(x, filters, name=f"up{level}", momentum=momentum)
    return keras.Model(image, logits(x, num_classes), name="unet_mini")


def _upsample(x: Any, filters: int, name: str, upsampling: str) -> Any:
    if upsampling != "transpose":
        x = layers.Conv2D(filters, 1, name=f"{name}_project")(x)
    return upsample(x, filters, name, upsampling)
