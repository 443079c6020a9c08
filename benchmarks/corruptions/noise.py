"""Noise of the sensor. It is per pixel in every camera, so it does not grow with the picture.

The strengths are those of the code published with Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", ICLR 2019.
"""

from __future__ import annotations

import numpy as np

from edgeseg.benchmarks.corruptions.pictures import Random, to_pixels
from edgeseg.resize import Image

_GAUSSIAN_DEVIATION = (0.08, 0.12, 0.18, 0.26, 0.38)
_PHOTONS_OF_WHITE = (60, 25, 12, 5, 3)
_IMPULSE_SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)


def gaussian_noise(image: Image, severity: int, random: Random) -> Image:
    """Thermal noise in low light: a normal deviate on every value."""
    noise = random.standard_normal(image.shape, np.float32)
    return to_pixels(image + 255 * _GAUSSIAN_DEVIATION[severity - 1] * noise)


def shot_noise(image: Image, severity: int, random: Random) -> Image:
    """Too little light to average over: every value is a Poisson count of photons."""
    gain = _PHOTONS_OF_WHITE[severity - 1] / 255
    return to_pixels(random.poisson(image * gain) / np.float32(gain))


def impulse_noise(image: Image, severity: int, random: Random) -> Image:
    """Bits flipped in transport, dead and hot pixels: values at either end, as often black as white."""
    share = _IMPULSE_SHARE[severity - 1]
    drawn = random.random(image.shape, np.float32)
    noisy = image.copy()
    noisy[drawn < share / 2] = 0
    noisy[drawn > 1 - share / 2] = 255
    return noisy
