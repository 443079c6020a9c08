"""How pixels of 0 to 255 are scaled for a network: what its weights were trained with. It needs no Keras."""

from __future__ import annotations

from typing import Literal

from edgeseg.errors import UsageError

Order = Literal["rgb", "bgr"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

_Scale = tuple[tuple[float, ...], tuple[float, ...]]


def _standardised(power: float) -> _Scale:
    """Minus ImageNet's mean, divided by ``deviation ** power``."""
    divisors = [deviation**power for deviation in IMAGENET_DEVIATION]
    scale = tuple(1 / (255 * divisor) for divisor in divisors)
    return scale, tuple(-mean / divisor for mean, divisor in zip(IMAGENET_MEAN, divisors, strict=True))


PIXEL_SCALES: dict[str, _Scale] = {
    "none": ((1.0,) * 3, (0.0,) * 3),
    "0to1": ((1 / 255,) * 3, (0.0,) * 3),
    "minus1to1": ((1 / 127.5,) * 3, (-1.0,) * 3),
    "imagenet": _standardised(1),
    # keras.applications' ResNets, ported from Caffe: only the mean is subtracted.
    "caffe": ((1.0,) * 3, (-123.68, -116.779, -103.939)),
    # keras.applications divides by √deviation once more, as the weights of EfficientNet need.
    "efficientnet": _standardised(1.5),
    "efficientnetv2": ((1 / 128,) * 3, (-1.0,) * 3),
}
"""Name of a scale to (scale, offset) of the red, green and blue pixel: ``scale * pixel + offset``."""


def channel_order(asked: str | None, pixel_scale: str | None) -> Order:
    """The order of colours that a network takes: what was asked for, else what its scale is known for.

    ``keras.applications`` turns the colours in its mode ``caffe`` and in no other.

    Raises:
        UsageError: There is no such order.
    """
    if asked is None:
        return "bgr" if pixel_scale == "caffe" else "rgb"
    for known in ("rgb", "bgr"):
        if asked == known:
            return known  # type: ignore[return-value]
    raise UsageError("--channel-order", expected="rgb or bgr", found=repr(asked), next_step="Choose one.")
