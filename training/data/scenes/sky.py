"""All that has no place in the street: the sky, the skyline, the camera car's own bonnet."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.training.data.scenes.light import Rgb
from edgeseg.training.data.scenes.palette import (
    BUILDING,
    EGO_VEHICLE,
    SKY,
    VEGETATION,
    facade,
    leaves,
    paint,
    shade,
)
from edgeseg.training.data.scenes.tiles import fractal
from edgeseg.training.data.scenes.view import UP, View

Floats = npt.NDArray[np.float32]

_SKYLINE = 170.0  # metres: how far away the skyline stands


def draw_sky(view: View, seed: int) -> None:
    """A gradient with clouds; it is smooth, so it is worked out at half size."""
    canvas, light = view.canvas, view.light
    height, width = canvas.mask.shape
    rows = min(height, max(2, int(view.camera.horizon) + 2))
    lift = np.linspace(1, 0.5 / rows, -(-rows // 2), dtype=np.float32)[:, None]
    blue = (lift**0.7)[..., None]
    zenith, haze, white = (np.array(color, np.float32) for color in (light.zenith, light.haze, light.cloud))
    base = blue * zenith + (1 - blue) * haze
    cloud = _clouds(view, lift, seed)[..., None]
    sky = np.clip(base + cloud * (white - base), 0, 255).astype(np.uint8)
    canvas.image[:rows] = cv2.resize(sky, (width, rows), interpolation=cv2.INTER_LINEAR)
    canvas.mask[:rows] = SKY


def _clouds(view: View, lift: Floats, seed: int) -> Floats:
    """How much of the sky's colour is cloud, 0 to 1, at half size; ``lift`` is 1 overhead, 0 at the horizon.

    The clouds lie in a plane, so they shrink towards the horizon, and they turn with the camera.
    """
    camera, width = view.camera, view.canvas.mask.shape[1]
    columns = (np.arange(0, width, 2) - camera.centre + camera.slope * camera.focal) / width
    reach = 1 / (lift + 0.25)
    x = columns.astype(np.float32) * reach * 150 + seed % 977
    y = np.broadcast_to(reach * 220 + seed % 577, x.shape).astype(np.float32)
    noise = cv2.remap(fractal(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    cover = np.clip((noise + np.float32(1.1 * view.light.cover - 0.55)) * 1.6, 0, 1)
    return cover * np.clip(lift * 3, 0.15, 1) * np.float32(0.85)


@dataclass(frozen=True)
class Skyline:
    """Far houses and trees along the whole horizon, so that the ground ends somewhere."""

    heights: tuple[tuple[float, ...], ...]  # metres, one per step of the compass
    colors: tuple[Rgb, ...]
    labels: tuple[int, ...]

    def draw(self, view: View) -> None:
        camera, width = view.camera, view.canvas.mask.shape[1]
        scale = camera.focal / _SKYLINE
        turn = camera.slope * camera.focal
        for heights, color, label in zip(self.heights, self.colors, self.labels, strict=True):
            count = len(heights)
            columns = np.linspace(-width, 2 * width, count) - turn
            rows = camera.horizon - scale * np.array(heights)
            if label == BUILDING:
                columns, rows = np.repeat(columns, 2)[1:], np.repeat(rows, 2)[:-1]
            foot = camera.horizon + 3
            outline = np.concatenate(
                [np.stack([columns, rows], axis=1), [(2.2 * width, foot), (-width, foot)]]
            )
            view.canvas.polygon(outline, view.light.on(color, (0, 0.5, -0.5), _SKYLINE * 0.8), label)

    @classmethod
    def sample(cls, rng: Random) -> Skyline:
        far = tuple(rng.uniform(5, 22) for _ in range(rng.randint(30, 60)))
        trees = tuple(rng.uniform(3, 9) for _ in range(150))
        return cls((far, trees), (facade(rng), leaves(rng)), (BUILDING, VEGETATION))


@dataclass(frozen=True)
class Bonnet:
    """The camera car's own bonnet at the picture's lower edge; ``rise`` is its share of the height."""

    color: Rgb
    rise: float
    arch: float

    def draw(self, view: View) -> None:
        height, width = view.canvas.mask.shape
        across = np.linspace(-1, 1, 33)
        for share, gain in ((1.0, 0.55), (0.82, 0.7), (0.55, 0.62)):
            edge = height * (1 - self.rise * share * (1 - self.arch * across**2))
            points = np.stack([(across * 0.53 + 0.5) * width, edge], axis=1)
            outline = np.concatenate([points, [(width + 9, height + 9), (-9, height + 9)]])
            lit = view.light.on(shade(self.color, gain), UP, 0.0)
            view.canvas.polygon(outline, lit, EGO_VEHICLE)

    @classmethod
    def sample(cls, rng: Random) -> Bonnet:
        return cls(paint(rng), rng.uniform(0.05, 0.13), rng.uniform(0.3, 0.9))
