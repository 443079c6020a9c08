"""A drawn street as a moving camera would see it, for tests and first steps without a camera."""

from __future__ import annotations

import cv2
import numpy as np

from edgeseg.resize import Image

NOISE_LEVELS = 12
_BRIGHTEST = 255 - NOISE_LEVELS
# Noise is drawn once and shown from another corner in each frame. Without a common divisor, the corners only
# repeat after 61 x 59 frames.
_CORNERS = (61, 59)
_CORNER_STEPS = (17, 23)

_HORIZON = 0.45
_CAMERA_HEIGHT_M = 1.4
_ROAD_HALF_M = 5.5
_NEAR_M, _FAR_M = 2.0, 60.0
_DASH_M, _DASH_EVERY_M = 3.0, 9.0
_CAR_M = (1.8, 1.5)

_SKY = (150, 180, 220)
_SIDEWALK = (150, 145, 140)
_ROAD = (85, 85, 90)
_PAINT = (225, 225, 215)


class StreetScene:
    """Draws any frame of the same street: the seed and the frame's number decide every pixel.

    Args:
        height, width: Of the pictures, in pixels.
        seed: Of the houses, the cars and the noise.
        fps: How fast frames follow each other; things move by the second.
    """

    def __init__(self, height: int, width: int, seed: int, fps: float) -> None:
        self.height, self.width = height, width
        self._fps = fps
        self._horizon = round(height * _HORIZON)
        rng = np.random.default_rng(seed)
        self._skyline = _skyline(rng, self._horizon, 2 * width)
        self._ground = _ground(height - self._horizon, width)
        self._cars = [
            (offset, rng.uniform(8, 20), rng.uniform(0, 6), _color(rng)) for offset in (-3.0, 0.2, 3.2)
        ]
        shape = (height + _CORNERS[0], width + _CORNERS[1], 3)
        self._noise = rng.integers(0, NOISE_LEVELS + 1, shape, np.uint8)

    def draw(self, number: int) -> Image:
        """Frame ``number`` as a new ``uint8 [H, W, 3]`` RGB."""
        seconds = number / self._fps
        image = np.empty((self.height, self.width, 3), np.uint8)
        scrolled = round(seconds * self.width / 20) % self.width
        image[: self._horizon] = self._skyline[:, scrolled : scrolled + self.width]
        image[self._horizon :] = self._ground
        self._draw_dashes(image, seconds)
        self._draw_cars(image, seconds)
        return self._with_noise(image, number)

    def draw_blank(self, level: int, number: int) -> Image:
        """What a lens shows that is covered or blinded: one level with the noise above it."""
        return self._with_noise(np.full((self.height, self.width, 3), level, np.uint8), number)

    def _with_noise(self, image: Image, number: int) -> Image:
        top, left = (number * step % corners for step, corners in zip(_CORNER_STEPS, _CORNERS, strict=True))
        noise = self._noise[top : top + self.height, left : left + self.width]
        # Nothing was drawn brighter than leaves room for the noise, except by purpose: add() saturates.
        cv2.add(image, noise, dst=image)
        return image

    def _draw_dashes(self, image: Image, seconds: float) -> None:
        driven = seconds * 10
        for start in np.arange(_DASH_EVERY_M - driven % _DASH_EVERY_M, _FAR_M, _DASH_EVERY_M):
            near, far = max(start, _NEAR_M), max(start + _DASH_M, _NEAR_M)
            corners = [self._at(x, z) for x, z in ((-0.1, near), (0.1, near), (0.1, far), (-0.1, far))]
            cv2.fillConvexPoly(image, np.array(corners, np.int32), _PAINT)

    def _draw_cars(self, image: Image, seconds: float) -> None:
        for offset, distance, phase, color in self._cars:
            z = distance * (1 + 0.5 * np.sin(seconds / 2 + phase))
            left, bottom = self._at(offset - _CAR_M[0] / 2, z)
            right, _ = self._at(offset + _CAR_M[0] / 2, z)
            top = bottom - round((right - left) * _CAR_M[1] / _CAR_M[0])
            glass = top + (bottom - top) // 3
            cv2.rectangle(image, (left, top), (right, bottom), color, cv2.FILLED)
            cv2.rectangle(image, (left, top), (right, glass), (50, 60, 70), cv2.FILLED)
            cv2.rectangle(
                image, (left, bottom - (bottom - top) // 6), (right, bottom), (20, 20, 20), cv2.FILLED
            )

    def _at(self, x: float, z: float) -> tuple[int, int]:
        """The pixel (column, row) of a point on the ground, in metres to the right and ahead."""
        focal = self.width * 0.6
        return round(self.width / 2 + focal * x / z), round(self._horizon + focal * _CAMERA_HEIGHT_M / z)


def _skyline(rng: np.random.Generator, height: int, width: int) -> Image:
    """Houses and trees before the sky, ``[height, width, 3]``, whose right half is its left half again."""
    half = np.full((height, width // 2, 3), _SKY, np.uint8)
    left = 0
    while left < width // 2:
        right = left + int(rng.integers(height // 6 + 2, height // 2 + 3))
        top = int(height * rng.uniform(0.1, 0.7))
        tree = rng.random() < 0.3
        cv2.rectangle(half, (left, top), (right, height), (60, 100, 50) if tree else _color(rng), cv2.FILLED)
        pitch = max(4, height // 20)
        for row in range(top + pitch, height - pitch, 2 * pitch):
            for column in range(left + pitch, right - pitch, 2 * pitch):
                dark = _dimmed(half[row, min(column, width // 2 - 1)])
                cv2.rectangle(half, (column, row), (column + pitch // 2, row + pitch // 2), dark, cv2.FILLED)
        left = right
    np.minimum(half, _BRIGHTEST, out=half)
    return np.concatenate([half, half], axis=1)


def _ground(height: int, width: int) -> Image:
    """Road and sidewalks below the horizon, ``[height, width, 3]``."""
    ground = np.full((height, width, 3), _SIDEWALK, np.uint8)
    half = width * 0.6 * _ROAD_HALF_M
    corners = [(width // 2 + round(side * half / z), round(width * 0.6 * _CAMERA_HEIGHT_M / z))
               for side, z in ((-1, _NEAR_M), (1, _NEAR_M), (1, 1e3), (-1, 1e3))]  # fmt: skip
    cv2.fillConvexPoly(ground, np.array(corners, np.int32), _ROAD)
    return ground


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    grey = int(rng.integers(70, 180))
    red, green, blue = (grey + int(tint) for tint in rng.integers(-20, 21, 3))
    return red, green, blue


def _dimmed(color: Image) -> tuple[int, int, int]:
    red, green, blue = (int(level) * 2 // 3 for level in color)
    return red, green, blue
