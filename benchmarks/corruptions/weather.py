"""Snow, fog and brightness. Frost is in a module of its own.

Brightness has the strengths of Hendrycks and Dietterich (ICLR 2019). Snow and fog are drawn anew, for
pictures of roads: theirs know no distance.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgeseg.benchmarks.corruptions.pictures import (
    Floats,
    Random,
    blend,
    fractal,
    length,
    smoothstep,
    streak,
    to_pixels,
)
from edgeseg.resize import Image

_BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)

# Meteorological optics: of the light of a thing at distance d, exp(-density × d) comes through.
_FOG_DENSITY = (0.8, 1.2, 1.8, 2.6, 3.8)
_FOG_COLOR = (205, 209, 213)
_HORIZON = 0.45
_FARTHEST = 1.6
_NEAREST = 0.22

_SNOW_AMOUNT = (0.2, 0.4, 0.6, 0.8, 1.0)
_SNOW_VEIL = (0.12, 0.2, 0.3, 0.4, 0.5)
_SNOW_COLOR, _SNOW_VEIL_COLOR = (246, 248, 252), (196, 202, 210)
# Most flakes in a square as high as the picture, their radius in pixels of 224 rows, and how opaque they are.
_SNOW_LAYERS = ((3200, 0.32, 0.7), (560, 0.65, 0.85), (60, 1.6, 0.75), (10, 3.6, 0.5))
_SNOW_STREAK = 2.6


def snow(image: Image, severity: int, random: Random) -> Image:
    """Falling flakes from far and dense to near, few and out of focus, before a grey veil of those beyond.

    The wind is the picture's; more severe snow has the same flakes and others beside them.
    """
    angle = np.pi / 2 + random.uniform(-0.6, 0.6)
    veil = _SNOW_VEIL[severity - 1] * (0.7 + 0.6 * fractal(image.shape[:2], random, cells=2, octaves=3))
    clear = np.ones(image.shape[:2], np.float32)
    for most, radius, opacity in _SNOW_LAYERS:
        size = length(image, radius)
        kernel = streak(size, _SNOW_STREAK * size, angle)
        clear *= 1 - opacity * _flakes(image, most, _SNOW_AMOUNT[severity - 1], kernel, random)
    return blend(blend(image, veil, _SNOW_VEIL_COLOR), 1 - clear, _SNOW_COLOR)


def fog(image: Image, severity: int, random: Random) -> Image:
    """Fog that hides what is far, in drifting banks.

    No distance is known, so it is that of a flat road from a camera that looks ahead: far at the horizon,
    which is taken to be a little above the middle.
    """
    height, width = image.shape[:2]
    rows = np.arange(height, dtype=np.float32)[:, None] / height - _HORIZON
    # A road's distance is as one over the rows below the horizon, up to where it is lost from sight. What
    # stands above the horizon, a house or a tree, mostly comes nearer the higher it is in the picture.
    nearness = (_soft(rows) + 0.3 * _soft(-rows)) / (1 - _HORIZON)
    distance = 1 / (nearness * (1 / _NEAREST - 1 / _FARTHEST) + 1 / _FARTHEST)
    banks = 0.5 + fractal((height, width), random, cells=2, octaves=5)
    lost = 1 - np.exp(-_FOG_DENSITY[severity - 1] * distance * banks)
    return blend(image, lost.astype(np.float32), _FOG_COLOR)


def brightness(image: Image, severity: int, _random: Random) -> Image:
    """Too long an exposure: the HSV value of every pixel raised alike, and cut off at white."""
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL))
    raised = to_pixels(value + np.float32(round(255 * _BRIGHTNESS[severity - 1])))
    return np.asarray(
        cv2.cvtColor(cv2.merge([hue, saturation, raised]), cv2.COLOR_HSV2RGB_FULL),
        np.uint8,
    )


def _soft(values: Floats) -> Floats:
    """The positive part, without a kink: a line would be seen across the fog."""
    return np.asarray((values + np.sqrt(values**2 + 0.01)) / 2, np.float32)


def _flakes(image: Image, most: int, amount: float, kernel: Floats, random: Random) -> Floats:
    """How much of each pixel flakes cover, ``float32 [H, W]``, 0 to 1."""
    height, width = image.shape[:2]
    count = round(most * width / height)
    rows, columns = random.integers(0, height, count), random.integers(0, width, count)
    opacities = random.uniform(0.4, 1, count).astype(np.float32)
    shown = round(amount * count)
    points = np.zeros((height, width), np.float32)
    points[rows[:shown], columns[:shown]] = opacities[:shown]
    covered = cv2.filter2D(points, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(smoothstep(covered, 0, 1), np.float32)
