"""How pixels of 0 to 255 are scaled for a network: what its weights were trained with."""

from __future__ import annotations

from typing import Any

from keras import layers

from edgeseg.training.models.blocks import check_option

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

_Scale = tuple[tuple[float, ...], tuple[float, ...]]


def rescale(image: Any, name: str, layer_name: str = "normalise") -> Any:
    """An image ``uint8 [N, H, W, 3]`` RGB as the network wants it, by one of ``PIXEL_SCALES``.

    Raises:
        UsageError: There is no such scale.
    """
    check_pixel_scale(name)
    scale, offset = (_one_where_equal(values) for values in PIXEL_SCALES[name])
    return layers.Rescaling(scale, offset, name=layer_name)(image)


def _one_where_equal(values: tuple[float, ...]) -> float | list[float]:
    # In LiteRT int8 a vector of three costs many times as much as one number: 1.2 ms at 256×256.
    return values[0] if len(set(values)) == 1 else list(values)


def check_pixel_scale(name: object) -> None:
    """Refuse what is not one of ``PIXEL_SCALES``; raises as :func:`rescale`."""
    known = isinstance(name, str) and name in PIXEL_SCALES
    check_option("pixel_scale", name, fits=known, expected=f"one of {', '.join(PIXEL_SCALES)}")


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
