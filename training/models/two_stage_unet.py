"""Two U-Nets in a row: a coarse one on the reduced image, and one that corrects it at full size.

Stage 2 sees the image beside stage 1's probabilities and adds to its logits, so that it learns only what was
missing. Ronneberger et al., U-Net, https://arxiv.org/abs/1505.04597.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from edgeseg.errors import UsageError
from edgeseg.training.checkpoint import load_trainable
from edgeseg.training.models.blocks import (
    check_channels,
    check_input_channels,
    check_momentum,
    check_option,
    image_input,
    luma,
    pair,
    upsample,
)
from edgeseg.training.models.pixel_scale import rescale

STAGES = ("together", "first", "second")
REDUCTIONS = (2, 4, 8)
FIRST = "first"
FIRST_LEVELS, SECOND_LEVELS = 3, 2


def build(
    num_classes: int,
    height: int,
    width: int,
    *,
    stages: str = "together",
    first_checkpoint: str | None = "",
    input_channels: int = 3,
    reduction: int = 4,
    first_channels: int = 24,
    second_channels: int = 16,
    momentum: float = 0.9,
) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; the size must be a multiple of 8 × ``reduction``.

    Args:
        num_classes, height, width: The output's classes and the input's size.
        stages: What is trained. ``first``: stage 1, whose logits are enlarged to the image's size.
            ``second``: stage 2 after it, while stage 1 stays as ``first_checkpoint`` has it. ``together``:
            both, with the coarse logits ``[N, H / reduction, W / reduction, num_classes]`` as an auxiliary
            output.
        first_checkpoint: Needed by ``second``: a ``.keras`` file of a run with ``first`` and else the same
            options. ``None`` leaves stage 1 at random, for weights that are set afterwards.
        input_channels: 3, or 1 to see the image in grey.
        reduction: How much smaller stage 1 sees the image: 2, 4 or 8.
        first_channels, second_channels: Of each stage's first level; doubled at each level below.
        momentum: Of BatchNorm.

    Raises:
        UsageError: An option's value does not fit, or ``first_checkpoint`` is not there or of another model.
        DataError: ``first_checkpoint`` is damaged.
    """
    _check(stages, first_checkpoint, reduction, first_channels, second_channels)
    check_input_channels(input_channels)
    check_momentum(momentum)
    image = image_input(height, width, multiple=reduction * 2**FIRST_LEVELS)
    pixels = rescale(image, "minus1to1")
    if input_channels == 1:
        pixels = luma(pixels)
    reduced = layers.AveragePooling2D(reduction, name="reduce")(pixels)
    first = _first(reduced.shape[1:], num_classes, first_channels, momentum)
    coarse = first(reduced)
    # What stage 1's own run ends in has the name of every model's end.
    name = "logits" if stages == "first" else "enlarge"
    enlarged = layers.UpSampling2D(reduction, interpolation="bilinear", dtype="float32", name=name)(coarse)
    if stages == "first":
        return keras.Model(image, enlarged, name="two_stage_unet")
    logits = _refined(pixels, enlarged, num_classes, second_channels, momentum)
    if stages == "together":
        return keras.Model(image, [logits, coarse], name="two_stage_unet")
    if first_checkpoint:
        _load(first, Path(first_checkpoint), reduction)
    first.trainable = False
    return keras.Model(image, logits, name="two_stage_unet")


def _check(
    stages: object,
    first_checkpoint: object,
    reduction: object,
    first_channels: object,
    second_channels: object,
) -> None:
    check_option("stages", stages, fits=stages in STAGES, expected=" or ".join(STAGES))
    if stages == "second":
        fits = first_checkpoint is None or (isinstance(first_checkpoint, str) and first_checkpoint != "")
        expected = "a .keras file of a run with stages=first"
    else:
        fits, expected = not first_checkpoint, f"no file, for stages={stages} has no use for one"
    check_option("first_checkpoint", first_checkpoint, fits=fits, expected=expected)
    fits = isinstance(reduction, int) and reduction in REDUCTIONS
    check_option("reduction", reduction, fits=fits, expected=" or ".join(map(str, REDUCTIONS)))
    check_channels("first_channels", first_channels)
    check_channels("second_channels", second_channels)


def _first(shape: tuple[int, ...], num_classes: int, channels: int, momentum: float) -> keras.Model:
    """Stage 1, a model of its own so that its weights can be moved: the reduced image to its logits."""
    reduced = keras.Input(shape, name="reduced")
    x = _unet(reduced, channels, FIRST_LEVELS, "first", momentum)
    x = layers.Conv2D(num_classes, 1, name="first_head")(x)
    return keras.Model(reduced, layers.Activation("linear", dtype="float32", name="coarse")(x), name=FIRST)


def _refined(pixels: Any, coarse: Any, num_classes: int, channels: int, momentum: float) -> Any:
    """Stage 2: the enlarged logits and what it adds to them, which at first is nothing."""
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(coarse)
    x = layers.Concatenate(name="second_input")([pixels, probabilities])
    x = _unet(x, channels, SECOND_LEVELS, "second", momentum)
    x = layers.Conv2D(num_classes, 1, kernel_initializer="zeros", name="head")(x)
    return layers.Add(dtype="float32", name="logits")([coarse, x])


def _unet(x: Any, channels: int, depth: int, name: str, momentum: float) -> Any:
    """``channels`` features for each pixel, from as many halvings as ``depth`` says."""
    skips = []
    for level in range(depth):
        x = pair(x, channels * 2**level, name=f"{name}_down{level + 1}", momentum=momentum)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"{name}_down{level + 1}_pool")(x)
    x = pair(x, channels * 2**depth, name=f"{name}_bottleneck", momentum=momentum)
    for level in reversed(range(depth)):
        x = upsample(x, channels * 2**level, f"{name}_up{level + 1}", "transpose")
        x = layers.Concatenate(name=f"{name}_up{level + 1}_concat")([x, skips[level]])
        x = pair(x, channels * 2**level, name=f"{name}_up{level + 1}", momentum=momentum)
    return x


def _load(first: keras.Model, path: Path, reduction: int) -> None:
    """Put the weights of a checkpoint's stage 1 into this one."""
    trained = load_trainable(path)
    stage = next((layer for layer in trained.layers if layer.name == FIRST), None)
    found = "a model without a stage 1" if stage is None else _difference(trained, stage, first, reduction)
    if stage is None or found:
        raise UsageError(
            path,
            expected="a checkpoint of two_stage_unet with stages=first and the same classes and options",
            found=found,
            next_step="Train stage 1 with these options and --set model_options.stages=first.",
        )
    first.set_weights(stage.get_weights())


def _difference(trained: keras.Model, stage: keras.Model, first: keras.Model, reduction: int) -> str:
    """What makes the weights of a trained model's stage 1 useless to another, or nothing."""
    theirs = trained.input_shape[1] // stage.input_shape[1]
    if theirs != reduction:
        return f"reduction={theirs}, and not {reduction}"
    if [w.shape for w in stage.weights] != [w.shape for w in first.weights]:
        return "other classes, first_channels or input_channels"
    return ""
