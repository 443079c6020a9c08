"""A street: what stands where along it, and how it looks from a camera car driving through it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from edgeseg.labels import Mask
from edgeseg.resize import Image
from edgeseg.training.data.scenes.camera import Camera, Pixels, Road, shifted
from edgeseg.training.data.scenes.canvas import Canvas
from edgeseg.training.data.scenes.ground import Ground, finish_ground, sample_ground
from edgeseg.training.data.scenes.layout import SPEED, Layout, sample_props
from edgeseg.training.data.scenes.light import Light, Sensor, sample_light
from edgeseg.training.data.scenes.sky import Bonnet, Skyline, draw_sky
from edgeseg.training.data.scenes.view import Prop, View

SIGHT = 110.0
"""Metres ahead of the camera; what is further away is not drawn."""

_SHADOWS = 45.0  # metres: how far cast shadows can be told


@dataclass(frozen=True)
class Mount:
    """How the camera sits in its car; shares are of the picture's size."""

    across: float
    height: float
    focal: float
    horizon: float
    centre: float

    @classmethod
    def sample(cls, rng: Random, lane: float) -> Mount:
        """Somewhere behind the windscreen of a car in the lane at ``lane`` metres from the road's centre."""
        return cls(
            across=lane + rng.uniform(-0.4, 0.4),
            height=rng.uniform(1.15, 1.9),
            focal=rng.uniform(0.65, 0.95),
            horizon=rng.uniform(0.36, 0.52),
            centre=rng.uniform(0.45, 0.55),
        )


@dataclass(frozen=True)
class Street:
    """A street, its light and the camera that is driven through it."""

    road: Road
    ground: Ground
    skyline: Skyline
    props: tuple[Prop, ...]
    light: Light
    sensor: Sensor
    mount: Mount
    bonnet: Bonnet | None
    seed: int

    @classmethod
    def sample(cls, seed: str, length: float = SIGHT) -> Street:
        """The street of a seed, ``length`` metres long; the same seed gives the same street anywhere."""
        rng = Random(seed)
        light = sample_light(rng)
        layout = Layout.sample(rng)
        ground = sample_ground(rng, layout.lanes, layout.half_road, length)
        return cls(
            road=Road.sample(rng),
            ground=ground,
            skyline=Skyline.sample(rng),
            props=tuple(sample_props(rng, layout, ground, length)),
            light=light,
            sensor=Sensor.sample(rng, light),
            mount=Mount.sample(rng, layout.own),
            bonnet=Bonnet.sample(rng) if rng.random() < 0.8 else None,
            seed=rng.randrange(2**31),
        )

    def render(self, height: int, width: int, along: float = 0.0, time: float = 0.0) -> tuple[Image, Mask]:
        """The view from ``along`` metres, ``time`` seconds after the start.

        Returns:
            The picture ``uint8 [height, width, 3]`` RGB and its mask of raw Cityscapes label ids
            ``uint8 [height, width]``.
        """
        view = View(Canvas(height, width), self._camera(height, width, along), self.light)
        standing = [(prop, prop.along + prop.speed * time) for prop in self.props]
        seen = [(p, s) for p, s in standing if s < along + SIGHT]
        draw_sky(view, self.seed)
        self.ground.draw(view)
        self.skyline.draw(view)
        finish_ground(view, self.ground, _shadows(view, seen))
        for prop, place in sorted(seen, key=lambda p: -(p[1] + p[0].order)):
            prop.draw(view, place)
        if self.bonnet is not None:
            self.bonnet.draw(view)
        noise = Random(f"{self.seed}/{time:.4f}")
        return self.sensor.expose(view.canvas.image, noise), view.canvas.mask

    def with_clear_way(self) -> Street:
        """The same street with nothing on the camera car's way but what drives ahead at its speed."""
        clear = [p for p in self.props if p.speed == SPEED or abs(p.across - self.mount.across) > 1.9]
        return replace(self, props=tuple(clear))

    def _camera(self, height: int, width: int, along: float) -> Camera:
        mount = self.mount
        focal = mount.focal * max(width, height)
        return Camera(
            self.road, along, mount.across, mount.height, focal, mount.centre * width, mount.horizon * height
        )


def _shadows(view: View, seen: list[tuple[Prop, float]]) -> list[Pixels]:
    if not view.light.sunny:
        return []
    outlines = []
    for prop, place in seen:
        if place < view.camera.along + _SHADOWS:
            outlines.append(view.shadow(shifted(prop.solid(), 0.0, place)))
    return [outline for outline in outlines if outline is not None]
