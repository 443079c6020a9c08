"""What people put beside the road: lamps, signs, traffic lights, fences, hedges, bins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from edgeseg.training.data.scenes.camera import Points
from edgeseg.training.data.scenes.light import Rgb
from edgeseg.training.data.scenes.palette import (
    FENCE,
    POLE,
    STATIC,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    VEGETATION,
    WALL,
    grey,
    leaves,
    paint,
    shade,
)
from edgeseg.training.data.scenes.tiles import grain
from edgeseg.training.data.scenes.view import Figure, View


@dataclass(frozen=True)
class Post:
    """A mast with something on it: nothing, a lamp on an arm, sign plates, a traffic light."""

    along: float
    across: float
    height: float
    width: float
    color: Rgb
    arm: float = 0.0
    plates: tuple[Plate, ...] = ()
    light: int | None = None  # which of the three lamps is on
    speed: float = 0.0
    order: float = 0.0

    def draw(self, view: View, along: float) -> None:
        if along - view.camera.along < 2.0 or view.misses(self.across, along, 5.0):
            return
        figure = view.stand(self.across, along)
        figure.line([(0, 0), (0, self.height)], self.width, self.color, POLE)
        if self.arm:
            self._lamp(figure)
        for plate in self.plates:
            plate.draw(figure)
        if self.light is not None:
            self._traffic_light(figure)

    def solid(self) -> Points:
        half = self.width / 2
        return np.array([(self.across + x, y, 0.0) for x in (-half, half) for y in (0.0, self.height)])

    def _lamp(self, figure: Figure) -> None:
        top = self.height
        figure.line([(0, top), (self.arm * 0.6, top + 0.35), (self.arm, top + 0.35)], 0.1, self.color, POLE)
        head = [(self.arm - 0.35, top + 0.25), (self.arm + 0.35, top + 0.25), (self.arm + 0.3, top + 0.42)]
        figure.polygon([*head, (self.arm - 0.3, top + 0.42)], self.color, POLE)
        if figure.view.light.lamps:
            figure.glow(self.arm, top + 0.22, 0.2, (255, 235, 180))

    def _traffic_light(self, figure: Figure) -> None:
        low = self.height - 0.95
        box = [(-0.17, low), (0.17, low), (0.17, low + 0.95), (-0.17, low + 0.95)]
        figure.polygon(box, (30, 32, 32), TRAFFIC_LIGHT)
        for k, color in enumerate(((60, 215, 110), (245, 190, 50), (235, 50, 40))):
            center = low + 0.18 + 0.3 * k
            if k == self.light:
                figure.glow(0, center, 0.11, color)
            else:
                figure.disc(0, center, (0.1, 0.1), shade(color, 0.25), None)


@dataclass(frozen=True)
class Plate:
    """A sign's plate: a shape of ``size`` metres around ``up`` metres, a rim and a symbol."""

    up: float
    corners: tuple[tuple[float, float], ...]
    rim: Rgb
    field: Rgb
    symbol: Rgb
    bars: tuple[tuple[float, float, float, float], ...]

    def draw(self, figure: Figure) -> None:
        figure.polygon([(x, self.up + y) for x, y in self.corners], self.rim, TRAFFIC_SIGN)
        figure.polygon([(x * 0.8, self.up + y * 0.8) for x, y in self.corners], self.field, None)
        for x0, y0, x1, y1 in self.bars:
            bar = [(x0, self.up + y0), (x1, self.up + y0), (x1, self.up + y1), (x0, self.up + y1)]
            figure.polygon(bar, self.symbol, None)


def sample_sign(rng: Random, along: float, across: float) -> Post:
    """One or two plates on a thin mast."""
    height = rng.uniform(2.3, 3.2)
    plates = [_plate(rng, height - 0.35)]
    if rng.random() < 0.3:
        plates.append(_plate(rng, height - 1.15))
    return Post(along, across, height, rng.uniform(0.07, 0.11), grey(rng, 60, 190), plates=tuple(plates))


def sample_lamp(rng: Random, along: float, across: float) -> Post:
    """A street lamp whose arm reaches over the road."""
    arm = -math.copysign(rng.uniform(0.8, 2.0), across)
    return Post(along, across, rng.uniform(5, 8.5), rng.uniform(0.13, 0.2), grey(rng, 40, 190), arm=arm)


def sample_mast(rng: Random, along: float, across: float) -> Post:
    """A bare pole: a bollard, a telegraph pole."""
    height, width = rng.choice(((0.9, 0.14), (1.1, 0.2), (7.5, 0.26)))
    return Post(along, across, height, width, shade(paint(rng, vivid=0.5), 0.8))


def sample_traffic_light(rng: Random, along: float, across: float) -> Post:
    """Three lamps on a mast; one is on."""
    return Post(along, across, rng.uniform(3.0, 3.6), 0.12, grey(rng, 50, 160), light=rng.randrange(3))


def _plate(rng: Random, up: float) -> Plate:
    size = rng.uniform(0.34, 0.48)
    kind = rng.randrange(4)
    if kind < 2:  # triangle, octagon or circle
        count, turn = ((3, 0.25), (16, 0.0))[kind] if rng.random() < 0.8 else (8, 1 / 16)
        angles = [math.tau * (k / count + turn) for k in range(count)]
        corners = tuple((size * math.cos(a), size * math.sin(a)) for a in angles)
        rim: Rgb = rng.choice(((200, 30, 35), (200, 30, 35), (30, 75, 170)))
    else:
        wide, high = (
            (size * rng.uniform(1.0, 1.9), size * rng.uniform(0.6, 1.0)) if kind == 2 else (size, size)
        )
        corners = ((-wide, high), (wide, high), (wide, -high), (-wide, -high))
        rim = rng.choice(((245, 245, 245), (30, 75, 170), (30, 115, 70), (240, 200, 50)))
    field = rim if rng.random() < 0.4 else rng.choice(((245, 245, 245), (245, 205, 60), paint(rng)))
    dark = sum(field) < 380
    symbol: Rgb = (240, 240, 240) if dark else (25, 25, 30)
    bars = (
        (-size * 0.35, -size * 0.1, size * 0.35, size * 0.1),
        (-size * 0.1, -size * 0.4, size * 0.1, size * 0.4),
    )
    return Plate(up, corners, rim, field, symbol, bars[: rng.randint(0, 2)])


@dataclass(frozen=True)
class Barrier:
    """A fence, wall or hedge along the road."""

    along: float
    across: float
    length: float
    height: float
    color: Rgb
    label: int
    speed: float = 0.0

    @property
    def order(self) -> float:
        return self.length

    def draw(self, view: View, along: float) -> None:
        if along + self.length < view.camera.along + 1:
            return
        normal = (-math.copysign(1.0, self.across), 0.0, 0.0)
        d, s0, s1, top = self.across, along, along + self.length, self.height
        side = np.array([(d, top, s0), (d, top, s1), (d, 0, s1), (d, 0, s0)])
        thick = math.copysign(0.25 if self.label == WALL else 0.8, d) if self.label != FENCE else 0.0
        if thick:
            end = np.array([(d, top, s0), (d + thick, top, s0), (d + thick, 0, s0), (d, 0, s0)])
            view.face(end, shade(self.color, 0.8), self.label, (0, 0, -1))
            roof = np.array([(d, top, s0), (d, top, s1), (d + thick, top, s1), (d + thick, top, s0)])
            view.face(roof, shade(self.color, 1.1), self.label)
        view.face(side, self.color, self.label, normal)
        if self.label == FENCE:
            self._slats(view, s0, normal)
        strength = 0.4 if self.label == VEGETATION else 0.15
        view.canvas.texture(view.camera.project(side), grain(), 0.25, strength, self.label)

    def solid(self) -> Points:
        return np.array([(self.across, y, s) for y in (0.0, self.height) for s in (0.0, self.length)])

    def _slats(self, view: View, along: float, normal: tuple[float, float, float]) -> None:
        starts = along + np.arange(0.1, self.length, 0.45)
        starts = starts[starts > view.camera.along + 1]
        shape = np.array(
            [(0, self.height * 0.92, 0), (0, self.height * 0.92, 0.2), (0, 0.1, 0.2), (0, 0.1, 0)]
        )
        slats = (
            shape[None] + np.stack([np.full_like(starts, self.across), 0 * starts, starts], axis=1)[:, None]
        )
        view.faces(slats, shade(self.color, 0.72), None, normal)


def sample_barrier(rng: Random, along: float, across: float, length: float) -> Barrier:
    """A fence, a low wall or a hedge."""
    label = rng.choice((FENCE, WALL, VEGETATION, VEGETATION))
    color = leaves(rng) if label == VEGETATION else paint(rng, vivid=0.5)
    return Barrier(along, across, length, rng.uniform(0.8, 1.7), color, label)


@dataclass(frozen=True)
class Bin:
    """A bin, box or cabinet on the pavement."""

    along: float
    across: float
    size: tuple[float, float]
    color: Rgb
    speed: float = 0.0
    order: float = 0.0

    def draw(self, view: View, along: float) -> None:
        if along - view.camera.along < 2.0 or view.misses(self.across, along, 5.0):
            return
        half, height = self.size[0] / 2, self.size[1]
        figure = view.stand(self.across, along)
        figure.polygon(
            [(-half * 0.85, 0), (half * 0.85, 0), (half, height), (-half, height)], self.color, STATIC
        )
        lid = [(-half * 1.1, height), (half * 1.1, height), (half, height * 1.1), (-half, height * 1.1)]
        figure.polygon(lid, shade(self.color, 0.7), STATIC)

    def solid(self) -> Points:
        half, height = self.size[0] / 2, self.size[1]
        return np.array(
            [(self.across + x, y, z) for x in (-half, half) for y in (0, height) for z in (0, half)]
        )


def sample_bin(rng: Random, along: float, across: float) -> Bin:
    """A bin or a cabinet 0.7 to 1.4 m high."""
    return Bin(along, across, (rng.uniform(0.4, 1.2), rng.uniform(0.7, 1.4)), paint(rng))
