"""Faults of a vehicle's camera: dirt on the lens, the sun in it, flickering light, and rows lost on the way.

No published severities are followed: they are chosen so that the first is seen and hides little, and the last
leaves a person unsure.
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
    to_pixels,
)
from edgeseg.resize import Image

_DIRT_SPOTS = (12, 24, 40, 62, 95)
_DIRT_COLOR = (62, 56, 47)
_GLARE_STRENGTH = (0.35, 0.6, 0.9, 1.3, 1.8)
_GLARE_COLOR = (255, 246, 226)
_GLARE_SPIKES = 6
# Reflections inside the lens lie on the line from the sun through the middle: how far along it (1 is the
# middle), their radius as a share of the height, and their light.
_GHOSTS = (
    (0.55, 0.035, (0.10, 0.05, 0.03)),
    (1.35, 0.06, (0.03, 0.09, 0.05)),
    (1.7, 0.03, (0.06, 0.05, 0.12)),
    (2.1, 0.1, (0.07, 0.05, 0.03)),
)
_BAR_DEPTH = (0.25, 0.42, 0.6, 0.78, 0.95)
_BAR_PERIOD = (0.22, 0.4)
_ROWS_LOST = (0.06, 0.12, 0.22, 0.35, 0.55)
_ROW_RUNS = 72


def lens_dirt(image: Image, severity: int, random: Random) -> Image:
    """Dried mud on the lens: brown spots, so near that their edges are out of focus.

    More severe dirt has the same spots and others beside them.
    """
    spots = cv2.GaussianBlur(_spots(image, severity, random), (0, 0), length(image, 3.2))
    grain = fractal(image.shape[:2], random, cells=12, octaves=4, persistence=0.7)
    alpha = 0.93 * smoothstep(spots * (0.4 + 1.1 * grain), 0.08, 0.68)
    shade = 0.75 + 0.5 * fractal(image.shape[:2], random, cells=10, octaves=4, persistence=0.75)
    return blend(image, alpha, np.array(_DIRT_COLOR, np.float32) * shade[..., None])


def glare(image: Image, severity: int, random: Random) -> Image:
    """A low sun in the lens: its disk blown out, spikes and ghosts of the aperture, and a veil over all."""
    height, width = image.shape[:2]
    sun = np.array([random.uniform(0.2, 0.8) * width, random.uniform(0.1, 0.35) * height]) / height
    x = np.arange(width, dtype=np.float32) / height - np.float32(sun[0])
    y = (np.arange(height, dtype=np.float32) / height - np.float32(sun[1]))[:, None]
    distance = np.hypot(x, y)
    spikes = np.abs(np.cos(_GLARE_SPIKES / 2 * np.arctan2(y, x) + random.uniform(0, np.pi))) ** 60
    light = 0.1 + 0.5 * np.exp(-distance / 0.4) + np.exp(-distance / 0.1)
    light += 0.35 * spikes * np.exp(-distance / 0.25)
    middle = np.array([width / height / 2, 0.5])
    ghosts = np.zeros((height, width, 3), np.float32)
    for along, radius, color in _GHOSTS:
        place = (sun + along * (middle - sun)) * height
        center, size = (round(place[0]), round(place[1])), max(1, round(radius * height))
        cv2.circle(ghosts, center, size, color, cv2.FILLED, cv2.LINE_AA)
    soft = cv2.GaussianBlur(ghosts, (0, 0), length(image, 1.5))
    strength = np.float32(255 * _GLARE_STRENGTH[severity - 1])
    tint = np.array(_GLARE_COLOR, np.float32) / 255
    return to_pixels(image + strength * (light.astype(np.float32)[..., None] * tint + soft))


def rolling_bars(image: Image, severity: int, random: Random) -> Image:
    """Lamps that flicker with the mains: a rolling shutter sees them as dark bars across the picture."""
    height = image.shape[0]
    period = height * random.uniform(*_BAR_PERIOD)
    phase = random.uniform(0, 2 * np.pi)
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(height) / period + phase)
    gain = 1 - _BAR_DEPTH[severity - 1] * wave
    return to_pixels(image * gain[:, None, None].astype(np.float32))


def dropped_rows(image: Image, severity: int, random: Random) -> Image:
    """Packets lost between camera and computer: runs of rows are black, or the last that came again.

    More severe loss takes the same runs and others beside them.
    """
    height = image.shape[0]
    starts = np.unique(np.linspace(0, height, _ROW_RUNS + 1).astype(int))
    order, black = random.permutation(len(starts) - 1), random.random(len(starts) - 1) < 0.5
    lost = np.sort(order[: round(_ROWS_LOST[severity - 1] * len(order))])
    received = image.copy()
    for run in lost:
        first, last = starts[run], starts[run + 1]
        received[first:last] = 0 if black[run] or not first else received[first - 1]
    return received


def _spots(image: Image, severity: int, random: Random) -> Floats:
    """Ellipses ``float32 [H, W]``, each of its own opacity up to 1."""
    height, width = image.shape[:2]
    count, shown = (round(number * width / height) for number in (_DIRT_SPOTS[-1], _DIRT_SPOTS[severity - 1]))
    centers = (random.uniform(0, 1, (count, 2)) * (width, height)).astype(int)
    # Few are large.
    radii = length(image, 1) * (3 + 23 * random.uniform(0, 1, count) ** 3)
    flat, turns, opacities = (
        random.uniform(0.45, 1, count),
        random.uniform(0, 180, count),
        random.uniform(0.6, 1, count),
    )
    layer = np.zeros((height, width), np.float32)
    # Where two lie on each other the thicker one shows, whatever else there is.
    for i in sorted(range(shown), key=lambda i: float(opacities[i])):
        axes = (max(1, round(radii[i])), max(1, round(flat[i] * radii[i])))
        center = (int(centers[i, 0]), int(centers[i, 1]))
        cv2.ellipse(layer, center, axes, float(turns[i]), 0, 360, float(opacities[i]), cv2.FILLED)
    return layer
