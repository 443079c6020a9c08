"""U-Net on a pretrained encoder, with the topology of the ``segmentation_models`` package.

Ronneberger et al., U-Net, https://arxiv.org/abs/1505.04597; the decoder is that of
https://github.com/qubvel/segmentation_models.
"""

from __future__ import annotations

import keras
from keras import layers

from edgeseg.training.models.blocks import (
    UPSAMPLINGS,
    check_momentum,
    check_option,
    convolution,
    image_input,
    is_channels,
    logits,
    separable_convolution,
    upsample,
)
from edgeseg.training.models.encoders import PUBLISHED
from edgeseg.training.models.encoders import encoder as encode

DECODER = (256, 128, 64, 32, 16)
HEAD_KERNELS = (1, 3)
SKIP_STRIDES = (16, 8, 4, 2)


def build(
    num_classes: int,
    height: int,
    width: int,
    *,
    encoder: str = "mobilenetv2",
    encoder_weights: str = "none",
    encoder_batchnorm: str | None = None,
    pixel_scale: str = PUBLISHED,
    decoder: tuple[int, ...] = DECODER,
    separable: bool = False,
    upsampling: str = "bilinear",
    head_kernel: int = 1,
    dropout: float = 0.0,
    momentum: float = 0.9,
) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; the size must be a multiple of 32.

    Args:
        num_classes, height, width: The output's classes and the input's size.
        encoder, encoder_weights, encoder_batchnorm, pixel_scale: See
            :func:`edgeseg.training.models.encoders.encoder`.
        decoder: Channels of the decoder's levels, the deepest first: 5 levels end at the input's size; after
            2 to 4 the logits are enlarged the rest of the way.
        separable: Depthwise-separable convolutions in the decoder: far fewer operations.
        upsampling: ``bilinear``, ``nearest`` (as in ``segmentation_models``) or ``transpose`` (kernel 2).
        head_kernel: Side of the last convolution's kernel: 1, or 3 as in ``segmentation_models``.
        dropout: Share of the features dropped before the last convolution, while training.
        momentum: Of the decoder's BatchNorm.

    Raises:
        UnknownNameError: There is no such encoder.
        UsageError: An option's value does not fit, or the encoder's weights cannot be had.
    """
    _check(decoder, separable, upsampling, head_kernel, dropout)
    check_momentum(momentum)
    image = image_input(height, width, multiple=32)
    features = encode(
        encoder, image, weights=encoder_weights, batchnorm=encoder_batchnorm, pixel_scale=pixel_scale
    )
    block = separable_convolution if separable else convolution
    x = features[32]
    for level, filters in enumerate(decoder, start=1):
        x = upsample(x, filters, f"decoder{level}", upsampling)
        if level <= len(SKIP_STRIDES):
            x = layers.Concatenate(name=f"decoder{level}_concat")([x, features[SKIP_STRIDES[level - 1]]])
        for index in (1, 2):
            x = block(x, filters, name=f"decoder{level}_conv{index}", momentum=momentum)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    enlarge = 2 ** (len(DECODER) - len(decoder))
    return keras.Model(image, logits(x, num_classes, enlarge=enlarge, kernel=head_kernel), name="unet")


def _check(
    decoder: object, separable: object, upsampling: object, head_kernel: object, dropout: object
) -> None:
    fits = isinstance(decoder, list | tuple) and 2 <= len(decoder) <= len(DECODER)
    fits = fits and all(map(is_channels, decoder))
    check_option("decoder", decoder, fits=fits, expected=f"2 to {len(DECODER)} whole numbers of at least 1")
    check_option("separable", separable, fits=isinstance(separable, bool), expected="true or false")
    check_option("upsampling", upsampling, fits=upsampling in UPSAMPLINGS, expected=" or ".join(UPSAMPLINGS))
    fits = head_kernel in HEAD_KERNELS
    check_option("head_kernel", head_kernel, fits=fits, expected=" or ".join(map(str, HEAD_KERNELS)))
    fits = isinstance(dropout, int | float) and not isinstance(dropout, bool) and 0 <= dropout < 1
    check_option("dropout", dropout, fits=fits, expected="a number from 0 to less than 1")
