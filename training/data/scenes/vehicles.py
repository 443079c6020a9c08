"""Cars, vans, lorries and buses, parked and driving, as solids that can be seen from any side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from random import Random

import numpy as np

from edgeseg.training.data.scenes.camera import Points, shifted
from edgeseg.training.data.scenes.light import Rgb
from edgeseg.training.data.scenes.palette import BUS, CAR, TRUCK, grey, paint, shade
from edgeseg.training.data.scenes.view import Face, Solid, View, block

AHEAD, ONCOMING, TO_RIGHT, TO_LEFT = 0, 2, 1, 3
"""Headings, in quarter turns."""

_TYRE: Rgb = (28, 28, 30)
_UNDER: Rgb = (22, 22, 24)
_MODELS = 150  # of each kind
_NEAR, _FAR, _LEFT, _RIGHT, _TOP = range(5)


@dataclass(frozen=True)
class Model:
    """A make of vehicle in one colour, turned one way; its near end is at zero."""

    solid: Solid
    label: int
    length: float  # metres along the road
    footprint: Points


@dataclass(frozen=True)
class Vehicle:
    """A vehicle whose middle is at ``across``."""

    along: float
    across: float
    model: Model
    speed: float = 0.0
    order: float = 0.0

    def draw(self, view: View, along: float) -> None:
        end = along + self.model.length
        if end < view.camera.along + 1 or view.misses(self.across, end, 7.0):
            return
        view.face(shifted(self.model.footprint, self.across, along), _UNDER, None)
        view.solid(self.model.solid, self.across, along, self.model.label)

    def solid(self) -> Points:
        return shifted(self.model.solid.corners, self.across, 0.0)


def sample_vehicle(
    rng: Random, along: float, across: float, heading: int = AHEAD, speed: float = 0.0
) -> Vehicle:
    """A vehicle of a random kind and colour; ``speed`` is along the road, negative for oncoming ones."""
    kind = rng.choices(("car", "van", "lorry", "bus"), weights=(80, 9, 7, 4))[0]
    return Vehicle(along, across, _model(kind, rng.randrange(_MODELS), heading), speed)


def sample_car(rng: Random, along: float, across: float, heading: int = AHEAD, speed: float = 0.0) -> Vehicle:
    """As :func:`sample_vehicle`, but never larger than a car or a van."""
    kind = rng.choices(("car", "van"), weights=(92, 8))[0]
    return Vehicle(along, across, _model(kind, rng.randrange(_MODELS), heading), speed)


@cache
def _model(kind: str, number: int, heading: int) -> Model:
    """Building a solid takes longer than drawing it, so streets share a stock of models."""
    build, label = {"car": (_car, CAR), "van": (_van, CAR), "lorry": (_lorry, TRUCK), "bus": (_bus, BUS)}[
        kind
    ]
    solid = Solid.of(_turned(build(Random(f"{kind}/{number}")), heading))
    right, length = float(solid.corners[:, 0].max()) + 0.1, float(solid.corners[:, 2].max())
    ground = [(-right, 0, -0.15), (right, 0, -0.15), (right, 0, length), (-right, 0, length)]
    return Model(solid, label, length, np.array(ground, np.float64))


def _car(rng: Random) -> list[Face]:
    length, half = rng.uniform(3.8, 4.8), rng.uniform(0.84, 0.94)
    waist, height = rng.uniform(0.82, 1.0), rng.uniform(1.4, 1.75)
    boot = rng.choice((0.02, 0.03, 0.16))
    bonnet = rng.uniform(0.24, 0.32)
    color, glass = paint(rng), grey(rng, 18, 80)
    body = block((0.28, -half, half, 0, length), (waist, -half * 0.97, half * 0.97, 0.06, length - 0.12))
    back, front = length * boot, length * (1 - bonnet)
    cabin = block(
        (waist, -half * 0.95, half * 0.95, back, front),
        (height, -half * 0.72, half * 0.72, back + rng.uniform(0.25, 0.6), front - rng.uniform(0.6, 0.9)),
    )
    faces = [
        *_tyres(length, half),
        *_painted(body, color),
        *_body_details(body, color),
        *_discs(length, half),
    ]
    faces += _painted(cabin, color)
    for side in (_NEAR, _FAR):
        faces.append(Face(cabin[side], color).patch(0.07, 0.12, 0.93, 0.94, glass))
    for side in (_LEFT, _RIGHT):
        faces.append(Face(cabin[side], color).patch(0.1, 0.14, 0.5, 0.92, glass))
        faces.append(Face(cabin[side], color).patch(0.54, 0.14, 0.92, 0.92, glass))
    return faces


def _van(rng: Random) -> list[Face]:
    length, half, height = rng.uniform(4.8, 5.8), rng.uniform(0.95, 1.0), rng.uniform(1.9, 2.4)
    color, glass = paint(rng), grey(rng, 18, 80)
    body = block((0.3, -half, half, 0, length), (1.1, -half, half, 0, length - 0.1))
    top = block((1.1, -half, half, 0, length - 0.7), (height, -half * 0.93, half * 0.93, 0.05, length - 1.5))
    faces = [
        *_tyres(length, half),
        *_painted(body, color),
        *_body_details(body, color),
        *_discs(length, half),
    ]
    faces += _painted(top, color)
    faces.append(Face(top[_FAR], color).patch(0.06, 0.2, 0.94, 0.95, glass))
    faces.append(Face(top[_NEAR], color).patch(0.08, 0.15, 0.47, 0.6, glass))
    faces.append(Face(top[_NEAR], color).patch(0.53, 0.15, 0.92, 0.6, glass))
    faces.append(Face(top[_LEFT], color).patch(0.05, 0.2, 0.25, 0.8, glass))
    faces.append(Face(top[_RIGHT], color).patch(0.75, 0.2, 0.95, 0.8, glass))
    return faces


def _lorry(rng: Random) -> list[Face]:
    length, half, height = rng.uniform(7, 10), 1.22, rng.uniform(2.9, 3.7)
    load, cab_color, glass = paint(rng, vivid=0.7), paint(rng), grey(rng, 18, 70)
    cab = block(
        (0.5, -half, half, length - 2.0, length), (2.7, -half * 0.96, half * 0.96, length - 2.0, length - 0.2)
    )
    box = block((0.95, -half, half, 0, length - 2.2), (height, -half, half, 0, length - 2.2))
    frame = block(
        (0.55, -half * 0.9, half * 0.9, 0.1, length - 2.0), (0.95, -half * 0.9, half * 0.9, 0.1, length - 2.0)
    )
    faces = [*_tyres(length, half), *_painted(frame, grey(rng, 30, 60)), *_painted(cab, cab_color)]
    faces.append(Face(cab[_FAR], cab_color).patch(0.06, 0.12, 0.94, 0.5, glass))
    faces.append(Face(cab[_LEFT], cab_color).patch(0.2, 0.12, 0.8, 0.45, glass))
    faces.append(Face(cab[_RIGHT], cab_color).patch(0.2, 0.12, 0.8, 0.45, glass))
    faces += _painted(box, load)
    faces.append(Face(box[_NEAR], load).patch(0.49, 0.03, 0.51, 0.97, shade(load, 0.6)))
    faces.append(Face(box[_LEFT], load).patch(0.05, 0.3, 0.95, 0.6, paint(rng)))
    faces.append(Face(box[_RIGHT], load).patch(0.05, 0.3, 0.95, 0.6, paint(rng)))
    return [*faces, *_lights(frame), *_discs(length, half, radius=0.5)]


def _bus(rng: Random) -> list[Face]:
    length, half, height = rng.uniform(9, 12), 1.25, rng.uniform(2.9, 3.2)
    color, glass = paint(rng), grey(rng, 20, 80)
    body = block((0.35, -half, half, 0, length), (height, -half, half, 0, length))
    faces = [*_tyres(length, half), *_painted(body, color)]
    faces.append(Face(body[_NEAR], color).patch(0.08, 0.12, 0.92, 0.42, glass))
    faces.append(Face(body[_FAR], color).patch(0.05, 0.14, 0.95, 0.6, glass))
    for side in (_LEFT, _RIGHT):
        faces += [
            Face(body[side], color).patch(k / 7 + 0.02, 0.16, k / 7 + 0.135, 0.52, glass) for k in range(7)
        ]
    return [*faces, *_lights(body), *_discs(length, half, radius=0.5)]


def _painted(parts: list[Points], color: Rgb) -> list[Face]:
    return [Face(part, color) for part in parts]


def _body_details(body: list[Points], color: Rgb) -> list[Face]:
    near, far = Face(body[_NEAR], color), Face(body[_FAR], color)
    trim = shade(color, 0.55)
    return [
        near.patch(0.0, 0.72, 1.0, 1.0, trim),
        far.patch(0.0, 0.72, 1.0, 1.0, trim),
        near.patch(0.36, 0.38, 0.64, 0.58, (215, 215, 205)),
        far.patch(0.25, 0.35, 0.75, 0.62, (35, 35, 38)),
        *_lights(body),
        *(Face(body[side], color).patch(0.0, 0.86, 1.0, 1.0, trim) for side in (_LEFT, _RIGHT)),
        *(Face(body[side], color).patch(0.49, 0.05, 0.5, 0.84, trim) for side in (_LEFT, _RIGHT)),
    ]


def _lights(body: list[Points]) -> list[Face]:
    near, far = Face(body[_NEAR], _TYRE), Face(body[_FAR], _TYRE)
    rear, head = (190, 25, 25), (250, 250, 240)
    return [
        near.patch(0.01, 0.12, 0.17, 0.42, rear),
        near.patch(0.83, 0.12, 0.99, 0.42, rear),
        far.patch(0.02, 0.15, 0.2, 0.45, head),
        far.patch(0.8, 0.15, 0.98, 0.45, head),
    ]


def _tyres(length: float, half: float) -> list[Face]:
    """The wheels as seen from behind and in front, under the body."""
    inner = half - 0.24
    return [
        Face(part, _TYRE)
        for left, right in ((-half, -inner), (inner, half))
        for part in block((0, left, right, 0.3, length - 0.3), (0.5, left, right, 0.3, length - 0.3))[:2]
    ]


def _discs(length: float, half: float, radius: float = 0.33) -> list[Face]:
    """The wheels as seen from the sides, on the body."""
    angles = np.linspace(0, -2 * math.pi, 12, endpoint=False)
    discs = []
    for centre in (0.19 * length, 0.81 * length):
        for size, color in ((radius, _TYRE), (radius * 0.6, (125.0, 125.0, 130.0))):
            along, up = centre + size * np.cos(angles), radius + size * np.sin(angles)
            right = np.stack([np.full(12, half + 0.01), up, along], axis=1)
            flat = size < radius
            discs += [Face(right, color, flat), Face((right * (-1, 1, 1))[::-1], color, flat)]
    return discs


def _turned(faces: list[Face], quarters: int) -> list[Face]:
    """The faces turned about the upright axis, with the near end back at zero."""
    angle = quarters * math.pi / 2
    cos, sin = round(math.cos(angle)), round(math.sin(angle))
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float64)
    sizes = [len(face.corners) for face in faces]
    corners = np.concatenate([face.corners for face in faces]) @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    corners -= (low[0] + high[0]) / 2, 0.0, low[2]
    parts = np.split(corners, np.cumsum(sizes)[:-1])
    return [Face(part, face.color, face.detail) for face, part in zip(faces, parts, strict=True)]
