"""Seamless noise, made once per process: texture for surfaces, clouds and the camera's sensor."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

Tile = npt.NDArray[np.float32]
NOISE_DEVIATION = 24.0  # grey levels
_SIZE = 256


@cache
def fractal() -> Tile:
    """Smooth noise of many scales, ``float32 [256, 256]`` from −1 to 1, that repeats without a seam."""
    return _octaves((2, 4, 8, 16, 32, 64), roughness=0.55)


@cache
def grain() -> Tile:
    """Fine noise, ``float32 [256, 256]`` from −1 to 1, that repeats without a seam."""
    return _octaves((32, 64, 128, 256), roughness=0.9)


@cache
def sensor_noise() -> npt.NDArray[np.uint8]:
    """Gaussian noise around 128, ``uint8 [512, 1024, 3]``, of standard deviation ``NOISE_DEVIATION``."""
    noise = np.random.default_rng(3).standard_normal((512, 1024, 3), np.float32)
    return (128 + NOISE_DEVIATION * noise).clip(0, 255).astype(np.uint8)


def _octaves(cells: tuple[int, ...], roughness: float) -> Tile:
    rng = np.random.default_rng(len(cells))
    total = np.zeros((_SIZE, _SIZE), np.float32)
    for level, count in enumerate(cells):
        total += roughness**level * _smooth(rng.standard_normal((count, count)))
    total -= total.mean()
    return (total / (2.5 * total.std())).clip(-1, 1).astype(np.float32)


def _smooth(coarse: npt.NDArray[np.float64]) -> Tile:
    """A small grid enlarged to the tile's size; wrapped around first, so that opposite edges meet."""
    count, margin = len(coarse), 2
    wrapped = np.pad(coarse, margin, mode="wrap").astype(np.float32)
    scale = _SIZE // count
    large = cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large[margin * scale :, margin * scale :][:_SIZE, :_SIZE], np.float32)
