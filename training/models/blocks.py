"""What every model starts and ends with, and how one says that a size does not fit it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from edgeseg.errors import UsageError

INPUT_CHANNELS = (1, 3)
LUMA = (0.299, 0.587, 0.114)
UPSAMPLINGS = ("transpose", "bilinear", "nearest")


def check_option(name: str, value: object, *, fits: bool, expected: str) -> None:
    """Refuse an option's value that does not fit.

    Args:
        name: The option of ``build``.
        value: What was given for it.
        fits: Whether it is right.
        expected: What would be right, for the message.

    Raises:
        UsageError: It does not fit.
    """
    if not fits:
        raise UsageError(
            f"model_options.{name}",
            expected=expected,
            found=repr(value),
            next_step=f"Correct it, for instance by --set model_options.{name}=VALUE.",
        )


def check_momentum(value: object) -> None:
    """Refuse a momentum of BatchNorm that is none; raises as :func:`check_option`."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
    check_option("momentum", value, fits=fits, expected="a number from 0 to less than 1")


def check_channels(name: str, value: object) -> None:
    """Refuse what cannot be a layer's number of channels; raises as :func:`check_option`."""
    check_option(name, value, fits=is_channels(value), expected="a whole number of at least 1")


def check_input_channels(value: object) -> None:
    """Refuse what is not one of ``INPUT_CHANNELS``; raises as :func:`check_option`."""
    fits = value in INPUT_CHANNELS and not isinstance(value, bool)
    check_option("input_channels", value, fits=fits, expected="1 (grey) or 3 (colour)")


def is_channels(value: object) -> bool:
    """Whether it can be a layer's number of channels."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def image_input(height: int, width: int, multiple: int) -> Any:
    """The input of every model: ``uint8 [N, height, width, 3]`` RGB, 0 to 255.

    Raises:
        UsageError: A side is not a multiple of ``multiple``; the message gives sizes that are.
    """
    if height % multiple or width % multiple or height < 2 * multiple or width < 2 * multiple:
        fits = f"{_nearest(height, multiple)}x{_nearest(width, multiple)}"
        raise UsageError(
            "--size",
            expected=f"height and width that are multiples of {multiple}, at least {2 * multiple}",
            found=f"{height}x{width}",
            next_step=f"Use --size {fits}.",
        )
    return keras.Input((height, width, 3), dtype="uint8", name="image")


def luma(x: Any) -> Any:
    """Grey ``[N, H, W, 1]`` of a scaled picture ``[N, H, W, 3]`` RGB, by the weights of ITU-R BT.601.

    A camera gives colour whatever the model makes of it. So the graph takes RGB and begins with this.
    """
    # A convolution that is never trained: plain enough for every converter and fast in int8.
    layer = layers.Conv2D(1, 1, use_bias=False, trainable=False, name="luma")
    grey = layer(x)
    layer.set_weights([np.reshape(LUMA, (1, 1, 3, 1))])
    return grey


def logits(x: Any, num_classes: int, *, enlarge: int = 1, kernel: int = 1) -> Any:
    """The output of every model: ``float32 [N, H, W, num_classes]`` whatever the dtype policy is.

    Args:
        x: Features ``[N, H / enlarge, W / enlarge, channels]``.
        num_classes: Number of classes.
        enlarge: Factor by which the logits are enlarged, bilinearly.
        kernel: Side of the last convolution's kernel.
    """
    # The product itself stays in the compute dtype; only what softmax and argmax see must be float32.
    x = layers.Conv2D(num_classes, kernel, padding="same", name="head")(x)
    if enlarge > 1:
        x = layers.UpSampling2D(enlarge, interpolation="bilinear", name="head_bilinear")(x)
    return layers.Activation("linear", dtype="float32", name="logits")(x)


def resize(x: Any, height: int, width: int, *, name: str) -> Any:
    """Bilinearly to a size in pixels, with half-pixel centres, as Keras's ``UpSampling2D`` enlarges."""
    return infers(layers.Resizing(height, width, interpolation="bilinear", name=name), x)


def infers(resizing: keras.Layer, x: Any) -> Any:
    """A ``Resizing`` layer applied to ``x``; ``fit`` tells it otherwise, as it tells all layers.

    Unless it is told, it takes itself to be training, and all layers after it inherit that from Keras's call
    context: in ``model(image)`` BatchNorm would take the batch's statistics and change its own.
    """
    return resizing(x, training=False)


def pair(
    x: Any,
    filters: int,
    *,
    name: str,
    momentum: float,
    dilations: tuple[int, int] = (1, 1),
) -> Any:
    """Two of :func:`convolution`, the step of every U-Net."""
    for index, dilation in enumerate(dilations, start=1):
        x = convolution(x, filters, name=f"{name}_conv{index}", dilation=dilation, momentum=momentum)
    return x


def convolution(x: Any, filters: int, *, name: str, dilation: int = 1, momentum: float = 0.9) -> Any:
    """3×3 convolution, BatchNorm, ReLU: the order in which a converter folds the two into one."""
    x = layers.Conv2D(
        filters, 3, padding="same", dilation_rate=dilation, use_bias=False,
        kernel_initializer="he_normal", name=name,
    )(x)  # fmt: skip
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def pointwise(x: Any, filters: int, *, name: str, momentum: float = 0.9) -> Any:
    """1×1 convolution and BatchNorm; what follows is the caller's: ReLU, or a sum."""
    x = layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=name)(x)
    return layers.BatchNormalization(momentum=momentum, name=f"{name}_bn")(x)


def separable_convolution(
    x: Any, filters: int, *, name: str, dilation: int = 1, momentum: float = 0.9
) -> Any:
    """As :func:`convolution`, in two steps: 3×3 for each channel apart, then 1×1 over the channels."""
    x = layers.SeparableConv2D(
        filters, 3, padding="same", dilation_rate=dilation, use_bias=False,
        depthwise_initializer="he_normal", pointwise_initializer="he_normal", name=name,
    )(x)  # fmt: skip
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def upsample(x: Any, filters: int, name: str, upsampling: str) -> Any:
    """Twice the height and width, by one of ``UPSAMPLINGS``; only ``transpose`` changes the channels."""
    if upsampling == "transpose":
        return layers.Conv2DTranspose(filters, 2, strides=2, name=f"{name}_transpose")(x)
    return layers.UpSampling2D(2, interpolation=upsampling, name=f"{name}_{upsampling}")(x)


def _nearest(side: int, multiple: int) -> int:
    return max(2 * multiple, round(side / multiple) * multiple)
