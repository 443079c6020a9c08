"""Weights of ``segmentation_models.Unet`` in the project's own ``unet``.

The two have the same layers; what differs are names, the normalisation, which the package leaves to its
user, and the softmax, which ours leaves to its losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgeseg.errors import DataError, UnknownNameError
from edgeseg.training.models import build_model
from edgeseg.training.weights_file import LayerWeights, read_weights

MODEL = "unet"


@dataclass(frozen=True)
class Backbone:
    """An encoder of the package: its name here, and the pixels that its ``get_preprocessing`` makes."""

    encoder: str
    pixel_scale: str


BACKBONES: dict[str, Backbone] = {
    "mobilenetv2": Backbone("mobilenetv2", "minus1to1"),
    **{f"efficientnetb{size}": Backbone(f"efficientnetb{size}", "imagenet") for size in range(8)},
    **{f"resnet{depth}": Backbone(f"resnet{depth}_preact", "none") for depth in (18, 34, 50, 101, 152)},
}
"""Name of a ``backbone_name`` of the package to what is known of it."""


@dataclass(frozen=True)
class Imported:
    """A model with foreign weights, and the options of ``unet`` that build its like."""

    model: keras.Model
    options: dict[str, Any]


def import_unet(
    path: Path, backbone: str, height: int, width: int, *, pixel_scale: str | None = None
) -> Imported:
    """The ``unet`` that computes what a ``segmentation_models.Unet`` does; levels and classes are the file's.

    A single class, which the package gives to sigmoid, becomes two: the rest, and that class.

    Args:
        path: Its weights, in any of the forms of :func:`edgeseg.training.weights_file.read_weights`.
        backbone: One of ``BACKBONES``.
        height, width: The input's size, multiples of 32.
        pixel_scale: One of ``PIXEL_SCALES``: what its images were scaled to; by default what the package's
            ``get_preprocessing(backbone)`` makes of them.

    Raises:
        UnknownNameError: There is no such backbone.
        UsageError: The size does not divide, or there is no such scale.
        DataError: The file cannot be read, or is of a model with other layers.
    """
    if backbone not in BACKBONES:
        raise UnknownNameError.of("encoder", backbone, BACKBONES)
    known = BACKBONES[backbone]
    weights = read_weights(path)
    _refuse_other_decoders(path, weights)
    weights["final_conv"] = _two_classes(weights["final_conv"])
    options = {
        "encoder": known.encoder,
        "encoder_weights": "none",
        "encoder_batchnorm": "frozen",
        "pixel_scale": pixel_scale or known.pixel_scale,
        "decoder": _channels(weights),
        "upsampling": "nearest",
        "head_kernel": 3,
    }
    classes = weights["final_conv"][1].shape[0]
    model = build_model(MODEL, classes, height, width, **options)
    _fill(path, model, weights)
    return Imported(model, options)


def _refuse_other_decoders(path: Path, weights: LayerWeights) -> None:
    for layer, expected in (
        ("final_conv", "a segmentation_models.Unet"),
        ("decoder_stage0a_conv", "decoder_block_type='upsampling'"),
        ("decoder_stage0a_bn", "decoder_use_batchnorm=True"),
    ):
        if not weights.get(layer):
            raise _other(path, expected, f"no layer {layer!r}")


def _two_classes(final: list[np.ndarray]) -> list[np.ndarray]:
    """softmax of (0, z) is sigmoid of z: a first class whose kernel and bias are 0 stands for the rest."""
    if final[-1].shape[0] > 1:
        return final
    return [np.concatenate([np.zeros_like(array), array], axis=-1) for array in final]


def _channels(weights: LayerWeights) -> list[int]:
    channels = []
    while (name := f"decoder_stage{len(channels)}a_conv") in weights:
        channels.append(weights[name][0].shape[-1])
    return channels


def _fill(path: Path, model: keras.Model, weights: LayerWeights) -> None:
    left = {name for name, arrays in weights.items() if arrays}
    for layer in _with_weights(model):
        name = _their_name(layer.name)
        given, ours = weights.get(name, []), layer.get_weights()
        if [array.shape for array in given] != [array.shape for array in ours]:
            raise _other(path, _shapes(name, ours), _shapes(name, given))
        layer.set_weights(given)
        left.discard(name)
    if left:
        raise _other(path, "no more layers than the model has", ", ".join(sorted(left)[:5]))


def _with_weights(model: keras.Model) -> list[keras.Layer]:
    encoder = model.get_layer("encoder")
    layers = [*encoder.layers, *(layer for layer in model.layers if layer is not encoder)]
    return [layer for layer in layers if layer.weights]


def _their_name(ours: str) -> str:
    """``decoder1_conv2_bn`` is ``decoder_stage0b_bn`` there; the encoder's layers have the same names."""
    if ours == "head":
        return "final_conv"
    if not ours.startswith("decoder"):
        return ours
    level, convolution, *norm = ours.removeprefix("decoder").split("_")
    return f"decoder_stage{int(level) - 1}{'ab'[int(convolution[-1]) - 1]}_{norm[0] if norm else 'conv'}"


def _shapes(name: str, arrays: list[np.ndarray]) -> str:
    return f"layer {name!r} with weights {', '.join(str(array.shape) for array in arrays) or 'of none'}"


def _other(path: Path, expected: str, found: str) -> DataError:
    return DataError(
        path,
        expected=expected,
        found=found,
        next_step="Name the backbone it was built with by --encoder; other topologies go through "
        "'edgeseg export' as a .keras file.",
    )
