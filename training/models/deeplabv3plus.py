"""DeepLabV3+ on a pretrained encoder of output stride 16.

Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation,
https://arxiv.org/abs/1802.02611. Here a separable convolution has its BatchNorm and ReLU behind the second of
its two steps alone, as in all of the project's models: that is what converters fold.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from edgeseg.training.models.blocks import (
    check_momentum,
    check_option,
    image_input,
    is_channels,
    logits,
    pointwise,
    separable_convolution,
)
from edgeseg.training.models.encoders import encoder as encode

RATES = (6, 12, 18)
LOW_LEVEL_CHANNELS = 48
LOW_LEVEL_STRIDE = 4
OUTPUT_STRIDE = 16


def build(
    num_classes: int,
    height: int,
    width: int,
    *,
    encoder: str = "mobilenetv2",
    encoder_weights: str = "none",
    encoder_batchnorm: str | None = None,
    channels: int = 256,
    rates: tuple[int, ...] = RATES,
    dropout: float = 0.1,
    momentum: float = 0.9,
) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; the size must be a multiple of 32.

    Args:
        num_classes, height, width: The output's classes and the input's size.
        encoder, encoder_weights, encoder_batchnorm: See :func:`edgeseg.training.models.encoders.encoder`; the
            paper's are ``resnet101`` and ``xception``, and ``mobilenetv2`` is its small one.
        channels: Of each branch of the pyramid and of the decoder.
        rates: Dilation of the pyramid's 3×3 convolutions. Where a map has not more than ``rate`` rows and
            columns, such a convolution sees no more than its own pixel: use smaller ones for small sizes.
        dropout: Share of the pyramid's features dropped while training.
        momentum: Of the BatchNorm behind the encoder.

    Raises:
        UnknownNameError: There is no such encoder.
        UsageError: An option's value does not fit, or the encoder's weights cannot be had.
    """
    _check(channels, rates, dropout)
    check_momentum(momentum)
    image = image_input(height, width, multiple=32)
    features = encode(
        encoder, image, weights=encoder_weights, batchnorm=encoder_batchnorm,
        features=(LOW_LEVEL_STRIDE, 32), output_stride=OUTPUT_STRIDE,
    )  # fmt: skip
    # At this output stride, what would be at 1/32 is at 1/16.
    x = _pyramid(features[32], channels, rates, momentum)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    x = _decoder(x, features[LOW_LEVEL_STRIDE], channels, momentum)
    return keras.Model(image, logits(x, num_classes, enlarge=LOW_LEVEL_STRIDE), name="deeplabv3plus")


def _pyramid(x: Any, channels: int, rates: tuple[int, ...], momentum: float) -> Any:
    """Atrous spatial pyramid pooling: the map seen pixel by pixel, ever more widely, and as a whole."""
    branches = [_pointwise(x, channels, "aspp_pixel", momentum)]
    for rate in rates:
        name = f"aspp_rate{rate}"
        branches.append(separable_convolution(x, channels, name=name, dilation=rate, momentum=momentum))
    branches.append(_whole(x, channels, momentum))
    return _pointwise(layers.Concatenate(name="aspp_concat")(branches), channels, "aspp", momentum)


def _whole(x: Any, channels: int, momentum: float) -> Any:
    height, width = x.shape[1:3]
    mean = layers.GlobalAveragePooling2D(keepdims=True, name="aspp_mean")(x)
    mean = _pointwise(mean, channels, "aspp_image", momentum)
    # Of one pixel, every interpolation makes the same; this one has a kernel in every converter.
    return layers.UpSampling2D((height, width), interpolation="bilinear", name="aspp_image_spread")(mean)


def _decoder(x: Any, low_level: Any, channels: int, momentum: float) -> Any:
    fine = _pointwise(low_level, LOW_LEVEL_CHANNELS, "decoder_low_level", momentum)
    factor = OUTPUT_STRIDE // LOW_LEVEL_STRIDE
    x = layers.UpSampling2D(factor, interpolation="bilinear", name="decoder_bilinear")(x)
    x = layers.Concatenate(name="decoder_concat")([x, fine])
    for index in (1, 2):
        x = separable_convolution(x, channels, name=f"decoder_conv{index}", momentum=momentum)
    return x


def _pointwise(x: Any, channels: int, name: str, momentum: float) -> Any:
    return layers.ReLU(name=f"{name}_relu")(pointwise(x, channels, name=name, momentum=momentum))


def _check(channels: object, rates: object, dropout: object) -> None:
    check_option("channels", channels, fits=is_channels(channels), expected="a whole number of at least 1")
    fits = (
        isinstance(rates, list | tuple)
        and 1 <= len(rates) == len(set(rates))
        and all(map(is_channels, rates))
    )
    check_option("rates", rates, fits=fits, expected="different whole numbers of at least 1")
    fits = isinstance(dropout, int | float) and not isinstance(dropout, bool) and 0 <= dropout < 1
    check_option("dropout", dropout, fits=fits, expected="a number from 0 to less than 1")
