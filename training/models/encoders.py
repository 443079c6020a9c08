"""Encoders: networks of ``keras.applications``, and the ResNets of ``segmentation_models``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
from keras import layers

from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.training.models.blocks import check_option
from edgeseg.training.models.dilation import dilated, same_padded
from edgeseg.training.models.pixel_scale import check_pixel_scale, rescale
from edgeseg.training.models.resnet_preact import REPETITIONS, resnet_preact

STRIDES = (2, 4, 8, 16, 32)
BATCHNORMS = ("frozen", "trained")
OUTPUT_STRIDES = (16, 32)
PUBLISHED = "published"


@dataclass(frozen=True)
class Encoder:
    """One network.

    Args:
        application: Its name in ``keras.applications`` or in ``resnet_preact``.
        pixel_scale: Of ``PIXEL_SCALES``: the one its published weights were trained with.
        halving: The layers that halve the size from 1/2, 1/4, 1/8 and 1/16. What goes into one of them is the
            feature map of that stride, as in ``segmentation_models``.
        arguments: More for its function.
        first: The layer with which the network itself begins, where the application's own preprocessing
            comes before it and cannot be left out.
        bgr: Whether its published weights want blue first.
        same_padding: Whether ``valid`` convolutions must be padded for its maps to be H / stride.
    """

    application: str
    pixel_scale: str
    halving: tuple[str, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    first: str | None = None
    bgr: bool = False
    same_padding: bool = False


def encoder(
    name: str,
    image: Any,
    *,
    weights: str,
    batchnorm: str | None,
    features: Sequence[int] = STRIDES,
    output_stride: int = 32,
    pixel_scale: str = PUBLISHED,
) -> dict[int, Any]:
    """Feature maps of an image by a pretrained network, which is the sub-model ``encoder``.

    Args:
        name: One of ``ENCODERS``.
        image: ``uint8 [N, H, W, 3]`` RGB, 0 to 255; sides are multiples of 32.
        weights: ``imagenet`` (Keras downloads them once), a ``.h5`` file of the network without its top, or
            ``none`` for a random start.
        batchnorm: ``frozen`` keeps the BatchNorm layers at their pretrained statistics, which a small data
            set would spoil; ``trained`` trains them; ``None`` freezes those that are pretrained.
        features: Strides of the wanted maps. Layers that none of them needs are left out.
        output_stride: With 16, the last stage keeps the size of the one before it: its convolutions are
            dilated instead, with the same weights. Its map is under 32 nevertheless.
        pixel_scale: ``published``, what the encoder's published weights were trained with, or one of
            ``PIXEL_SCALES``.

    Returns:
        Stride s to a map ``[N, H / s, W / s, channels]`` in the compute dtype.

    Raises:
        UnknownNameError: There is no such encoder.
        UsageError: An option's value does not fit, or the weights cannot be downloaded, read, or are of
            another network.
    """
    if name not in ENCODERS:
        raise UnknownNameError.of("encoder", name, ENCODERS)
    known = ENCODERS[name]
    scale = known.pixel_scale if pixel_scale == PUBLISHED else pixel_scale
    _check(weights, batchnorm, output_stride, scale)
    batchnorm = resolve_batchnorm(batchnorm, weights)
    network = _network(known, tuple(image.shape[1:]), weights)
    if output_stride == 16:
        network = dilated(network)
    if batchnorm == "frozen":
        _freeze_batchnorm(network)
    maps = _cut(known, network, features)(rescale(image, scale))
    return dict(zip(features, maps if isinstance(maps, list) else [maps], strict=True))


def resolve_batchnorm(batchnorm: str | None, weights: str) -> str:
    """``frozen`` or ``trained``: what was asked for, or what suits the weights to begin with."""
    return batchnorm or ("trained" if weights == "none" else "frozen")


def _check(weights: object, batchnorm: object, output_stride: object, scale: object) -> None:
    expected = "imagenet, none, or a .h5 file"
    check_option("encoder_weights", weights, fits=isinstance(weights, str), expected=expected)
    expected = " or ".join(BATCHNORMS)
    check_option("encoder_batchnorm", batchnorm, fits=batchnorm in (None, *BATCHNORMS), expected=expected)
    fits = output_stride in OUTPUT_STRIDES
    check_option("output_stride", output_stride, fits=fits, expected=" or ".join(map(str, OUTPUT_STRIDES)))
    check_pixel_scale(scale)


def _network(known: Encoder, shape: tuple[int, ...], weights: str) -> keras.Model:
    network = _with_weights(known, shape, weights)
    if known.bgr and weights != "none":
        _turn_first_kernel(network)
    return same_padded(network) if known.same_padding else network


def _with_weights(known: Encoder, shape: tuple[int, ...], weights: str) -> keras.Model:
    if weights == "none":
        return _application(known, shape, None)
    if weights == "imagenet":
        return _downloaded(known, shape)
    if not Path(weights).is_file():
        raise UsageError(
            "--encoder-weights",
            expected="imagenet, none, or a .h5 file",
            found=f"no file at {weights}",
            next_step="Correct the path.",
        )
    try:
        return _application(known, shape, weights)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            weights,
            expected=f"weights of {known.application} without its top",
            found=f"a file that does not fit ({error})",
            next_step=f"Save those of {_package(known)}, built with include_top=False, by save_weights.",
        ) from error


def _downloaded(known: Encoder, shape: tuple[int, ...]) -> keras.Model:
    if known.application in REPETITIONS:
        raise UsageError(
            "--encoder-weights imagenet",
            expected="an encoder of keras.applications, whose weights Keras downloads",
            found=known.application,
            next_step="Give a file with --encoder-weights PATH, or start without: none.",
        )
    try:
        return _application(known, shape, "imagenet")
    except Exception as error:  # Keras raises no narrower class when a download fails.
        raise UsageError(
            "--encoder-weights imagenet",
            expected=f"to download Keras's {known.application} weights, or to find them in its cache",
            found=str(error),
            next_step="Connect once, give a file with --encoder-weights PATH, or start without: none.",
        ) from error


def _package(known: Encoder) -> str:
    return "classification_models" if known.application in REPETITIONS else "keras.applications"


def _application(known: Encoder, shape: tuple[int, ...], weights: str | None) -> keras.Model:
    if known.application in REPETITIONS:
        return resnet_preact(known.application, shape, weights)
    build = getattr(keras.applications, known.application)
    # As a tensor, for of input_shape some applications ask more pixels than these maps need.
    pixels = keras.Input(shape, name="pixels")
    network: keras.Model = build(include_top=False, weights=weights, input_tensor=pixels, **known.arguments)
    return network


def _turn_first_kernel(network: keras.Model) -> None:
    """Make weights that want blue first take red first: cheaper than to turn every image."""
    first = next(layer for layer in network.layers if isinstance(layer, layers.Conv2D))
    kernel, *rest = first.get_weights()
    first.set_weights([kernel[:, :, ::-1], *rest])


def _freeze_batchnorm(network: keras.Model) -> None:
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def _cut(known: Encoder, network: keras.Model, features: Sequence[int]) -> keras.Model:
    """From the scaled pixels to the wanted maps."""
    begin = network.get_layer(known.first).input if known.first else network.input
    ends = {
        stride: network.get_layer(name).input for stride, name in zip(STRIDES, known.halving, strict=False)
    }
    ends[STRIDES[-1]] = network.output
    return keras.Model(begin, [ends[stride] for stride in features], name="encoder")


def _mobilenet_v3(size: str, *blocks: str) -> Encoder:
    halving = tuple(f"expanded_conv{block}_depthwise_pad" for block in blocks)
    return Encoder(f"MobileNetV3{size}", "minus1to1", halving, _WITHOUT_PREPROCESSING)


def _efficientnet_v2(size: str, pixel_scale: str) -> Encoder:
    halving = ("block2a_expand_conv", "block3a_expand_conv", "block4a_dwconv2", "block6a_dwconv2")
    return Encoder(f"EfficientNetV2{size}", pixel_scale, halving, _WITHOUT_PREPROCESSING)


def _efficientnet(size: int) -> Encoder:
    halving = ("block2a_dwconv_pad", "block3a_dwconv_pad", "block4a_dwconv_pad", "block6a_dwconv_pad")
    return Encoder(f"EfficientNetB{size}", "efficientnet", halving, first="stem_conv_pad")


def _resnet(depth: int) -> Encoder:
    halving = ("pool1_pad", "conv3_block1_1_conv", "conv4_block1_1_conv", "conv5_block1_1_conv")
    return Encoder(f"ResNet{depth}", "caffe", halving, bgr=True)


def _resnet_preact(depth: int) -> Encoder:
    halving = ("pooling0_pad", "stage2_unit1_sc", "stage3_unit1_sc", "stage4_unit1_sc")
    return Encoder(f"ResNet{depth}Preact", "none", halving)


_WITHOUT_PREPROCESSING = {"include_preprocessing": False}

ENCODERS: dict[str, Encoder] = {
    "mobilenetv2": Encoder(
        "MobileNetV2", "minus1to1", ("block_1_pad", "block_3_pad", "block_6_pad", "block_13_pad")
    ),
    "mobilenetv3small": _mobilenet_v3("Small", "", "_1", "_3", "_8"),
    "mobilenetv3large": _mobilenet_v3("Large", "_1", "_3", "_6", "_12"),
    **{f"efficientnetb{size}": _efficientnet(size) for size in range(8)},
    **{f"efficientnetv2b{size}": _efficientnet_v2(f"B{size}", "imagenet") for size in range(4)},
    **{f"efficientnetv2{size}": _efficientnet_v2(size.upper(), "efficientnetv2") for size in "sml"},
    "resnet50": _resnet(50),
    "resnet101": _resnet(101),
    **{f"resnet{depth}_preact": _resnet_preact(depth) for depth in (18, 34, 50, 101, 152)},
    "xception": Encoder(
        "Xception",
        "minus1to1",
        ("block2_pool", "block3_pool", "block4_pool", "block13_pool"),
        same_padding=True,
    ),
}
"""Name of an encoder to what is known of it."""
