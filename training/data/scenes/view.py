"""Drawing in metres: what a camera sees of lit surfaces, solids and upright figures of the street."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.training.data.scenes.camera import NEAREST, Camera, Pixels, Points, shifted
from edgeseg.training.data.scenes.canvas import Canvas, fixed
from edgeseg.training.data.scenes.light import Light, Rgb, Vector
from edgeseg.training.data.scenes.tiles import Tile

UP: Vector = (0.0, 1.0, 0.0)
TOWARDS_CAMERA: Vector = (0.0, 0.0, -1.0)
_NARROW = 12.0  # pixels: on a narrower wall no window can be told
_FINE = 7.0  # pixels per metre: what is smaller has no details that can be told
_ROUND: Vector = (0.0, 0.5, -0.85)  # the mean normal of what is round but drawn flat: some light from above


class Prop(Protocol):
    """Something that stands or moves in the street.

    ``along`` and ``across`` are where it stands, in metres along the road and right of its centre, and
    ``speed`` how fast it goes along, in metres per second. Props are drawn from the largest ``along + order``
    to the smallest: what has its neighbours in front of it, as a house has, counts from its far end.
    """

    @property
    def along(self) -> float: ...

    @property
    def across(self) -> float: ...

    @property
    def speed(self) -> float: ...

    @property
    def order(self) -> float: ...

    def draw(self, view: View, along: float) -> None: ...

    def solid(self) -> Points:
        """Places ``[N, 3]``, counted from ``along``, whose convex hull throws the prop's shadow."""


@dataclass(frozen=True)
class Face:
    """A flat polygon ``[N, 3]`` of a solid; seen from outside, its corners run clockwise.

    A ``detail`` lies on the face before it and adds nothing to the solid's outline.
    """

    corners: Points
    color: Rgb
    detail: bool = False

    def patch(self, left: float, top: float, right: float, bottom: float, color: Rgb) -> Face:
        """A part of a four-cornered face, in shares of its width and height from its first corner."""
        shares = [(left, top), (right, top), (right, bottom), (left, bottom)]
        weights = np.array([((1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v) for u, v in shares])
        return Face(weights @ self.corners, color, detail=True)


@dataclass(frozen=True)
class Solid:
    """Faces in drawing order: convex parts one after another, details after the face they lie on."""

    faces: tuple[Face, ...]
    corners: Points
    starts: tuple[int, ...]
    thirds: npt.NDArray[np.int64]  # [F, 3]: three corners of each face, which tell which side is seen
    normals: tuple[Vector, ...]

    @classmethod
    def of(cls, faces: Sequence[Face]) -> Solid:
        sizes = np.array([len(face.corners) for face in faces])
        starts = np.concatenate([[0], np.cumsum(sizes)])
        corners = np.concatenate([face.corners for face in faces])
        thirds = starts[:-1, None] + np.stack([0 * sizes, sizes // 3, 2 * sizes // 3], axis=1)
        a, b, c = (corners[thirds[:, k]] for k in range(3))
        normals = np.cross(b - a, c - a)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
        return cls(tuple(faces), corners, tuple(starts.tolist()), thirds, tuple(map(tuple, normals.tolist())))

    def faces_seen(self, pixels: Pixels) -> npt.NDArray[np.int64]:
        """Which faces look at the camera, given all corners ``[N, 2]`` in the picture."""
        (ax, ay), (bx, by), (cx, cy) = (pixels[self.thirds[:, k]].T for k in range(3))
        return np.flatnonzero((bx - ax) * (cy - ay) > (cx - ax) * (by - ay))


class View:
    """A canvas, the camera that looks and the light that falls."""

    def __init__(self, canvas: Canvas, camera: Camera, light: Light) -> None:
        self.canvas, self.camera, self.light = canvas, camera, light

    def distance(self, along: float) -> float:
        """Metres ahead of the camera."""
        return max(along - self.camera.along, NEAREST)

    def face(self, corners: Points, color: Rgb, label: int | None, normal: Vector = UP) -> None:
        """Fill a flat polygon ``[N, 3]``."""
        self.faces(corners[None], color, label, normal)

    def faces(self, corners: Points, color: Rgb, label: int | None, normal: Vector = UP) -> None:
        """Fill flat polygons ``[K, N, 3]`` that do not overlap, all in one colour."""
        if not len(corners):
            return
        pixels = self.camera.project(corners)
        if self.outside(pixels):
            return
        lit = self.light.on(color, normal, self.distance(float(corners[0, :, 2].mean())))
        self.canvas.polygons(pixels, lit, label)

    def wall(
        self, corners: Points, color: Rgb, label: int, normal: Vector, tile: Tile, strength: float
    ) -> bool:
        """Fill a large textured polygon ``[N, 3]``, and say whether it is wide enough to show details."""
        pixels = self.camera.project(corners)
        if self.outside(pixels):
            return False
        lit = self.light.on(color, normal, self.distance(float(corners[:, 2].mean())))
        self.canvas.polygon(pixels, lit, label)
        self.canvas.texture(pixels, tile, 0.8, strength, label)
        return float(np.ptp(pixels[:, 0])) > _NARROW

    def solid(self, solid: Solid, across: float, along: float, label: int) -> None:
        """Draw the faces that look this way."""
        pixels = self.camera.project(shifted(solid.corners, across, along))
        points, distance = fixed(pixels), self.distance(along)
        coarse = self.camera.focal < _FINE * distance
        for index in solid.faces_seen(pixels).tolist():
            face, part = solid.faces[index], points[solid.starts[index] : solid.starts[index + 1]]
            if face.detail and coarse:
                continue
            lit = self.light.on(face.color, solid.normals[index], distance)
            self.canvas.fill([part], lit, None if face.detail else label)

    def stand(self, across: float, along: float, height: float = 0.0) -> Figure:
        """An upright plane that faces the camera, for things drawn flat."""
        return Figure(self, *self.camera.place(across, height, along), self.distance(along))

    def misses(self, across: float, along: float, reach: float) -> bool:
        """Whether what reaches ``reach`` metres to both sides of a place is out of the picture."""
        column, _, scale = self.camera.place(across, 0.0, along)
        return column + reach * scale < 0 or column - reach * scale > self.canvas.mask.shape[1]

    def outside(self, pixels: Pixels) -> bool:
        """Whether positions are all left or all right of the picture."""
        columns = pixels[..., 0]
        return bool(columns.max() < 0 or columns.min() > self.canvas.mask.shape[1])

    def shadow(self, points: Points) -> Pixels | None:
        """The outline ``[N, 2]`` of the shadow on the ground of the hull of ``points`` ``[N, 3]``."""
        across, up, along = self.light.direction
        lean = np.minimum(points[:, 1], 30.0) / max(up, 0.1)
        ground = points - lean[:, None] * (across, 0.0, along)
        if ground[:, 2].max() < self.camera.along + NEAREST:
            return None
        hull = cv2.convexHull(ground[:, [0, 2]].astype(np.float32))[:, 0]
        return self.camera.project(np.insert(hull.astype(np.float64), 1, 0.0, axis=1))


@dataclass(frozen=True)
class Figure:
    """A plane that faces the camera: metres right of and above its foot become pixels."""

    view: View
    column: float
    row: float
    scale: float  # pixels per metre
    distance: float

    def polygon(self, shape: Sequence[tuple[float, float]], color: Rgb, label: int | None) -> None:
        """Fill the polygon with these corners, in metres right and up."""
        self.view.canvas.polygon(self._pixels(shape), self._lit(color), label)

    def disc(
        self, right: float, up: float, radii: tuple[float, float], color: Rgb, label: int | None
    ) -> None:
        """Fill an ellipse; everything in metres."""
        centre = self.column + right * self.scale, self.row - up * self.scale
        axes = radii[0] * self.scale, radii[1] * self.scale
        self.view.canvas.ellipse(centre, axes, self._lit(color), label)

    def line(self, shape: Sequence[tuple[float, float]], width: float, color: Rgb, label: int | None) -> None:
        """Draw a line ``width`` metres wide, at least one pixel."""
        self.view.canvas.line(self._pixels(shape), width * self.scale, self._lit(color), label)

    def texture(
        self, shape: Sequence[tuple[float, float]], tile: Tile, repeats: float, strength: float, label: int
    ) -> None:
        """Make what has ``label`` around a shape lighter and darker; see :meth:`Canvas.texture`."""
        self.view.canvas.texture(self._pixels(shape), tile, repeats, strength, label)

    def glow(self, right: float, up: float, radius: float, color: Rgb) -> None:
        """A light: it keeps its colour whatever falls on it."""
        centre = self.column + right * self.scale, self.row - up * self.scale
        self.view.canvas.ellipse(centre, (radius * self.scale, radius * self.scale), color, None)

    def _pixels(self, shape: Sequence[tuple[float, float]]) -> Pixels:
        return np.array(shape, np.float64) * (self.scale, -self.scale) + (self.column, self.row)

    def _lit(self, color: Rgb) -> Rgb:
        return self.view.light.on(color, _ROUND, self.distance)


def block(
    low: tuple[float, float, float, float, float], high: tuple[float, float, float, float, float]
) -> list[Points]:
    """The faces near, far, left, right and top of a block that may taper.

    ``low`` and ``high`` give its lower and upper rectangle: height, left, right, near end, far end.
    """
    (y0, l0, r0, n0, f0), (y1, l1, r1, n1, f1) = low, high
    near = [(l1, y1, n1), (r1, y1, n1), (r0, y0, n0), (l0, y0, n0)]
    far = [(r1, y1, f1), (l1, y1, f1), (l0, y0, f0), (r0, y0, f0)]
    left = [(l1, y1, f1), (l1, y1, n1), (l0, y0, n0), (l0, y0, f0)]
    right = [(r1, y1, n1), (r1, y1, f1), (r0, y0, f0), (r0, y0, n0)]
    top = [(l1, y1, f1), (r1, y1, f1), (r1, y1, n1), (l1, y1, n1)]
    return [np.array(face, np.float64) for face in (near, far, left, right, top)]
