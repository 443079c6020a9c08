"""How a frame is brought to a model's input size, and a class map back: one rule for training and car.

A model sees in the car what it saw in training only if both resize alike, so the training cache, the
benchmarks and the camera loop all call these two functions.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


def resize_image(image: Image, height: int, width: int) -> Image:
    """An image ``uint8 [H, W, 3]`` stretched to ``[height, width, 3]``.

    Shrinking averages over areas, so that thin things do not alias away; enlarging is bilinear.
    """
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def resize_mask(mask: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """A class map ``[H, W]`` at another size by its nearest pixels: no id is ever invented."""
    if mask.shape[:2] == (height, width):
        return mask
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), mask.dtype)
