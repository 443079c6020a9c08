"""Augmentation on the accelerator: images and masks of a batch, varied as their draws say.

Plain ``keras.ops``, so that it becomes part of the compiled training step on every backend. One inverse warp
mirrors, zooms, turns, moves and crops; then come colours, blur and noise, in the host's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.data.draws import COLUMNS

NOISE_STORE = 1 << 18
"""Numbers in :func:`noise_store`."""


def noise_store() -> Any:
    """``float32 [NOISE_STORE]`` of a standard normal distribution, the same on every backend."""
    return np.random.default_rng(0).standard_normal(NOISE_STORE, np.float32)


def augment(
    images: Any,
    masks: Any,
    draws: Any,
    noise: Any,
    *,
    config: AugmentConfig,
    ignore_index: int,
    size: tuple[int, int],
) -> tuple[Any, Any]:
    """Images ``uint8 [B, H, W, 3]`` and masks ``uint8 [B, H, W]`` to windows of them, varied.

    Args:
        images, masks: As they are in the cache.
        draws: ``float32 [B, 15]``, :meth:`edgeseg.training.data.draws.Draws.of`.
        noise: What :func:`noise_store` gives.
        config: Says which steps there are at all; how much of each is in ``draws``.
        ignore_index: Of the mask beside the picture.
        size: Height and width of the windows.

    Returns:
        Images ``uint8 [B, height, width, 3]`` and masks ``uint8 [B, height, width]``.
    """
    matrix, contrast, brightness, gamma, hue, saturation, blur, strength, place = _split(draws)
    pixels, masks = _warped(images, masks, matrix, ignore_index, size)
    if config.color:
        pixels = _clipped(pixels * _per_image(contrast) + _per_image(brightness))
        pixels = 255 * ops.power(pixels / 255, _per_image(gamma))
        pixels = _tinted(pixels, hue, saturation)
    if config.blur:
        pixels = _blurred(pixels, blur)
    if config.noise:
        pixels = _clipped(pixels + _per_image(strength) * _noise(noise, place, size))
    return ops.cast(ops.round(pixels), "uint8"), masks


def _split(draws: Any) -> list[Any]:
    return ops.split(draws, np.cumsum(COLUMNS)[:-1].tolist(), axis=1)


def _per_image(values: Any) -> Any:
    """``[B, 1]`` beside pixels ``[B, H, W, 3]``."""
    return ops.reshape(values, (-1, 1, 1, 1))


def _clipped(pixels: Any) -> Any:
    return ops.clip(pixels, 0.0, 255.0)


def _warped(
    images: Any, masks: Any, matrix: Any, ignore_index: int, size: tuple[int, int]
) -> tuple[Any, Any]:
    """The image between its pixels linearly, the mask by the nearest neighbour; black and ignored beside."""
    x, y = _sources(matrix, size)
    nearest, inside = _place(ops.round(x), ops.round(y), *images.shape[1:3])
    masks = ops.where(inside, _taken(masks[..., None], nearest)[..., 0], ignore_index)
    left, top = ops.floor(x), ops.floor(y)
    pixels: Any = 0.0
    for down in (0, 1):
        for right in (0, 1):
            weight = (1 - ops.abs(x - left - right)) * (1 - ops.abs(y - top - down))
            at, inside = _place(left + right, top + down, *images.shape[1:3])
            weight = ops.where(inside, weight, 0.0)[..., None]
            pixels = pixels + weight * ops.cast(_taken(images, at), "float32")
    return pixels, ops.cast(masks, "uint8")


def _sources(matrix: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    """Where each pixel of the window lies in the picture: x and y, ``float32 [B, height, width]``."""
    rows = ops.reshape(ops.arange(size[0], dtype="float32"), (1, -1, 1))
    columns = ops.reshape(ops.arange(size[1], dtype="float32"), (1, 1, -1))
    a, b, c, d, e, f = (ops.reshape(part, (-1, 1, 1)) for part in ops.split(matrix, 6, axis=1))
    return a * columns + b * rows + c, d * columns + e * rows + f


def _place(x: Any, y: Any, height: int, width: int) -> tuple[Any, Any]:
    """Number of the pixel in its picture, held inside it, and whether it had to be."""
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = ops.clip(x, 0, width - 1), ops.clip(y, 0, height - 1)
    return ops.cast(y, "int32") * width + ops.cast(x, "int32"), inside


def _taken(pictures: Any, at: Any) -> Any:
    """``[B, H, W, C]`` at pixel numbers ``[B, h, w]`` to ``[B, h, w, C]``."""
    height, width, channels = pictures.shape[1:]
    first = ops.arange(ops.shape(pictures)[0], dtype="int32") * (height * width)
    return ops.take(ops.reshape(pictures, (-1, channels)), at + ops.reshape(first, (-1, 1, 1)), axis=0)


def _tinted(pixels: Any, hue: Any, saturation: Any) -> Any:
    """Hue turned and saturation raised, brightness kept, without leaving RGB for an HSV with branches.

    A colour is its largest channel minus a chroma that depends on the hue alone: f(n) of the HSV model.
    """
    value = ops.max(pixels, axis=-1, keepdims=True)
    chroma = value - ops.min(pixels, axis=-1, keepdims=True)
    turned = _hue(pixels, value, chroma) + 6 * _per_image(hue)
    old = chroma / ops.maximum(value, 1e-6)
    # A grey has no hue to be saturated with; OpenCV would turn it red.
    new = ops.where(chroma > 0, ops.clip(old + _per_image(saturation), 0.0, 1.0), 0.0)
    steps = ops.mod(ops.reshape(ops.convert_to_tensor([5.0, 3.0, 1.0]), (1, 1, 1, 3)) + turned, 6.0)
    return value - value * new * ops.clip(ops.minimum(steps, 4 - steps), 0.0, 1.0)


def _hue(pixels: Any, value: Any, chroma: Any) -> Any:
    """0 to 6 around the circle, ``[B, H, W, 1]``."""
    red, green, blue = (pixels[..., channel : channel + 1] for channel in range(3))
    span = ops.maximum(chroma, 1e-6)
    of_rest = ops.where(green >= value, (blue - red) / span + 2, (red - green) / span + 4)
    return ops.where(red >= value, (green - blue) / span, of_rest)


def _blurred(pixels: Any, weights: Any) -> Any:
    near, far = (_per_image(part) for part in ops.split(weights, 2, axis=1))
    center = 1 - 2 * (near + far)
    for axis in (1, 2):
        # Mirrored at the rim without its last pixel, as OpenCV's default border.
        widths = [(0, 0)] * 4
        widths[axis] = (2, 2)
        padded = ops.pad(pixels, widths, mode="reflect")
        length = pixels.shape[axis]
        at = [_slice(padded, axis, start, length) for start in range(5)]
        pixels = center * at[2] + near * (at[1] + at[3]) + far * (at[0] + at[4])
    return pixels


def _slice(padded: Any, axis: int, start: int, length: int) -> Any:
    part = slice(start, start + length)
    return padded[:, part] if axis == 1 else padded[:, :, part]


def _noise(store: Any, place: Any, size: tuple[int, int]) -> Any:
    """Noise of grains of two by two pixels, ``float32 [B, height, width, 3]``."""
    height, width = (-(-side // 2) for side in size)
    numbers = ops.reshape(ops.arange(height * width * 3, dtype="int32"), (1, height, width, 3))
    grains = ops.take(store, (numbers + ops.cast(_per_image(place), "int32")) % NOISE_STORE, axis=0)
    whole = ops.repeat(ops.repeat(grains, 2, axis=1), 2, axis=2)
    return whole[:, : size[0], : size[1]]
