"""The layer that scales pixels of 0 to 255 for a network."""

from __future__ import annotations

from typing import Any

from keras import layers

from edgeseg.training.models.blocks import check_option
from edgeseg.training.pixel_scales import PIXEL_SCALES


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
