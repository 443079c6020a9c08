"""What the corruptions share: how long a length is in a picture, back to pixels, and drawn textures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.resize import Image

Floats = npt.NDArray[np.float32]
Random = np.random.Generator

REFERENCE_HEIGHT = 224
"""The height in pixels of the pictures that ImageNet-C's lengths were made for."""


def length(image: Image, pixels: float) -> float:
    """A length of ``pixels`` in a picture of ``REFERENCE_HEIGHT`` rows, as pixels of this one.

    A blur of 10 pixels is nothing to 1,024 rows and a great deal to 224: it keeps its share of the height.
    """
    return float(pixels * image.shape[0] / REFERENCE_HEIGHT)


def to_pixels(values: npt.NDArray[Any]) -> Image:
    """Values from 0 to 255, rounded and cut off to ``uint8``."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def blend(image: Image, alpha: npt.ArrayLike, over: npt.ArrayLike) -> Image:
    """``over``, a picture or a colour from 0 to 255, laid on an image by ``alpha`` ``[H, W]``, 0 to 1."""
    # As a fourth channel NumPy would copy it for each; three times the same plane is what OpenCV is fast at.
    plane = np.asarray(alpha, np.float32)
    share = cv2.merge([plane, plane, plane])
    picture = image.astype(np.float32)
    return to_pixels(picture + share * (np.asarray(over, np.float32) - picture))


def fractal(
    size: tuple[int, int], random: Random, cells: int = 2, octaves: int = 5, persistence: float = 0.55
) -> Floats:
    """Cloudy noise ``float32 [H, W]`` from 0 to 1: random grids, each finer and fainter than the last.

    Args:
        size: Height and width.
        cells: Cells of the coarsest grid along the height.
        octaves: How many grids; each has twice the cells of the one before.
        persistence: How strong a grid is beside the one before it.
    """
    height, width = size
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        rows = cells * 2**octave
        grid = random.random((rows + 1, max(2, round(rows * width / height) + 1)), np.float32)
        total += persistence**octave * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def smoothstep(values: npt.NDArray[Any], low: float, high: float) -> Floats:
    """0 up to ``low``, 1 from ``high`` on, and a soft edge between them."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def streak(across: float, along: float, angle: float) -> Floats:
    """A kernel ``float32 [K, K]`` of the shape of a drop in motion: a Gaussian of two standard deviations.

    Args:
        across, along: Standard deviations in pixels, beside and in the direction of motion.
        angle: That direction in radians; 0 is to the right, a positive one turns downwards.

    Its peak is 1: divide by its sum to keep a picture's brightness.
    """
    radius = int(np.ceil(3 * max(across, along, 0.34)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    shape = np.exp(-0.5 * ((u / max(along, 0.34)) ** 2 + (v / max(across, 0.34)) ** 2))
    return np.asarray(shape, np.float32)
