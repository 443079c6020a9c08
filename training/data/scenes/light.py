"""Time of day, weather and camera: what changes every colour of a scene without moving anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np

from edgeseg.resize import Image
from edgeseg.training.data.scenes.tiles import NOISE_DEVIATION, sensor_noise

Rgb = tuple[float, float, float]
"""Red, green, blue from 0 to 255; a gain where it multiplies a colour."""

Vector = tuple[float, float, float]
"""Across, up, along."""


@dataclass(frozen=True)
class Light:
    """How a scene is lit.

    Args:
        ambient: Light from everywhere, a gain.
        sun: Light from the sun, a gain on surfaces that face it; zeros without a sun.
        direction: Unit vector towards the sun.
        haze: The colour that far things fade to, over ``haze_distance`` metres.
        zenith: The sky's colour overhead; at the horizon it is ``haze``.
        cloud: Colour of the clouds.
        cover: Share of the sky in cloud, 0 to 1.
        lamps: Lit windows and headlights.
    """

    ambient: Rgb
    sun: Rgb
    direction: Vector
    haze: Rgb
    haze_distance: float
    zenith: Rgb
    cloud: Rgb
    cover: float
    lamps: bool

    def on(self, color: Rgb, normal: Vector, distance: float) -> Rgb:
        """A surface's colour as seen from ``distance`` metres."""
        x, y, z = self.direction
        facing = max(0.0, normal[0] * x + normal[1] * y + normal[2] * z)
        near = math.exp(-distance / self.haze_distance)
        far = 1 - near
        (red, green, blue), (a, b, c), (d, e, f), haze = color, self.ambient, self.sun, self.haze
        return (
            near * min(255.0, red * (a + facing * d)) + far * haze[0],
            near * min(255.0, green * (b + facing * e)) + far * haze[1],
            near * min(255.0, blue * (c + facing * f)) + far * haze[2],
        )

    @property
    def sunny(self) -> bool:
        return max(self.sun) > 0


def sample_light(rng: Random) -> Light:
    """Sun, overcast, dusk or haze."""
    draw = rng.choices((_sunshine, _overcast, _dusk, _mist), weights=(45, 25, 18, 12))[0]
    return draw(rng)


@dataclass(frozen=True)
class Sensor:
    """The camera's own part: colour cast and exposure (gains), gamma, noise (grey levels), blur (pixels)."""

    gains: Rgb
    gamma: float
    noise: float
    blur: float
    vignette: float

    @classmethod
    def sample(cls, rng: Random, light: Light) -> Sensor:
        exposure = rng.uniform(0.9, 1.2)
        return cls(
            gains=tuple(exposure * rng.uniform(0.92, 1.08) for _ in range(3)),  # type: ignore[arg-type]
            gamma=rng.uniform(0.8, 1.1),
            noise=rng.uniform(3, 9) if light.lamps else rng.uniform(0.5, 5),
            blur=rng.choice((0.0, 0.0, 0.4, 0.6, 0.8)),
            vignette=rng.uniform(0, 0.3),
        )

    def expose(self, image: Image, rng: Random) -> Image:
        """What this camera makes of ``image``, both ``uint8 [H, W, 3]`` RGB; ``rng`` places the noise."""
        height, width = image.shape[:2]
        if self.blur:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        image = cv2.LUT(image, self._curve())
        image = cv2.multiply(image, self._falloff(height, width), scale=1 / 255)
        strength = self.noise / NOISE_DEVIATION
        return cv2.addWeighted(image, 1.0, _noise(height, width, rng), strength, -128 * strength)

    def _curve(self) -> Image:
        levels = np.arange(256, dtype=np.float64)[:, None] / 255 * np.array(self.gains)
        return (255 * levels.clip(0, 1) ** self.gamma).round().astype(np.uint8)[None]

    def _falloff(self, height: int, width: int) -> Image:
        side = np.linspace(-1, 1, 33) ** 2
        gain = 255 * (1 - self.vignette / 2 * (side[None] + side[:, None]))
        small = np.repeat(gain[..., None], 3, axis=2).round().astype(np.uint8)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _noise(height: int, width: int, rng: Random) -> Image:
    """A piece of the noise bank, from a random place; the bank is repeated where it is too small."""
    bank = sensor_noise()
    top, left = rng.randrange(bank.shape[0]), rng.randrange(bank.shape[1])
    repeats = -(-(top + height) // bank.shape[0]), -(-(left + width) // bank.shape[1]), 1
    if max(repeats) > 1:
        bank = np.tile(bank, repeats)
    return bank[top : top + height, left : left + width]


def _sunshine(rng: Random) -> Light:
    warm = rng.uniform(0, 1)
    strength = rng.uniform(0.65, 1.0)
    blue = rng.uniform(0, 1)
    return Light(
        ambient=_scaled((0.95, 1.0, 1.08), rng.uniform(0.45, 0.62)),
        sun=_scaled((1.05, 1.0 - 0.05 * warm, 0.95 - 0.2 * warm), strength),
        direction=_towards(rng.uniform(0, math.tau), math.radians(rng.uniform(22, 62))),
        haze=(rng.uniform(185, 230), rng.uniform(205, 235), rng.uniform(225, 248)),
        haze_distance=rng.uniform(300, 900),
        zenith=(60 + 70 * blue, 115 + 60 * blue, 190 + 45 * blue),
        cloud=(250, 250, 250),
        cover=rng.uniform(0, 0.6),
        lamps=False,
    )


def _overcast(rng: Random) -> Light:
    grey = rng.uniform(150, 235)
    return Light(
        ambient=_scaled((0.98, 1.0, 1.03), rng.uniform(0.65, 0.95)),
        sun=(0, 0, 0),
        direction=(0, 1, 0),
        haze=(grey, grey + rng.uniform(-3, 4), grey + rng.uniform(0, 10)),
        haze_distance=rng.uniform(200, 600),
        zenith=_scaled((grey, grey, grey + 8), rng.uniform(0.7, 1.0)),
        cloud=_scaled((grey, grey, grey), rng.uniform(0.8, 1.1)),
        cover=rng.uniform(0.5, 1.0),
        lamps=rng.random() < 0.3,
    )


def _dusk(rng: Random) -> Light:
    level = rng.uniform(0.36, 0.6)
    glow = rng.uniform(0.3, 1)
    return Light(
        ambient=_scaled((0.95, 0.95, 1.15), level),
        sun=_scaled((1.2, 0.8, 0.5), 0.35 * glow),
        direction=_towards(rng.uniform(0, math.tau), math.radians(rng.uniform(5, 12))),
        haze=(120 + 110 * glow, 110 + 55 * glow, 120 + rng.uniform(-40, 20)),
        haze_distance=rng.uniform(250, 600),
        zenith=_scaled((90, 105, 165), 0.5 + level),
        cloud=(120 + 90 * glow, 100 + 40 * glow, 120),
        cover=rng.uniform(0, 0.7),
        lamps=True,
    )


def _mist(rng: Random) -> Light:
    grey = rng.uniform(165, 220)
    return Light(
        ambient=_scaled((1.0, 1.0, 1.0), rng.uniform(0.6, 0.85)),
        sun=(0, 0, 0),
        direction=(0, 1, 0),
        haze=(grey, grey, grey + rng.uniform(-4, 8)),
        haze_distance=rng.uniform(55, 120),
        zenith=(grey, grey, grey),
        cloud=(grey + 8, grey + 8, grey + 8),
        cover=0.3,
        lamps=rng.random() < 0.5,
    )


def _towards(azimuth: float, elevation: float) -> Vector:
    flat = math.cos(elevation)
    return flat * math.sin(azimuth), math.sin(elevation), flat * math.cos(azimuth)


def _scaled(color: Rgb, gain: float) -> Rgb:
    return color[0] * gain, color[1] * gain, color[2] * gain
