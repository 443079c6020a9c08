"""U-Net with the EfficientNetB3 encoder of ``keras.applications`` (Tan and Le, https://arxiv.org/abs/1905.11946)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
from keras import layers

from edgeseg.errors import UsageError
from edgeseg.training.models.blocks import (
    check_momentum,
    check_option,
    convolution,
    image_input,
    is_channels,
    logits,
)

DECODER = (256, 128, 64, 32, 16)
# The last feature maps at 1/16, 1/8, 1/4 and 1/2 of the input's size.
SKIPS = ("block6a_expand_activation", "block4a_expand_activation", "block3a_expand_activation",
         "block2a_expand_activation")  # fmt: skip
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def build(
    num_classes: int,
    height: int,
    width: int,
    *,
    encoder_weights: str = "imagenet",
    decoder: tuple[int, ...] = DECODER,
    momentum: float = 0.9,
) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; the size must be a multiple of 32.

    Args:
        num_classes, height, width: The output's classes and the input's size.
        encoder_weights: ``imagenet`` (Keras downloads them once), a ``.h5`` file of the same weights without
            the top, or ``none`` for a random start.
        decoder: Channels of the five decoder levels, the deepest first.
        momentum: Of the decoder's BatchNorm.

    Raises:
        UsageError: An option's value does not fit, or the encoder's weights cannot be downloaded, read, or
            are of another network.
    """
    _check_decoder(decoder)
    check_momentum(momentum)
    expected = "imagenet, none, or a .h5 file"
    check_option("encoder_weights", encoder_weights, fits=isinstance(encoder_weights, str), expected=expected)
    image = image_input(height, width, multiple=32)
    encoder = _encoder(image, encoder_weights)
    x = encoder.output
    skips = [encoder.get_layer(name).output for name in SKIPS]
    for level, filters in enumerate(decoder, start=1):
        x = layers.Conv2DTranspose(filters, 2, strides=2, name=f"decoder{level}_transpose")(x)
        if level <= len(skips):
            x = layers.Concatenate(name=f"decoder{level}_concat")([x, skips[level - 1]])
        for index in (1, 2):
            x = convolution(x, filters, name=f"decoder{level}_conv{index}", momentum=momentum)
    return keras.Model(image, logits(x, num_classes), name="unet_efficientnetb3")


def _check_decoder(decoder: object) -> None:
    levels = len(DECODER)
    fits = isinstance(decoder, list | tuple) and len(decoder) == levels and all(map(is_channels, decoder))
    check_option("decoder", decoder, fits=fits, expected=f"{levels} whole numbers of at least 1")


def _encoder(image: Any, weights: str) -> keras.Model:
    if weights == "none":
        return _application(image, None)
    if weights == "imagenet":
        return _imagenet(image)
    if not Path(weights).is_file():
        raise UsageError(
            "--encoder-weights",
            expected="imagenet, none, or a .h5 file",
            found=f"no file at {weights}",
            next_step="Correct the path.",
        )
    try:
        return _application(_as_published(image), weights)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            weights,
            expected="weights of EfficientNetB3 without its top",
            found=f"a file that does not fit ({error})",
            next_step="Save them with keras.applications.EfficientNetB3(include_top=False).save_weights.",
        ) from error


def _imagenet(image: Any) -> keras.Model:
    try:
        return _application(image, "imagenet")
    except Exception as error:  # Keras raises no narrower class when a download fails.
        raise UsageError(
            "--encoder-weights imagenet",
            expected="to download Keras's EfficientNetB3 weights, or to find them in its cache",
            found=str(error),
            next_step="Connect once, give a file with --encoder-weights PATH, or start without: none.",
        ) from error


def _application(image: Any, weights: str | None) -> keras.Model:
    return keras.applications.EfficientNetB3(include_top=False, weights=weights, input_tensor=image)


def _as_published(image: Any) -> Any:
    """The input that makes weights from a file see what ``weights="imagenet"`` makes them see.

    keras.applications divides the normalised pixels by √deviation once more, as those weights need, but only
    for the word "imagenet". Done before the normalisation, that factor k becomes k·x + 255·mean·(1 − k).
    """
    scale = [1 / math.sqrt(deviation) for deviation in IMAGENET_DEVIATION]
    offset = [255 * mean * (1 - k) for mean, k in zip(IMAGENET_MEAN, scale, strict=True)]
    return layers.Rescaling(scale, offset, name="published_scale")(image)
