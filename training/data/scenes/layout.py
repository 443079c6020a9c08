"""What stands where along a street."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from edgeseg.training.data.scenes.buildings import sample_building
from edgeseg.training.data.scenes.ground import Ground
from edgeseg.training.data.scenes.people import sample_cyclist, sample_person
from edgeseg.training.data.scenes.roadside import (
    sample_barrier,
    sample_bin,
    sample_lamp,
    sample_mast,
    sample_sign,
    sample_traffic_light,
)
from edgeseg.training.data.scenes.trees import sample_bush, sample_tree
from edgeseg.training.data.scenes.vehicles import (
    AHEAD,
    ONCOMING,
    TO_LEFT,
    TO_RIGHT,
    sample_car,
    sample_vehicle,
)
from edgeseg.training.data.scenes.view import Prop

SPEED = 9.0
"""Metres per second, of the camera car and of the traffic that flows with it."""

_LANE = 3.2  # metres


@dataclass(frozen=True)
class Layout:
    """The cross-section of a street, in metres from its centre, and how densely it is lined, 0 to 1."""

    lanes: tuple[float, ...]
    half_road: float
    parking: bool
    own: float
    other_lanes: tuple[float, ...]
    oncoming_lanes: tuple[float, ...]
    houses: float
    floors: tuple[int, int]
    setback: float
    trees: float
    people: float

    @classmethod
    def sample(cls, rng: Random) -> Layout:
        each = rng.choice((1, 1, 1, 2))
        parking = rng.random() < 0.6
        right = tuple((k + 0.5) * _LANE for k in range(each))
        own = rng.choice(right)
        town = rng.random() < 0.6
        return cls(
            lanes=tuple(k * _LANE for k in range(1 - each, each)),
            half_road=each * _LANE + (2.2 if parking else 0.3),
            parking=parking,
            own=own,
            other_lanes=tuple(x for x in right if x != own),
            oncoming_lanes=tuple(-x for x in right),
            houses=rng.uniform(0.85, 1.0) if town else rng.uniform(0.25, 0.7),
            floors=(2, 6) if town else (1, 3),
            setback=0.0 if town else rng.uniform(0, 5),
            trees=rng.choice((0.15, 0.4, 0.8)),
            people=rng.uniform(0.5, 1.3),
        )


def sample_props(rng: Random, layout: Layout, ground: Ground, length: float) -> list[Prop]:
    """Everything that stands or moves along the first ``length`` metres."""
    props = _traffic(rng, layout, ground, length)
    for side in (-1, 1):
        props += _houses(rng, layout, ground, side, length)
        props += _furniture(rng, layout, ground, side, length)
        props += _walkers(rng, layout, ground, side, length)
        if layout.parking:
            props += _parked(rng, ground, side, length)
    return props


def _houses(rng: Random, layout: Layout, ground: Ground, side: int, length: float) -> list[Prop]:
    """Houses, and in the gaps between them barriers, trees and bushes."""
    props: list[Prop] = []
    along = rng.uniform(-12, 0)
    line = ground.half_road + ground.pavement
    while along < length:
        long = rng.uniform(7, 17)
        if _in_junction(ground, along, along + long):
            along += 2.0
        elif rng.random() < layout.houses:
            across = side * (line + layout.setback * rng.uniform(0.6, 1.0) + 0.05)
            props.append(sample_building(rng, along, across, long - 0.05, layout.floors))
            along += long + (rng.uniform(0.5, 3) if layout.setback else 0.0)
        else:
            props += _garden(rng, along, side * (line + 0.3), long)
            along += long
    return props


def _garden(rng: Random, along: float, across: float, length: float) -> list[Prop]:
    props: list[Prop] = []
    if rng.random() < 0.7:
        half = length / 2
        barrier = sample_barrier(rng, along, across, half)
        props += [barrier, replace(barrier, along=along + half)]
    for _ in range(rng.randint(0, 3)):
        plant = rng.choice((sample_tree, sample_bush))
        behind = across + math.copysign(rng.uniform(2, 9), across)
        props.append(plant(rng, along + rng.uniform(0, length), behind))
    return props


def _furniture(rng: Random, layout: Layout, ground: Ground, side: int, length: float) -> list[Prop]:
    kerb = side * (ground.half_road + ground.kerb + 0.45)
    makers = (
        sample_tree,
        sample_sign,
        sample_lamp,
        sample_mast,
        sample_bin,
        sample_bush,
        sample_traffic_light,
    )
    weights = (layout.trees, 0.5, 0.3, 0.3, 0.3, 0.12, 0.12)
    props: list[Prop] = []
    along = rng.uniform(4, 9)
    while along < length:
        if not _in_junction(ground, along, along + 1):
            make = rng.choices(makers, weights=weights)[0]
            props.append(make(rng, along, kerb + side * rng.uniform(0, 0.4)))
        along += rng.uniform(3.0, 8.0)
    for first, last in ground.junctions:
        if rng.random() < 0.8:
            props.append(sample_traffic_light(rng, first - 1.0 if side > 0 else last + 1.0, kerb))
    return props


def _walkers(rng: Random, layout: Layout, ground: Ground, side: int, length: float) -> list[Prop]:
    props: list[Prop] = []
    inner, outer = ground.half_road + 0.7, ground.half_road + ground.pavement - 0.4
    along = rng.uniform(5, 10)
    while along < length:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            across = side * rng.uniform(inner, max(inner, outer))
            props.append(sample_person(rng, along + rng.uniform(0, 1.5), across))
        along += rng.uniform(3, 14) / layout.people
    if side > 0:
        for crossing in ground.markings.crossings:
            for _ in range(rng.randint(0, 3)):
                across = rng.uniform(-ground.half_road, ground.half_road)
                props.append(replace(sample_person(rng, crossing + rng.uniform(0.3, 2.7), across), speed=0.0))
    return props


def _parked(rng: Random, ground: Ground, side: int, length: float) -> list[Prop]:
    props: list[Prop] = []
    share = rng.uniform(0.3, 0.9)
    along = rng.uniform(3, 9)
    heading = AHEAD if side > 0 else ONCOMING
    while along < length:
        if rng.random() < share and not _in_junction(ground, along, along + 5):
            props.append(sample_car(rng, along, side * (ground.half_road - 1.05), heading))
        along += rng.uniform(5.6, 7)
    return props


def _traffic(rng: Random, layout: Layout, ground: Ground, length: float) -> list[Prop]:
    """Vehicles on the lanes, a cyclist at the side, cars that wait in side streets."""
    props: list[Prop] = []
    if rng.random() < 0.6:
        props.append(sample_vehicle(rng, rng.uniform(9, 40), layout.own, AHEAD, SPEED))
    for lane in layout.other_lanes:
        props += [sample_vehicle(rng, s, lane, AHEAD, SPEED) for s in _queue(rng, length)]
    for lane in layout.oncoming_lanes:
        props += [sample_vehicle(rng, s, lane, ONCOMING, -SPEED) for s in _queue(rng, length * 1.6)]
    if rng.random() < 0.5:
        edge = ground.half_road - (2.9 if layout.parking else 0.7)
        props.append(sample_cyclist(rng, rng.uniform(8, 30), edge, 0.45 * SPEED))
    for first, last in ground.junctions:
        if rng.random() < 0.5:
            heading, side = rng.choice(((TO_LEFT, -1), (TO_RIGHT, 1)))
            props.append(sample_car(rng, (first + last) / 2 - 1, side * rng.uniform(8, 16), heading))
    return props


def _in_junction(ground: Ground, first: float, last: float) -> bool:
    return any(start < last and first < end for start, end in ground.junctions)


def _queue(rng: Random, length: float) -> list[float]:
    places, along = [], rng.uniform(6, 40)
    while along < length:
        places.append(along)
        along += rng.uniform(14, 60)
    return places
