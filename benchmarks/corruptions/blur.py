"""Blurs. All of them lie evenly about each pixel, so that the labels stay where their objects are.

The strengths are those of Hendrycks and Dietterich (ICLR 2019), as shares of the picture's height.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgeseg.benchmarks.corruptions.pictures import (
    REFERENCE_HEIGHT,
    Floats,
    Random,
    length,
    streak,
)
from edgeseg.resize import Image

_DEFOCUS_RADIUS = (3, 4, 6, 8, 10)
_GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
# Half a Gaussian, which the paper smears to one side, spreads 0.6 times as far as the whole one used here.
_MOTION_DEVIATION = tuple(0.6 * sigma for sigma in (3, 5, 8, 12, 15))
_MOTION_ANGLE = np.pi / 4
_ZOOM = (1.10, 1.15, 1.20, 1.25, 1.30)
_ZOOM_PASSES = 5


def defocus_blur(image: Image, severity: int, _random: Random) -> Image:
    """A lens out of focus: every point becomes a disk."""
    kernel = _disk(length(image, _DEFOCUS_RADIUS[severity - 1]))
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), np.uint8)


def glass_blur(image: Image, severity: int, random: Random) -> Image:
    """Frosted glass: small facets that each show what lies a little beside them.

    The facets are drawn in a picture of ``REFERENCE_HEIGHT`` rows and enlarged, so that they are as large
    beside the objects at every size.
    """
    sigma, most, times = _GLASS[severity - 1]
    height, width = image.shape[:2]
    rows, columns = REFERENCE_HEIGHT, max(1, round(REFERENCE_HEIGHT * width / height))
    steps = random.integers(-most, most + 1, (times, rows, columns, 2)).sum(axis=0).astype(np.float32)
    # In a picture of fewer rows a step would be less than a pixel, and none would be taken.
    moved = cv2.resize(steps, (width, height), interpolation=cv2.INTER_NEAREST) * max(1.0, length(image, 1))
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    soft = cv2.GaussianBlur(image, (0, 0), length(image, sigma))
    seen = cv2.remap(
        soft, moved[..., 0] + x, moved[..., 1] + y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(cv2.GaussianBlur(seen, (0, 0), length(image, sigma)), np.uint8)


def motion_blur(image: Image, severity: int, random: Random) -> Image:
    """The camera moves while the shutter is open: a smear along a line at most 45° off the horizontal."""
    angle = random.uniform(-_MOTION_ANGLE, _MOTION_ANGLE)
    kernel = streak(0, length(image, _MOTION_DEVIATION[severity - 1]), angle)
    kernel /= kernel.sum()
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), np.uint8)


def zoom_blur(image: Image, severity: int, _random: Random) -> Image:
    """The car drives on while the shutter is open: the mean of the picture at many sizes.

    The sizes reach as far below 1 as above it, where the paper only enlarges: labels are of the middle.
    """
    # Each pass takes the mean of two sizes of what the one before it made: five passes are 32 sizes.
    step = _ZOOM[severity - 1] ** (1 / (2**_ZOOM_PASSES - 1))
    blurred = image
    for turn in range(_ZOOM_PASSES):
        half = step ** (2**turn / 2)
        blurred = np.asarray(cv2.addWeighted(_scaled(blurred, half), 0.5, _scaled(blurred, 1 / half), 0.5, 0))
    return blurred


def _scaled(image: Image, factor: float) -> Image:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, factor)
    moved = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def _disk(radius: float) -> Floats:
    """A disk that sums to 1, its edge softened over a pixel."""
    reach = int(np.ceil(radius + 0.5))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return np.asarray(disk / disk.sum(), np.float32)
