"""What part of a picture is seen: mirrored, zoomed, rotated, moved and cropped by one warp.

Each further warp would cost time and sharpness; where nothing is zoomed or rotated there is none at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.labels import Mask
from edgeseg.resize import Image


@dataclass(frozen=True)
class View:
    """A window on a picture.

    Attributes:
        height: Of the window, in pixels; ``width`` likewise.
        width: See ``height``.
        center_y: Where the window's centre lies in the picture, in its pixels; pixel 0's centre is at 0.
        center_x: See ``center_y``.
        zoom: Size of things in the window over their size in the picture.
        degrees: Rotation around the window's centre; above 0 turns what is seen counter-clockwise.
        mirrored: Whether left and right are exchanged in the end.
    """

    height: int
    width: int
    center_y: float
    center_x: float
    zoom: float = 1.0
    degrees: float = 0.0
    mirrored: bool = False

    def of(self, image: Image, mask: Mask, ignore_index: int) -> tuple[Image, Mask]:
        """What is seen of an image ``uint8 [H, W, 3]`` and its mask ``uint8 [H, W]``.

        The image is interpolated linearly, the mask by the nearest neighbour. Beside the picture the image is
        black and the mask ``ignore_index``. Pixels are only copied, or not even that, where the window lies
        straight on the picture's own pixels.
        """
        part = self._part(*mask.shape)
        if part is not None:
            return image[part], mask[part]
        return (
            self._warp(image, cv2.INTER_LINEAR, 0),
            self._warp(mask, cv2.INTER_NEAREST, ignore_index),
        )

    def _part(self, height: int, width: int) -> tuple[slice, slice] | None:
        """The window as slices of a picture of this size; ``None`` where it is not on whole pixels of it."""
        top, left = self.center_y - (self.height - 1) / 2, self.center_x - (self.width - 1) / 2
        straight = self.zoom == 1 and self.degrees == 0 and top.is_integer() and left.is_integer()
        if not straight or not (0 <= top <= height - self.height and 0 <= left <= width - self.width):
            return None
        rows, first, last = slice(int(top), int(top) + self.height), int(left), int(left) + self.width
        if not self.mirrored:
            return rows, slice(first, last)
        return rows, slice(last - 1, first - 1 if first else None, -1)

    def _warp(self, picture: npt.NDArray[np.uint8], interpolation: int, border: int) -> npt.NDArray[np.uint8]:
        return cv2.warpAffine(
            picture,
            self.matrix(),
            (self.width, self.height),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(border,) * 3,
        )

    def matrix(self) -> npt.NDArray[np.float64]:
        """``float64 [2, 3]`` that takes (x, y, 1) of the window to its (x, y) in the picture."""
        cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        turn = np.array([[cos, -sin], [sin, cos]]) / self.zoom
        turn[:, 0] *= -1 if self.mirrored else 1
        own_center = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        origin = np.array([self.center_x, self.center_y]) - turn @ own_center
        return np.column_stack([turn, origin])
