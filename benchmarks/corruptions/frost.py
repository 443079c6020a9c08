"""Frost on the windscreen: grains of ice needles that grow in from the edges.

ImageNet-C blends photographs of frost over the picture. They are not ours to give on, so the ice is drawn.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.corruptions.pictures import (
    Floats,
    Random,
    blend,
    fractal,
    length,
    smoothstep,
    streak,
)
from edgeseg.resize import Image

# How far the ice has grown in from the edges, and how opaque it is at most.
_GROWTH = (0.22, 0.38, 0.55, 0.74, 0.95)
_OPACITY = (0.62, 0.7, 0.78, 0.86, 0.93)
_COLOR = (228, 236, 245)
# The ice is drawn in this many rows and enlarged: it lies on the glass, where no camera is in focus.
_ROWS = 224
_GRAINS = 34
_NEEDLE_SHARE = 0.06
_NEEDLE = (0.5, 6.0)
_DIRECTIONS = 9


def frost(image: Image, severity: int, random: Random) -> Image:
    """Ice on the windscreen, dense at the edges; under it the picture is blurred and whitened.

    More severe frost is the same ice, grown further.
    """
    height, width = image.shape[:2]
    size = (_ROWS, max(1, round(_ROWS * width / height)))
    ice = _nearness_to_edge(size) + 0.7 * (fractal(size, random, cells=2, octaves=6, persistence=0.6) - 0.5)
    front = 1.05 - _GROWTH[severity - 1]
    grown = smoothstep(ice, front - 0.15, front + 0.35)
    needles = _needles(size, random)
    # At its front the ice is single needles; behind it they have grown together.
    alpha = _OPACITY[severity - 1] * grown * np.clip(0.2 + 0.3 * grown + 0.7 * needles, 0, 1)
    whole = [cv2.resize(np.asarray(part, np.float32), (width, height)) for part in (grown, alpha)]
    hazed = blend(image, whole[0], cv2.GaussianBlur(image, (0, 0), length(image, 2)))
    return blend(hazed, whole[1], _COLOR)


def _nearness_to_edge(size: tuple[int, int]) -> Floats:
    """1 at the edge to 0 in the middle, ``float32 [H, W]``."""
    height, width = size
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    return np.asarray((np.abs(x) ** 3 + np.abs(y) ** 3) ** (1 / 3), np.float32)


def _needles(size: tuple[int, int], random: Random) -> Floats:
    """Grains of needles, each in a direction of its own with twigs at 60°; ``float32 [H, W]``, 0 to 1."""
    seeds = (random.random(size, np.float32) < _NEEDLE_SHARE).astype(np.float32)
    seeds *= random.random(size, np.float32)
    grains = _grains(size, random)
    directions = random.integers(0, _DIRECTIONS, _GRAINS + 1)[grains]
    drawn = np.zeros(size, np.float32)
    for direction in range(_DIRECTIONS):
        along = cv2.filter2D(seeds, -1, streak(*_NEEDLE, np.pi * direction / _DIRECTIONS))
        for turn, strength in ((0, 1.0), (_DIRECTIONS // 3, 0.6), (-_DIRECTIONS // 3, 0.6)):
            here = directions == (direction + turn) % _DIRECTIONS
            drawn[here] = np.maximum(drawn[here], strength * along[here])
    return smoothstep(drawn, 0.05, 1.1)


def _grains(size: tuple[int, int], random: Random) -> npt.NDArray[np.int32]:
    """The grain of each pixel, ``int32 [H, W]``: the nearest of some places, with ragged borders."""
    height, width = size
    apart = np.full(size, 255, np.uint8)
    apart[random.integers(0, height, _GRAINS), random.integers(0, width, _GRAINS)] = 0
    labels = cv2.distanceTransformWithLabels(apart, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    shift = [24 * (fractal(size, random, cells=8, octaves=4, persistence=0.8) - 0.5) for _ in range(2)]
    ragged = cv2.remap(
        labels.astype(np.float32),
        x + shift[0],
        y + shift[1],
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return ragged.astype(np.int32)
