"""What processing does to a picture: little contrast, large pixels, compression, and waves.

Strengths of Hendrycks and Dietterich (ICLR 2019), but for the waves: theirs are of two kinds that do not
grow with the severity.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.corruptions.pictures import (
    REFERENCE_HEIGHT,
    Floats,
    Random,
    length,
    to_pixels,
)
from edgeseg.labels import Mask
from edgeseg.resize import Image

_CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
_SIZE = (0.6, 0.5, 0.4, 0.3, 0.25)
_QUALITY = (25, 18, 15, 10, 7)
_WAVE_DEVIATION = (0.7, 1.2, 1.8, 2.6, 3.6)
_WAVE_SMOOTHING = 5.0


def contrast(image: Image, severity: int, _random: Random) -> Image:
    """Every channel closer to its mean over the picture."""
    mean = image.mean(axis=(0, 1), dtype=np.float64)
    levels = np.arange(256)[:, None]
    table = to_pixels(mean + _CONTRAST[severity - 1] * (levels - mean))
    return np.asarray(cv2.LUT(image, table.reshape(256, 1, 3)), np.uint8)


def pixelate(image: Image, severity: int, _random: Random) -> Image:
    """A picture from far fewer pixels, enlarged without smoothing."""
    height, width = image.shape[:2]
    rows = max(1, round(_SIZE[severity - 1] * min(height, REFERENCE_HEIGHT)))
    columns = max(1, round(rows * width / height))
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def jpeg(image: Image, severity: int, _random: Random) -> Image:
    """JPEG of low quality. Its blocks are 8 pixels in every picture, as a camera's encoder makes them."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY[severity - 1]])[1]
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def elastic(image: Image, severity: int, random: Random) -> Image:
    """Waves, as of hot air or a bad lens. :func:`elastic_mask` moves the labels likewise."""
    x, y = _waves(image, severity, random)
    seen = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(seen, np.uint8)


def elastic_mask(mask: Mask, severity: int, random: Random) -> Mask:
    """The class map ``uint8 [H, W]`` of what :func:`elastic` makes, from a generator of the same state."""
    x, y = _waves(mask, severity, random)
    return np.asarray(cv2.remap(mask, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _waves(picture: npt.NDArray[np.uint8], severity: int, random: Random) -> tuple[Floats, Floats]:
    """Where each pixel's colour comes from: columns and rows, ``float32 [H, W]``."""
    height, width = picture.shape[:2]
    size = (REFERENCE_HEIGHT // 2, max(1, round(REFERENCE_HEIGHT / 2 * width / height)))
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    moved = []
    for _ in range(2):
        # Waves are smooth: half the rows are enough to draw them in.
        field = cv2.GaussianBlur(random.standard_normal(size, np.float32), (0, 0), _WAVE_SMOOTHING / 2)
        strength = length(picture, _WAVE_DEVIATION[severity - 1]) / max(float(field.std()), 1e-6)
        field = strength * np.asarray(field, np.float32)
        moved.append(cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC))
    return moved[0] + x, moved[1] + y
