"""Raw Cityscapes label ids, and colours that classes share on purpose: no class has one of its own."""

from __future__ import annotations

import colorsys
from random import Random

from edgeseg.training.data.scenes.light import Rgb

EGO_VEHICLE, STATIC, DYNAMIC, GROUND = 1, 4, 5, 6
ROAD, SIDEWALK = 7, 8
BUILDING, WALL, FENCE = 11, 12, 13
POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN = 17, 19, 20
VEGETATION, TERRAIN = 21, 22
SKY = 23
PERSON, RIDER = 24, 25
CAR, TRUCK, BUS, BICYCLE = 26, 27, 28, 33


def paint(rng: Random, vivid: float = 1.0) -> Rgb:
    """Any colour of a made thing; half of them greys. ``vivid`` from 0 to 1 bounds the saturation."""
    if rng.random() < 0.45:
        return grey(rng, 25, 240)
    return _hsv(rng.random(), rng.uniform(0.2, 0.9) * vivid, rng.uniform(0.25, 0.95))


def facade(rng: Random) -> Rgb:
    """Plaster, brick, concrete, timber."""
    kind = rng.random()
    if kind < 0.35:
        return _hsv(rng.uniform(0.0, 0.06), rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.7))
    if kind < 0.7:
        return _hsv(rng.uniform(0.06, 0.16), rng.uniform(0.05, 0.4), rng.uniform(0.55, 0.95))
    return paint(rng, vivid=0.5)


def leaves(rng: Random) -> Rgb:
    """Mostly greens, some autumn, some dry."""
    if rng.random() < 0.2:
        return _hsv(rng.uniform(0.03, 0.14), rng.uniform(0.35, 0.75), rng.uniform(0.35, 0.7))
    return _hsv(rng.uniform(0.17, 0.38), rng.uniform(0.2, 0.6), rng.uniform(0.22, 0.55))


def grey(rng: Random, low: float, high: float) -> Rgb:
    """A grey with a slight tint."""
    level = rng.uniform(low, high)
    return tuple(level * rng.uniform(0.96, 1.04) for _ in range(3))  # type: ignore[return-value]


def shade(color: Rgb, gain: float) -> Rgb:
    """A lighter or darker tone."""
    red, green, blue = (min(255.0, channel * gain) for channel in color)
    return red, green, blue


def skin(rng: Random) -> Rgb:
    """From light to dark."""
    return shade((232, 190, 160), rng.uniform(0.3, 1.0))


def _hsv(hue: float, saturation: float, value: float) -> Rgb:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return red * 255, green * 255, blue * 255
