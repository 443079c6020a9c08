"""Where things of the street are in the picture: a winding road and a pinhole camera that follows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
"""Places ``[..., 3]`` in metres: across the road (right is positive), above the ground, along the road."""

Pixels = npt.NDArray[np.float64]
"""Picture positions ``[..., 2]``: column and row, in pixels."""

NEAREST = 0.6
"""Metres. What comes closer to the camera, or passes behind it, is held at this distance."""

FARTHEST = 12_000.0
"""Pixels from the picture's corner. OpenCV's fixed point overflows beyond 32,767."""


Wave = tuple[float, float, float]
"""Size in metres, length in metres per radian, phase in radians."""


@dataclass(frozen=True)
class Road:
    """A centre line that swings to both sides: two sines, in metres, over the distance along it."""

    waves: tuple[Wave, Wave]

    @classmethod
    def sample(cls, rng: Random) -> Road:
        """From straight to bends of about 80 m radius."""
        bend = rng.choice((0.0, 0.001, 0.003, 0.006, 0.009))
        return cls((_wave(rng, bend, rng.uniform(55, 80)), _wave(rng, bend * 0.35, rng.uniform(25, 40))))

    def offset(self, along: Any) -> Any:
        """Metres to the right at ``along`` (a number or an array)."""
        (a, b, c), (d, e, f) = self.waves
        return a * np.sin(along / b + c) + d * np.sin(along / e + f)

    def slope(self, along: float) -> float:
        """Metres to the right per metre along."""
        return sum(size / length * math.cos(along / length + phase) for size, length, phase in self.waves)


@dataclass(frozen=True)
class Camera:
    """A camera that looks along the road.

    Args:
        along: Metres along the road.
        across: Metres right of the road's centre.
        height: Metres above the ground.
        focal: Focal length in pixels.
        centre: Column of the optical axis.
        horizon: Row of the horizon.
    """

    road: Road
    along: float
    across: float
    height: float
    focal: float
    centre: float
    horizon: float

    def project(self, points: Points) -> Pixels:
        """Places ``[..., 3]`` to picture positions ``[..., 2]``."""
        along = np.maximum(points[..., 2], self.along + NEAREST)
        distance = along - self.along
        right = points[..., 0] - self.axis(along)
        scale = self.focal / distance
        pixels = np.empty((*points.shape[:-1], 2))
        pixels[..., 0] = self.centre + scale * right
        pixels[..., 1] = self.horizon + scale * (self.height - points[..., 1])
        return np.clip(pixels, -FARTHEST, FARTHEST, out=pixels)

    def place(self, across: float, up: float, along: float) -> tuple[float, float, float]:
        """One place: its column, its row and the pixels per metre there."""
        scale = self.focal / max(along - self.along, NEAREST)
        right = across - float(self.axis(along))
        return self.centre + scale * right, self.horizon + scale * (self.height - up), scale

    def axis(self, along: Any) -> Any:
        """Metres right of the road's centre where the optical axis passes ``along``."""
        return self._start + self.slope * (along - self.along) - self.road.offset(along)

    @cached_property
    def slope(self) -> float:
        """The road's slope at the camera: the direction it looks in."""
        return self.road.slope(self.along)

    @cached_property
    def _start(self) -> float:
        return float(self.road.offset(self.along)) + self.across

    def row_distances(self, first_row: int, rows: int) -> npt.NDArray[np.float64]:
        """Metres ahead at which each of the ``rows`` picture rows from ``first_row`` on meets the ground."""
        below = np.arange(first_row, rows) + 0.5 - self.horizon
        return self.focal * self.height / np.maximum(below, 0.05)


def _wave(rng: Random, bend: float, length: float) -> Wave:
    return bend * length**2, length, rng.uniform(0, math.tau)


def shifted(points: Points, across: float, along: float) -> Points:
    """Places moved by metres to the right and along."""
    return points + np.array((across, 0.0, along))
