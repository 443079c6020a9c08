"""People who stand, walk and ride."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from edgeseg.training.data.scenes.camera import Points
from edgeseg.training.data.scenes.light import Rgb
from edgeseg.training.data.scenes.palette import BICYCLE, PERSON, RIDER, paint, shade, skin
from edgeseg.training.data.scenes.view import Figure, View

_STRIDE = 0.7  # metres walked per step
_FAR_SCALE = 12.0  # pixels per metre, below which limbs are not told apart


@dataclass(frozen=True)
class Person:
    """A figure of a height and width in metres; ``sideways`` is how far its steps reach in the picture."""

    along: float
    across: float
    height: float
    build: float
    skin: Rgb
    hair: Rgb
    top: Rgb
    trousers: Rgb
    sideways: float
    phase: float
    bag: Rgb | None
    speed: float = 0.0
    order: float = 0.0

    def draw(self, view: View, along: float) -> None:
        if along - view.camera.along < 2.5 or view.misses(self.across, along, 1.0):
            return
        step = np.sin(self.phase + along * np.pi / _STRIDE) if self.speed else np.sin(self.phase)
        figure = view.stand(self.across, along)
        if figure.scale < _FAR_SCALE:
            self._from_afar(figure)
            return
        self._legs(figure, float(step))
        self.body(figure, float(step), PERSON)

    def solid(self) -> Points:
        half = self.height * self.build * 0.7
        return np.array([(self.across + x, y, 0.0) for x in (-half, half) for y in (0.1, self.height)])

    def _from_afar(self, figure: Figure) -> None:
        tall, half = self.height, self.height * self.build * 0.42
        hip = 0.48 * tall
        figure.polygon([(-half, hip), (half, hip), (half * 0.7, 0), (-half * 0.7, 0)], self.trousers, PERSON)
        figure.polygon(
            [(-half, hip), (half, hip), (half, 0.84 * tall), (-half, 0.84 * tall)], self.top, PERSON
        )
        figure.disc(0, 0.93 * tall, (0.05 * tall, 0.07 * tall), self.hair, PERSON)

    def _legs(self, figure: Figure, step: float) -> None:
        hip, wide = self.height * 0.5, self.height * self.build * 0.36
        reach = self.sideways * abs(step) * self.height * 0.13
        lift = 0.05 * max(0.0, step) * self.height, 0.05 * max(0.0, -step) * self.height
        for side, raised in zip((-1, 1), lift, strict=True):
            foot = side * (reach + wide * 0.5)
            leg = [
                (side * wide - wide * 0.95 * side, hip),
                (side * wide, hip),
                (foot + side * wide * 0.45, raised),
                (foot - side * wide * 0.45, raised),
            ]
            figure.polygon(leg, shade(self.trousers, 1.0 if side > 0 else 0.85), PERSON)

    def body(self, figure: Figure, step: float, label: int, seat: float = 0.46) -> None:
        tall, wide = self.height, self.height * self.build * 0.5
        hip, shoulder = tall * seat, tall * (seat + 0.36)
        swing = 0.05 * step * tall * self.sideways
        for side in (-1, 1):
            hand = side * wide * 1.08 + swing
            arm = [(side * wide * 0.7, shoulder), (side * wide * 1.05, shoulder - 0.04 * tall), (hand, hip)]
            figure.polygon([*arm, (hand - side * wide * 0.3, hip)], shade(self.top, 0.8), label)
        torso = [
            (-wide * 0.8, hip),
            (wide * 0.8, hip),
            (wide, shoulder),
            (wide * 0.3, shoulder + 0.03 * tall),
        ]
        figure.polygon([*torso, (-wide * 0.3, shoulder + 0.03 * tall), (-wide, shoulder)], self.top, label)
        if self.bag is not None:
            figure.disc(wide * 0.5, hip + 0.12 * tall, (wide * 0.55, 0.13 * tall), self.bag, label)
        head = shoulder + 0.105 * tall
        figure.disc(0, head + 0.012 * tall, (0.056 * tall, 0.075 * tall), self.hair, label)
        figure.disc(0, head - 0.012 * tall, (0.046 * tall, 0.058 * tall), self.skin, label)


@dataclass(frozen=True)
class Cyclist:
    """A rider seen from behind or in front, on a bicycle."""

    along: float
    across: float
    person: Person
    frame: Rgb
    speed: float
    order: float = 0.0

    def draw(self, view: View, along: float) -> None:
        if along - view.camera.along < 3 or view.misses(self.across, along, 1.0):
            return
        figure = view.stand(self.across, along)
        figure.disc(0, 0.34, (0.05, 0.34), (30, 30, 32), BICYCLE)
        figure.line([(0, 0.4), (0, 0.95)], 0.07, self.frame, BICYCLE)
        figure.line([(-0.3, 1.02), (0.3, 1.02)], 0.05, (40, 40, 42), BICYCLE)
        for side in (-1, 1):
            leg = [
                (side * 0.04, 0.95),
                (side * 0.22, 0.95),
                (side * 0.2, 0.3 + 0.1 * side),
                (side * 0.1, 0.3),
            ]
            figure.polygon(leg, self.person.trousers, RIDER)
        self.person.body(figure, 0.0, RIDER, seat=0.52)

    def solid(self) -> Points:
        return np.array(
            [(self.across + x, y, z) for x in (-0.25, 0.25) for y in (0.1, 1.7) for z in (-0.8, 0.8)]
        )


def sample_person(rng: Random, along: float, across: float) -> Person:
    """Somebody on foot, one in eight a child, half of them walking along the road."""
    height = rng.uniform(1.05, 1.4) if rng.random() < 0.12 else rng.uniform(1.55, 1.92)
    return Person(
        along,
        across,
        height,
        build=rng.uniform(0.22, 0.34),
        skin=skin(rng),
        hair=shade(paint(rng, vivid=0.6), 0.6),
        top=paint(rng),
        trousers=paint(rng, vivid=0.8),
        sideways=rng.uniform(0.1, 1.0),
        phase=rng.uniform(0, 6.28),
        bag=paint(rng) if rng.random() < 0.35 else None,
        speed=rng.choice((0.0, 0.0, 1.3, -1.3)),
    )


def sample_cyclist(rng: Random, along: float, across: float, speed: float) -> Cyclist:
    """A rider at ``speed`` metres per second along the road."""
    return Cyclist(along, across, sample_person(rng, along, across), paint(rng), speed)
