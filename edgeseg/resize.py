"""How a frame is brought to a model's input size, and a class map back: one rule for training and car.

A model sees in the car what it saw in training only if both resize alike, so the training cache, the
benchmarks and the camera loop all call these two functions.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


def resize_image(image: Image, height: int, width: int, *, out: Image | None = None) -> Image:
    """An image ``uint8 [H, W, 3]`` stretched to ``[height, width, 3]``; one of that size is given as it is.

    Shrinking averages over areas, so that thin things do not alias away; enlarging is bilinear. What is
    made anew is written to ``out`` where that is given.
    """
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    if shrinks and _pays_off(image, height, width):
        return _shrink_by_bands(image, height, width, out)
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), dst=out, interpolation=method), np.uint8)


def resize_mask(
    mask: npt.NDArray[Any], height: int, width: int, *, out: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """A class map ``[H, W]`` at another size by its nearest pixels: no id is ever invented.

    It is written to ``out`` where that is given, ``[height, width]`` of the mask's dtype.
    """
    if mask.shape[:2] == (height, width):
        if out is None:
            return mask
        np.copyto(out, mask)
        return out
    resized = cv2.resize(mask, (width, height), dst=out, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, mask.dtype)


# Where the ratio is no whole number OpenCV averages areas pixel by pixel: 1280x720 to 512x256 takes 4 ms on
# one core. Averaging whole rows first, all those at once that lie alike, gives the same pixels (rarely one
# level off, where rounding falls the other way) in 1.7 ms.
_MOST_PHASES = 64
_FEWEST_PIXELS = 1 << 18
_scratch = threading.local()


def _pays_off(image: Image, height: int, width: int) -> bool:
    """Few kinds of rows, many pixels, and not the ratio of whole numbers that OpenCV is fast at itself."""
    rows, columns = image.shape[:2]
    whole = rows % height == 0 and columns % width == 0
    phases = height // math.gcd(rows, height)
    return not whole and height < rows and phases <= _MOST_PHASES and rows * columns >= _FEWEST_PIXELS


def _shrink_by_bands(image: Image, height: int, width: int, out: Image | None) -> Image:
    rows, columns = image.shape[:2]
    lines = image.reshape(rows, -1)
    bands, small = _buffers(height, columns, width)
    step, taps = _row_taps(rows, height)
    for phase, (first, *others) in enumerate(taps):
        # Every so-many-th row of the result, from every so-many-th row of the picture.
        band = bands.reshape(height, -1)[phase :: len(taps)]
        np.copyto(band, lines[first[0] :: step])
        for row, share in others:
            cv2.accumulateWeighted(lines[row::step], band, share)
    cv2.resize(bands, (width, height), dst=small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(small, dst=out), np.uint8)


@lru_cache(maxsize=16)
def _row_taps(rows: int, height: int) -> tuple[int, tuple[tuple[tuple[int, float], ...], ...]]:
    """The period of the pattern in rows, and for each row of the result in it: the rows that it covers, each
    with its share of what they and those before it cover."""
    divisor = math.gcd(rows, height)
    step, phases = rows // divisor, height // divisor
    taps = []
    for phase in range(phases):
        # In units of a phases-th of a row, so that all is in whole numbers.
        start, end, covered, found = phase * step, (phase + 1) * step, 0, []
        for row in range(start // phases, -(-end // phases)):
            part = min(end, (row + 1) * phases) - max(start, row * phases)
            covered += part
            found.append((row, part / covered))
        taps.append(tuple(found))
    return step, tuple(taps)


def _buffers(height: int, columns: int, width: int) -> tuple[npt.NDArray[np.float32], ...]:
    """Memory for one thread, made anew only for another size: the camera loop allocates nothing per frame."""
    if getattr(_scratch, "size", None) != (height, columns, width):
        _scratch.size = height, columns, width
        _scratch.arrays = (
            np.empty((height, columns, 3), np.float32),
            np.empty((height, width, 3), np.float32),
        )
    arrays: tuple[npt.NDArray[np.float32], ...] = _scratch.arrays
    return arrays
