"""Trees and bushes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from edgeseg.training.data.scenes.camera import Points
from edgeseg.training.data.scenes.light import Rgb
from edgeseg.training.data.scenes.palette import VEGETATION, leaves, shade
from edgeseg.training.data.scenes.tiles import grain
from edgeseg.training.data.scenes.view import View

Blob = tuple[float, float, float, float]
"""Metres right and up of the middle, radius in metres, gain."""

_INNER = 9  # blobs that make a crown's outline; the others are seen from near only
_AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class Tree:
    """A trunk and a crown of many blobs, dark below and light above."""

    along: float
    across: float
    trunk: tuple[float, float]  # height, width
    bark: Rgb
    leaf: Rgb
    blobs: tuple[Blob, ...]
    speed: float = 0.0
    order: float = 0.0

    def draw(self, view: View, along: float) -> None:
        if along - view.camera.along < 2.0 or view.misses(self.across, along, 5.0):
            return
        figure = view.stand(self.across, along)
        height, width = self.trunk
        half = width / 2
        figure.polygon(
            [(-half, 0), (half, 0), (half * 0.7, height), (-half * 0.7, height)], self.bark, VEGETATION
        )
        for right, up, radius, gain in self.blobs[: _INNER + int(figure.scale / 2)]:
            figure.disc(right, up, (radius, radius * 0.9), shade(self.leaf, gain), VEGETATION)
        reach = max(abs(right) + radius for right, _, radius, _ in self.blobs[:_INNER])
        top = max(up + radius for _, up, radius, _ in self.blobs[:_INNER])
        figure.texture([(-reach, 0), (reach, top)], grain(), top * 0.2, 0.35, VEGETATION)

    def solid(self) -> Points:
        crown = [
            (self.across + x, y + dy * r, dz * r) for x, y, r, _ in self.blobs[:_INNER] for dy, dz in _AROUND
        ]
        return np.array(crown)


def sample_tree(rng: Random, along: float, across: float) -> Tree:
    """A tree 4 to 12 m high; one in five is a conifer."""
    size, stem = rng.uniform(1.4, 3.2), rng.uniform(1.8, 3.2)
    if rng.random() < 0.2:
        blobs, stem = _cone(rng, size * 0.6, size * 3.0), 0.8
    else:
        blobs = _crown(rng, size, stem + size)
    bark = shade((105, 85, 65), rng.uniform(0.4, 1.1))
    return Tree(along, across, (stem + size * 0.6, size * rng.uniform(0.1, 0.18)), bark, leaves(rng), blobs)


def sample_bush(rng: Random, along: float, across: float) -> Tree:
    """A bush about a metre high."""
    size = rng.uniform(0.5, 1.0)
    return Tree(along, across, (0.3, 0.2), (70, 60, 45), leaves(rng), _crown(rng, size, size * 0.8))


def _crown(rng: Random, size: float, middle: float) -> tuple[Blob, ...]:
    """Large blobs that fill the crown, then smaller ones, higher and lighter."""
    inner = [_blob(rng, size, middle, 0.5) for _ in range(_INNER)]
    outer = sorted((_blob(rng, size, middle, 0.24) for _ in range(26)), key=lambda blob: blob[1])
    return (*inner, *outer)


def _cone(rng: Random, size: float, height: float) -> tuple[Blob, ...]:
    """Blobs that get smaller towards the top."""
    steps = [(k + 0.5) / _INNER for k in range(_INNER)]
    inner = [(0.0, 0.9 + step * height, size * (1.05 - step), 0.75 + 0.3 * step) for step in steps]
    outer = []
    for _ in range(20):
        step = 0.92 * rng.random() ** 1.5
        reach = size * (1.1 - step) * rng.uniform(-1, 1)
        outer.append((reach, 0.8 + step * height, size * 0.32 * (1.2 - step), rng.uniform(0.7, 1.15)))
    return (*inner, *outer)


def _blob(rng: Random, size: float, middle: float, share: float) -> Blob:
    angle, reach = rng.uniform(0, math.tau), size * (1 - share) * rng.random() ** 0.4
    right, up = reach * math.cos(angle), reach * math.sin(angle)
    radius = size * share * rng.uniform(0.75, 1.1)
    return (
        right,
        max(middle + up, radius * 0.9),
        radius,
        0.72 + 0.42 * (up / size + 0.5) * rng.uniform(0.7, 1.2),
    )
