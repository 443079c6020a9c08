"""The ground: road, markings, kerbs, pavements, junctions, and the shadows on it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.training.data.scenes.camera import NEAREST, Pixels, Points
from edgeseg.training.data.scenes.light import Rgb
from edgeseg.training.data.scenes.palette import (
    ROAD,
    SIDEWALK,
    TERRAIN,
    grey,
    leaves,
    shade,
)
from edgeseg.training.data.scenes.tiles import fractal, grain
from edgeseg.training.data.scenes.view import UP, View

Floats = npt.NDArray[np.float32]

_END = 260.0  # metres: where the ground is drawn to
_DETAIL = 55.0  # metres: how far marks on the road can be told
_TILE = 256.0  # metres: after so many, every texture has come round to its start


class Line(NamedTuple):
    """A line along the road, ``across`` metres right of its centre; a solid one has no ``gap``."""

    across: float
    half_width: float
    dash: float
    gap: float


class Patch(NamedTuple):
    """A repair, manhole or track: a piece of road that is ``gain`` times as light."""

    across: float
    along: float
    half_width: float
    length: float
    gain: float


@dataclass(frozen=True)
class Markings:
    """What is painted on the road; ``crossings`` are metres along."""

    lines: tuple[Line, ...]
    crossings: tuple[float, ...]
    color: Rgb


@dataclass(frozen=True)
class Ground:
    """The road and its sides; widths are metres, ``pavement`` includes kerb and grass.

    ``junctions`` are where side streets begin and end along the road.
    """

    half_road: float
    pavement: float
    kerb: float
    grass: float
    road_color: Rgb
    pavement_color: Rgb
    kerb_color: Rgb
    grass_color: Rgb
    verge_color: Rgb
    verge_label: int
    markings: Markings
    patches: tuple[Patch, ...]
    junctions: tuple[tuple[float, float], ...]
    roughness: float

    def draw(self, view: View) -> None:
        """Draw without haze, which :func:`finish_ground` adds to every row alike."""
        row = max(0, int(view.camera.horizon))
        view.canvas.image[row:] = np.array(view.light.on(self.verge_color, UP, 0.0))
        view.canvas.mask[row:] = self.verge_label
        for side in (-1, 1):
            self._pavement(view, side)
        self._strip(view, -self.half_road, self.half_road, self.road_color, ROAD)
        self._patches(view)
        for side in (-1, 1):
            inner = side * self.half_road
            self._strip(view, inner, inner + side * self.kerb, self.kerb_color, SIDEWALK)
        for first, last in self.junctions:
            if last > view.camera.along + NEAREST:
                _paint(view, [_quad(-70, 70, first, last)], self.road_color, ROAD)
        self._lines(view)
        self._crossings(view)

    def _pavement(self, view: View, side: int) -> None:
        inner, outer = side * (self.half_road + self.kerb), side * (self.half_road + self.pavement)
        self._strip(view, inner, outer, self.pavement_color, SIDEWALK)
        joints = np.ceil(view.camera.along / 1.6) * 1.6 + 1.6 * np.arange(1, 16)
        slabs = [_quad(inner, outer, s, s + 0.05) for s in joints]
        _paint(view, slabs, shade(self.pavement_color, 0.8), None)
        if self.grass:
            self._strip(view, inner, inner + side * self.grass, self.grass_color, TERRAIN)

    def _strip(self, view: View, left: float, right: float, color: Rgb, label: int) -> None:
        along = view.camera.along + np.geomspace(NEAREST, _END, 48)
        there, back = _edge(left, along), _edge(right, along[::-1])
        _paint(view, [np.concatenate([there, back])], color, label)

    def _patches(self, view: View) -> None:
        start = view.camera.along
        for across, along, half, length, gain in self.patches:
            if along - _DETAIL < start < along + length - NEAREST:
                patch = _quad(across - half, across + half, along, along + length)
                _paint(view, [patch], shade(self.road_color, gain), None)

    def _lines(self, view: View) -> None:
        start = view.camera.along
        for line in self.markings.lines:
            period = line.dash + line.gap
            if line.gap:
                first = start // period * period
                pieces = [(s, s + line.dash) for s in first + period * np.arange(1 + 2 * _DETAIL // period)]
            else:
                pieces = list(pairwise(start + np.geomspace(NEAREST, 2 * _DETAIL, 40)))
            left, right = line.across - line.half_width, line.across + line.half_width
            shapes = [
                _quad(left, right, *p) for p in pieces if p[1] > start + NEAREST and not self._interrupted(*p)
            ]
            _paint(view, shapes, self.markings.color, None)

    def _crossings(self, view: View) -> None:
        start = view.camera.along
        for along in self.markings.crossings:
            if along - 2 * _DETAIL < start < along + 3 - NEAREST:
                lefts = np.arange(-self.half_road + 0.4, self.half_road - 0.6, 1.0)
                bars = [_quad(left, left + 0.5, along, along + 3) for left in lefts]
                _paint(view, bars, self.markings.color, None)

    def _interrupted(self, first: float, last: float) -> bool:
        """Whether a line stops there for a junction or a crossing."""
        gaps = [(begin - 4.5, end + 0.5) for begin, end in self.junctions]
        gaps += [(crossing - 1, crossing + 4) for crossing in self.markings.crossings]
        return any(begin < last and first < end for begin, end in gaps)


def finish_ground(view: View, ground: Ground, shadows: list[Pixels]) -> None:
    """Texture, cast shadows and haze on everything drawn so far below the horizon."""
    canvas, camera = view.canvas, view.camera
    height, width = canvas.mask.shape
    top = min(max(0, int(camera.horizon) + 1), height - 1)
    distance = np.minimum(camera.row_distances(top, height)[:, None], _END).astype(np.float32)
    along = distance + camera.along
    columns = np.arange(width, dtype=np.float32)[None]
    across = (columns - camera.centre) * distance / camera.focal + camera.axis(along).astype(np.float32)
    gain = 1 + _worn(across, along - _TILE * (camera.along // _TILE), distance, ground.roughness)
    if view.light.sunny and shadows:
        gain *= 1 - _depth(view) * _shade_map(shadows, top, height, width)
    fade = np.exp(-distance / view.light.haze_distance)
    gain *= fade
    part = cv2.multiply(canvas.image[top:], cv2.merge([gain, gain, gain]), dtype=cv2.CV_32F)
    part += (1 - fade[..., None]) * np.array(view.light.haze, np.float32)
    canvas.image[top:] = np.minimum(part, 255).astype(np.uint8)


def sample_ground(rng: Random, lanes: tuple[float, ...], half_road: float, length: float) -> Ground:
    """Colours, markings and junctions of a road with a line at each of ``lanes``, metres from its centre."""
    level = rng.uniform(65, 135)
    road = grey(rng, level, level + 4)
    pavement = shade(grey(rng, level, level + 4), rng.uniform(0.75, 1.5))
    grass, grass_color = rng.choice((0.0, 0.0, rng.uniform(0.7, 1.8))), leaves(rng)
    verge_label = rng.choice((SIDEWALK, TERRAIN, TERRAIN))
    verge = grass_color if verge_label == TERRAIN else shade(pavement, rng.uniform(0.85, 1.1))
    junctions = tuple(
        (s, s + rng.uniform(7, 10)) for s in _spread(rng, length, 60, 140) if rng.random() < 0.7
    )
    crossings = tuple(first - 4.0 for first, _ in junctions if rng.random() < 0.7)
    return Ground(
        half_road=half_road,
        pavement=grass + rng.uniform(2.0, 4.5),
        kerb=rng.uniform(0.12, 0.3),
        road_color=road,
        pavement_color=pavement,
        kerb_color=shade(pavement, rng.uniform(0.8, 1.3)),
        grass=grass,
        grass_color=grass_color,
        verge_color=verge,
        verge_label=verge_label,
        markings=Markings(_sample_lines(rng, lanes, half_road), crossings, _marking_color(rng)),
        patches=_sample_patches(rng, half_road, length),
        junctions=junctions,
        roughness=rng.uniform(0.05, 0.16),
    )


def _sample_lines(rng: Random, lanes: tuple[float, ...], half_road: float) -> tuple[Line, ...]:
    dash, gap = rng.choice(((3.0, 6.0), (4.0, 8.0), (2.0, 4.0)))
    lines = []
    for across in lanes:
        solid = across == 0.0 and rng.random() < 0.3
        lines.append(Line(across, 0.07, dash, 0.0 if solid else gap))
    if rng.random() < 0.5:
        lines += [Line(side * (half_road - 0.35), 0.06, dash, 0.0) for side in (-1, 1)]
    return tuple(lines) if rng.random() < 0.9 else ()


def _marking_color(rng: Random) -> Rgb:
    color: Rgb = (245, 245, 240) if rng.random() < 0.8 else (235, 190, 70)
    return shade(color, rng.uniform(0.72, 1.0))


def _sample_patches(rng: Random, half_road: float, length: float) -> tuple[Patch, ...]:
    reach = half_road - 1
    return tuple(
        Patch(
            rng.uniform(-reach, reach),
            along,
            half_width=rng.uniform(0.25, 0.9),
            length=rng.choice((0.6, 2.0, 6.0, 15.0)),
            gain=rng.uniform(0.78, 1.12),
        )
        for along in _spread(rng, length, 4, 20)
    )


def _spread(rng: Random, length: float, least: float, most: float) -> list[float]:
    places, along = [], rng.uniform(0, most)
    while along < length:
        places.append(along)
        along += rng.uniform(least, most)
    return places


def _paint(view: View, shapes: list[Points], color: Rgb, label: int | None) -> None:
    """Fill polygons of equal length on the ground."""
    if shapes:
        lit = view.light.on(color, UP, 0.0)
        view.canvas.polygons(view.camera.project(np.array(shapes)), lit, label)


def _edge(across: float, along: npt.NDArray[np.float64]) -> Points:
    return np.stack([np.full_like(along, across), np.zeros_like(along), along], axis=1)


def _quad(left: float, right: float, first: float, last: float) -> Points:
    return np.array([(left, 0.0, last), (right, 0.0, last), (right, 0.0, first), (left, 0.0, first)])


def _worn(across: Floats, along: Floats, distance: Floats, roughness: float) -> Floats:
    """Grain near the camera and stains further on: a gain's deviation from 1, ``float32 [R, W]``."""
    near = 1.6 * roughness * np.exp(-distance / 9.0)
    far = 1.6 * roughness * np.exp(-distance / 45.0)
    along = np.broadcast_to(along, across.shape)
    fine = cv2.remap(grain(), across * 26, along * 26, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    coarse = cv2.remap(fractal(), across * 9, along * 9, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return near * fine + far * coarse


def _depth(view: View) -> float:
    """How much darker a shadow on the ground is, 0 to 1."""
    sun = max(view.light.sun) * view.light.direction[1]
    return sun / (sun + max(view.light.ambient))


def _shade_map(shadows: list[Pixels], top: int, height: int, width: int) -> Floats:
    cast = np.zeros((height - top, width), np.uint8)
    for outline in shadows:
        cv2.fillPoly(cast, [np.rint(outline - (0, top)).astype(np.int32)], 255)
    return cv2.GaussianBlur(cast, (0, 0), 0.9).astype(np.float32) / 255
