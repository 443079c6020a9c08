"""Houses along the street: walls with windows, doors, shops and roofs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from random import Random

import numpy as np

from edgeseg.training.data.scenes.camera import Points, shifted
from edgeseg.training.data.scenes.canvas import fixed
from edgeseg.training.data.scenes.light import Rgb, Vector
from edgeseg.training.data.scenes.palette import BUILDING, facade, grey, paint, shade
from edgeseg.training.data.scenes.tiles import fractal, grain
from edgeseg.training.data.scenes.view import TOWARDS_CAMERA, View

_LAMPLIGHT: Rgb = (250, 215, 140)

Rectangle = tuple[float, float, float, float]
"""Metres along the wall, from and to, and up the wall, from and to."""


@dataclass(frozen=True)
class Group:
    """Rectangles of one colour on a wall; ``lamp`` ones shine when it is dark."""

    rectangles: list[Rectangle]
    color: Rgb
    lamp: bool = False


@dataclass(frozen=True)
class Details:
    """What is on a wall: rectangles ``[K, 4, 3]`` in drawing order, and groups that follow one another."""

    corners: Points
    groups: tuple[Group, ...]

    def draw(self, view: View, along: float, normal: Vector) -> None:
        if not len(self.corners):
            return
        shapes = list(fixed(view.camera.project(shifted(self.corners, 0.0, along))))
        distance, start = view.distance(along), 0
        for group in self.groups:
            end = start + len(group.rectangles)
            shines = group.lamp and view.light.lamps
            color = _LAMPLIGHT if shines else view.light.on(group.color, normal, distance)
            view.canvas.fill(shapes[start:end], color, None)
            start = end


@dataclass(frozen=True)
class Building:
    """A house whose front stands at ``across`` and faces the road; a flat roof has a ``ridge`` of 0."""

    along: float
    across: float
    length: float
    height: float
    depth: float
    ridge: float
    color: Rgb
    roof: Rgb
    front: Details
    end: Details
    roughness: float
    speed: float = 0.0

    @property
    def order(self) -> float:
        return self.length

    def draw(self, view: View, along: float) -> None:
        if along + self.length < view.camera.along + 1:
            return
        outward: Vector = (-math.copysign(1.0, self.across), 0.0, 0.0)
        if self.ridge:
            view.wall(self._roof(along), self.roof, BUILDING, (outward[0] * 0.5, 0.85, 0.0), grain(), 0.2)
        tile = grain() if self.roughness > 0.09 else fractal()
        if view.wall(self._end(along), self.color, BUILDING, TOWARDS_CAMERA, tile, self.roughness):
            self.end.draw(view, along, TOWARDS_CAMERA)
        if view.wall(self._front(along), self.color, BUILDING, outward, tile, self.roughness):
            self.front.draw(view, along, outward)

    def solid(self) -> Points:
        near = self._end(0.0)
        return np.concatenate([near, shifted(near, 0.0, self.length)])

    def _front(self, along: float) -> Points:
        d, s0, s1, top = self.across, along, along + self.length, self.height
        return np.array([(d, top, s0), (d, top, s1), (d, 0, s1), (d, 0, s0)])

    def _end(self, along: float) -> Points:
        d, back = self.across, self.across + math.copysign(self.depth, self.across)
        top, peak = self.height, ((d + back) / 2, self.height + self.ridge, along)
        return np.array([(d, 0, along), (d, top, along), peak, (back, top, along), (back, 0, along)])

    def _roof(self, along: float) -> Points:
        d, middle = self.across, self.across + math.copysign(self.depth / 2, self.across)
        s0, s1, top, peak = along, along + self.length, self.height, self.height + self.ridge
        return np.array([(d, top, s0), (middle, peak, s0), (middle, peak, s1), (d, top, s1)])


def sample_building(
    rng: Random, along: float, across: float, length: float, floors: tuple[int, int]
) -> Building:
    """A house ``length`` metres long with a number of floors between the two given."""
    storey, count = rng.uniform(2.8, 3.5), rng.randint(*floors)
    height, depth = count * storey + rng.uniform(0.3, 1.2), rng.uniform(7, 12)
    color, glass = facade(rng), grey(rng, 30, 150)
    pitched = count <= 4 and rng.random() < 0.65
    window = rng.uniform(0.9, 1.6), rng.uniform(1.1, 1.8)
    shop = count > 1 and rng.random() < 0.4
    grid = _grid(rng, length, range(1 if shop else 0, count), storey, window)
    front = [
        _courses(rng, length, height, storey, color),
        *_windows(rng, grid, glass, color),
        *(_shop(rng, length, storey) if shop else _door(rng, length)),
    ]
    gable = _grid(rng, depth, range(count), storey, window) if rng.random() < 0.6 else []
    return Building(
        along=along,
        across=across,
        length=length,
        height=height,
        depth=depth,
        ridge=rng.uniform(1.5, 3.5) if pitched else 0.0,
        color=color,
        roof=shade(paint(rng, vivid=0.5), 0.7),
        front=_on_front(across, front),
        end=_on_end(across, [Group(gable, glass)]),
        roughness=rng.choice((0.04, 0.08, 0.1, 0.15)),
    )


def _courses(rng: Random, length: float, height: float, storey: float, color: Rgb) -> Group:
    """The cornice and a band at each floor."""
    floors = range(1, int(height / storey))
    bands = [(0.0, length, k * storey - 0.08, k * storey + 0.08) for k in floors]
    return Group([(0.0, length, height - 0.35, height), *bands], shade(color, rng.choice((0.75, 1.2))))


def _windows(rng: Random, grid: list[Rectangle], glass: Rgb, wall: Rgb) -> list[Group]:
    """Frames, panes and sills; some panes are lit, some have their blinds down."""
    frame = shade(wall, rng.choice((0.6, 1.3))) if rng.random() < 0.5 else grey(rng, 180, 250)
    panes: tuple[list[Rectangle], ...] = ([], [], [])
    for left, right, low, high in grid:
        kind = rng.choices((0, 1, 2), weights=(6, 2, 2))[0]
        panes[kind].append((left + 0.1, right - 0.1, low + 0.1, high - 0.1))
    sills = [(left - 0.1, right + 0.1, low - 0.16, low) for left, right, low, _ in grid]
    return [
        Group(grid, frame),
        Group(sills, shade(frame, 0.8)),
        Group(panes[0], glass),
        Group(panes[1], shade(glass, 1.5), lamp=True),
        Group(panes[2], shade(glass, 0.6)),
    ]


def _grid(
    rng: Random, length: float, floors: range, storey: float, size: tuple[float, float]
) -> list[Rectangle]:
    count = max(1, int(length / (size[0] + rng.uniform(0.8, 2.2))))
    pitch = length / count
    lefts = [(k + 0.5) * pitch - size[0] / 2 for k in range(count)]
    lows = [floor * storey + 0.95 for floor in floors]
    return [(left, left + size[0], low, low + size[1]) for low in lows for left in lefts]


def _shop(rng: Random, length: float, storey: float) -> list[Group]:
    """Shop windows with a fascia above them."""
    count = max(1, int(length / rng.uniform(3, 5)))
    pitch = length / count
    panes = [(k * pitch + 0.3, (k + 1) * pitch - 0.3, 0.5, storey - 0.9) for k in range(count)]
    fascia = [(0.1, length - 0.1, storey - 0.8, storey - 0.1)]
    return [Group(panes, grey(rng, 35, 120), lamp=True), Group(fascia, paint(rng))]


def _door(rng: Random, length: float) -> list[Group]:
    left = rng.uniform(0.1, 0.8) * (length - 1.2)
    return [Group([(left, left + 1.1, 0.0, 2.2)], paint(rng))]


def _on_front(across: float, groups: list[Group]) -> Details:
    flat = _flat(groups)
    return Details(np.insert(flat[..., ::-1], 0, across, axis=-1), tuple(groups))


def _on_end(across: float, groups: list[Group]) -> Details:
    flat = _flat(groups) * (math.copysign(1.0, across), 1.0) + (across, 0.0)
    return Details(np.insert(flat, 2, 0.0, axis=-1), tuple(groups))


def _flat(groups: list[Group]) -> Points:
    """The corners ``[K, 4, 2]`` of all rectangles, along and up the wall."""
    rectangles = list(chain.from_iterable(group.rectangles for group in groups))
    return np.array(rectangles, np.float64).reshape(-1, 4)[:, [[0, 3], [1, 3], [1, 2], [0, 2]]]
