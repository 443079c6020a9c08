"""Corruptions of pictures in five severities, to see how a model bears what it was not trained on.

Fifteen in the manner of ImageNet-C and four faults of a vehicle's camera. They take a picture of any size;
the same seed, picture, name and severity give the same result wherever NumPy and OpenCV are the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeseg.benchmarks.corruptions import blur, camera, digital, frost, noise, weather
from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.labels import Mask
from edgeseg.resize import Image

SEVERITIES = (1, 2, 3, 4, 5)

Apply = Callable[[Image, int, np.random.Generator], Image]
"""An image ``uint8 [H, W, 3]`` RGB, a severity of 1 to 5 and a generator to an image like it."""
Warp = Callable[[Mask, int, np.random.Generator], Mask]


@dataclass(frozen=True)
class Corruption:
    """One way to spoil a picture.

    Args:
        apply: Makes the spoilt picture, a new array.
        group: ``noise``, ``blur``, ``weather``, ``digital`` or ``camera``.
        shows: What is to be seen, for people.
        renewed: Whether each frame of a video has its own: noise does, dirt on the lens stays.
        warp: Where things are displaced, what moves the class map with them.
    """

    apply: Apply
    group: str
    shows: str
    renewed: bool = False
    warp: Warp | None = None


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(noise.gaussian_noise, "noise", "thermal noise in low light", renewed=True),
    "shot_noise": Corruption(noise.shot_noise, "noise", "too few photons", renewed=True),
    "impulse_noise": Corruption(
        noise.impulse_noise, "noise", "flipped bits, dead and hot pixels", renewed=True
    ),
    "defocus_blur": Corruption(blur.defocus_blur, "blur", "a lens out of focus"),
    "glass_blur": Corruption(blur.glass_blur, "blur", "frosted glass before the lens"),
    "motion_blur": Corruption(blur.motion_blur, "blur", "a shaken camera"),
    "zoom_blur": Corruption(blur.zoom_blur, "blur", "driving on during a long exposure"),
    "snow": Corruption(weather.snow, "weather", "falling flakes and a grey veil", renewed=True),
    "frost": Corruption(frost.frost, "weather", "ice on the windscreen, drawn"),
    "fog": Corruption(weather.fog, "weather", "denser with distance, as of a flat road"),
    "brightness": Corruption(weather.brightness, "weather", "too long an exposure"),
    "contrast": Corruption(digital.contrast, "digital", "little contrast"),
    "elastic": Corruption(
        digital.elastic, "digital", "waves; the labels move too", warp=digital.elastic_mask
    ),
    "pixelate": Corruption(digital.pixelate, "digital", "few and large pixels"),
    "jpeg": Corruption(digital.jpeg, "digital", "strong compression"),
    "lens_dirt": Corruption(camera.lens_dirt, "camera", "dried mud on the lens"),
    "glare": Corruption(camera.glare, "camera", "a low sun in the lens"),
    "rolling_bars": Corruption(
        camera.rolling_bars, "camera", "flickering lamps, a rolling shutter", renewed=True
    ),
    "dropped_rows": Corruption(camera.dropped_rows, "camera", "rows lost, black or repeated", renewed=True),
}
"""Every corruption by its name. A new one is a function and a line here."""


def corrupt(image: Image, name: str, severity: int, *, seed: int = 0, index: int = 0) -> Image:
    """Spoil an image.

    Args:
        image: ``uint8 [H, W, 3]`` RGB; it is not changed.
        name: A key of ``CORRUPTIONS``.
        severity: 1 to 5.
        seed: Of the whole run.
        index: The image's place in its split: each image is spoilt in its own way.

    Returns:
        ``uint8 [H, W, 3]`` RGB.

    Raises:
        UnknownNameError: There is no such corruption.
        UsageError: The severity is not 1 to 5.
    """
    return corruption(name).apply(image, _checked(severity), _generator(seed, index, name))


def corrupt_mask(mask: Mask, name: str, severity: int, *, seed: int = 0, index: int = 0) -> Mask:
    """The class map ``uint8 [H, W]`` of what :func:`corrupt` makes: itself, where nothing is displaced."""
    warp = corruption(name).warp
    return mask if warp is None else warp(mask, _checked(severity), _generator(seed, index, name))


def corruption(name: str) -> Corruption:
    """The corruption of that name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in CORRUPTIONS:
        raise UnknownNameError(
            f"corruption {name!r}",
            expected=f"one of {', '.join(CORRUPTIONS)}",
            found="no such name",
            next_step="Correct it, or leave --corruptions out for all of them.",
        )
    return CORRUPTIONS[name]


def _checked(severity: int) -> int:
    if severity not in SEVERITIES:
        raise UsageError(
            "severity", expected="a whole number from 1 to 5", found=str(severity), next_step="Correct it."
        )
    return severity


def _generator(seed: int, index: int, name: str) -> np.random.Generator:
    # Without the severity: the same flakes fall and the same spots lie there, only more of them, so that two
    # severities differ by their strength and by nothing else. Python's hash of a name differs by process.
    return np.random.default_rng([seed, index, zlib.crc32(name.encode())])
