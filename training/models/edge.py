"""edge: the project's own real-time network, a cut MobileNetV2 under a light decoder.

A pretrained MobileNetV2 (Sandler et al., https://arxiv.org/abs/1801.04381) that sees the image at a lower
resolution, as by the resolution multiplier of MobileNets (Howard et al., https://arxiv.org/abs/1704.04861).
Its end is gated by pooled features, as in LR-ASPP (Howard et al., https://arxiv.org/abs/1905.02244), and
brought up by sums with finer features, as in Feature Pyramid Networks (Lin et al.,
https://arxiv.org/abs/1612.03144). All of it is what fast int8 kernels exist for: 1×1 and depthwise
convolutions whose BatchNorm folds, ReLU, sums and bilinear resizes; no concatenation, no h-swish.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
from keras import layers

from edgeseg.training.models.blocks import (
    check_channels,
    check_momentum,
    check_option,
    image_input,
    pointwise,
    resize,
)
from edgeseg.training.models.encoders import encoder

ENCODER = "mobilenetv2"
STRIDES = (32, 16, 8, 4, 2)
ENDS = (32, 16)
FINEST = (8, 4, 2)
AUXILIARY_STRIDE = 16
MULTIPLE = 32


def build(
    num_classes: int,
    height: int,
    width: int,
    *,
    encoder_weights: str = "none",
    encoder_batchnorm: str | None = None,
    input_scale: float = 0.75,
    encoder_end: int = 16,
    finest: int = 4,
    channels: int = 64,
    auxiliary: bool = False,
    momentum: float = 0.9,
) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; the size must be a multiple of 32.

    Args:
        num_classes, height, width: The output's classes and the input's size.
        encoder_weights, encoder_batchnorm: See :func:`edgeseg.training.models.encoders.encoder`.
        input_scale: Part of the image's height and width at which the network sees it, above 0, at most 1;
            the sides are rounded to multiples of 32.
        encoder_end: Stride at which the encoder is cut, 16 or 32, in pixels that the network sees, as below.
        finest: Stride of the finest features that the decoder reads, 2, 4 or 8. The logits are made there and
            enlarged bilinearly to the image's size.
        channels: Of every decoder level.
        auxiliary: Whether to add logits at stride 16, for a second loss in training.
        momentum: Of the decoder's BatchNorm.

    Raises:
        UsageError: An option's value does not fit, or the encoder's weights cannot be had.
    """
    _check(input_scale, encoder_end, finest, channels, auxiliary)
    check_momentum(momentum)
    image = image_input(height, width, multiple=MULTIPLE)
    strides = [stride for stride in STRIDES if finest <= stride <= encoder_end]
    features = encoder(
        ENCODER, _scaled(image, input_scale), weights=encoder_weights, batchnorm=encoder_batchnorm,
        features=strides[::-1],
    )  # fmt: skip
    levels = {encoder_end: _context(features[encoder_end], channels, momentum)}
    for coarse, stride in pairwise(strides):
        levels[stride] = _finer(levels[coarse], features[stride], channels, f"stride{stride}", momentum)
    outputs = [_logits(levels[finest], num_classes, height, width)]
    if auxiliary:
        outputs.append(_auxiliary(levels[AUXILIARY_STRIDE], num_classes))
    return keras.Model(image, outputs if auxiliary else outputs[0], name="edge")


def _check(
    input_scale: object, encoder_end: object, finest: object, channels: object, auxiliary: object
) -> None:
    is_scale = (
        isinstance(input_scale, int | float) and not isinstance(input_scale, bool) and 0 < input_scale <= 1
    )
    check_option("input_scale", input_scale, fits=is_scale, expected="a number above 0, at most 1")
    check_option("encoder_end", encoder_end, fits=_is_one_of(encoder_end, ENDS), expected="16 or 32")
    check_option("finest", finest, fits=_is_one_of(finest, FINEST), expected="2, 4 or 8")
    check_channels("channels", channels)
    check_option("auxiliary", auxiliary, fits=isinstance(auxiliary, bool), expected="true or false")


def _is_one_of(value: object, known: tuple[int, ...]) -> bool:
    return isinstance(value, int) and value in known


def _scaled(image: Any, scale: float) -> Any:
    if scale == 1:
        return image
    height, width = (max(MULTIPLE, MULTIPLE * round(side * scale / MULTIPLE)) for side in image.shape[1:3])
    # Of numbers with a fraction, for those without one Resizing would round.
    pixels = layers.Rescaling(1.0, name="pixels")(image)
    return resize(pixels, height, width, name="scale")


def _context(x: Any, channels: int, momentum: float) -> Any:
    """The deepest features, each channel weighed by what the whole image holds."""
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="context_pool")(x)
    gate = layers.Conv2D(channels, 1, activation="sigmoid", name="context_gate")(gate)
    x = pointwise(x, channels, name="context", momentum=momentum)
    x = layers.ReLU(name="context_relu")(x)
    return layers.Multiply(name="context_gated")([x, gate])


def _finer(x: Any, skip: Any, channels: int, name: str, momentum: float) -> Any:
    """Coarse features brought to the skip's size, summed with it and smoothed by a separable convolution."""
    x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_bilinear")(x)
    x = layers.Add(name=f"{name}_sum")([x, pointwise(skip, channels, name=f"{name}_skip", momentum=momentum)])
    x = layers.DepthwiseConv2D(
        3, padding="same", use_bias=False, depthwise_initializer="he_normal", name=f"{name}_depthwise"
    )(x)
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(name=f"{name}_depthwise_relu")(x)
    x = pointwise(x, channels, name=name, momentum=momentum)
    return layers.ReLU(name=f"{name}_relu")(x)


def _logits(x: Any, num_classes: int, height: int, width: int) -> Any:
    x = layers.Conv2D(num_classes, 1, name="head")(x)
    x = resize(x, height, width, name="head_bilinear")
    return layers.Activation("linear", dtype="float32", name="logits")(x)


def _auxiliary(x: Any, num_classes: int) -> Any:
    x = layers.Conv2D(num_classes, 1, name="auxiliary_head")(x)
    return layers.Activation("linear", dtype="float32", name="auxiliary_logits")(x)
