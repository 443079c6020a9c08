"""A picture and its mask, drawn together: every shape goes into both, so that they cannot drift apart."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.resize import Image
from edgeseg.training.data.scenes.camera import Pixels
from edgeseg.training.data.scenes.light import Rgb
from edgeseg.training.data.scenes.tiles import Tile

Fixed = npt.NDArray[np.int32]
_BITS = 4  # of sub-pixel precision in OpenCV's fixed-point coordinates
_ONE = 2**_BITS
_SMALLEST = 6  # pixels: a texture on less is not seen


class Canvas:
    """``image`` is ``uint8 [H, W, 3]`` RGB, ``mask`` ``uint8 [H, W]`` raw label ids.

    A ``label`` of ``None`` paints on what is there: a window on its wall, a marking on its road.
    """

    def __init__(self, height: int, width: int) -> None:
        self.image: Image = np.zeros((height, width, 3), np.uint8)
        self.mask: npt.NDArray[np.uint8] = np.zeros((height, width), np.uint8)

    def polygon(self, points: Pixels, color: Rgb, label: int | None) -> None:
        """Fill one polygon ``[N, 2]``."""
        self.fill([fixed(points)], color, label)

    def polygons(self, shapes: Pixels, color: Rgb, label: int | None) -> None:
        """Fill polygons ``[K, N, 2]`` that do not overlap, in one colour."""
        self.fill(list(fixed(shapes)), color, label)

    def fill(self, shapes: Sequence[Fixed], color: Rgb, label: int | None) -> None:
        """As :meth:`polygons`, for points that are in fixed point already."""
        cv2.fillPoly(self.image, shapes, color, cv2.LINE_AA, _BITS)
        if label is not None:
            cv2.fillPoly(self.mask, shapes, label, cv2.LINE_8, _BITS)

    def ellipse(
        self, centre: tuple[float, float], axes: tuple[float, float], color: Rgb, label: int | None
    ) -> None:
        """Fill an upright ellipse; ``axes`` are its half width and half height in pixels."""
        place = round(centre[0] * _ONE), round(centre[1] * _ONE)
        size = max(1, round(axes[0] * _ONE)), max(1, round(axes[1] * _ONE))
        cv2.ellipse(self.image, place, size, 0, 0, 360, color, cv2.FILLED, cv2.LINE_AA, _BITS)
        if label is not None:
            cv2.ellipse(self.mask, place, size, 0, 0, 360, label, cv2.FILLED, cv2.LINE_8, _BITS)

    def line(self, points: Pixels, width: float, color: Rgb, label: int | None) -> None:
        """Draw a line of a width in pixels, at least one, along ``[N, 2]``."""
        line, thick = [fixed(points)], max(1, round(width))
        cv2.polylines(self.image, line, False, color, thick, cv2.LINE_AA, _BITS)
        if label is not None:
            cv2.polylines(self.mask, line, False, label, thick, cv2.LINE_8, _BITS)

    def texture(self, shape: Pixels, tile: Tile, repeats: float, strength: float, label: int) -> None:
        """Make what has ``label`` in the box around ``shape`` lighter and darker by ``tile``.

        The tile is laid ``repeats`` times over the box's height and hangs on its corner, so that it moves and
        grows with the box from frame to frame.
        """
        (left, top), (right, bottom) = shape.min(axis=0).tolist(), shape.max(axis=0).tolist()
        x0, y0 = max(0, int(left)), max(0, int(top))
        x1, y1 = min(self.mask.shape[1], int(right) + 2), min(self.mask.shape[0], int(bottom) + 2)
        if x1 - x0 < _SMALLEST or y1 - y0 < _SMALLEST:
            return
        scale = len(tile) * repeats / max(bottom - top, 1.0)
        matrix = np.array([[scale, 0, (x0 - left) * scale], [0, scale, (y0 - top) * scale]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        gain = cv2.warpAffine(tile, matrix, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_WRAP)
        gain = 1 + strength * gain * (self.mask[y0:y1, x0:x1] == label)
        part = self.image[y0:y1, x0:x1]
        cv2.multiply(part, cv2.merge([gain, gain, gain]), dst=part, dtype=cv2.CV_8U)


def fixed(points: Pixels) -> Fixed:
    """Picture positions as OpenCV's fixed-point integers."""
    return np.rint(points * _ONE).astype(np.int32)
