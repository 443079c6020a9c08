"""What an epoch's augmentation will be, drawn beforehand: a few numbers for each image.

The host draws them and the device applies them (:mod:`edgeseg.training.device_augment`), so they are the same
on every backend, and after a resume. They are distributed as those of
:class:`edgeseg.training.data.augment.Augmenter`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeseg.training.data.augment import AugmentConfig, draw_view

Numbers = npt.NDArray[np.float32]

_DRAWS = 3


class Draws(NamedTuple):
    """For N images, ``float32``; the value that changes nothing is in brackets.

    Attributes:
        matrix: ``[N, 6]``, rows of the matrix that takes (x, y, 1) of the window to (x, y) in the picture.
        contrast: ``[N]``, factor of the pixels [1].
        brightness: ``[N]``, added to pixels of 0 to 255 [0].
        gamma: ``[N]``, exponent of pixels of 0 to 1 [1].
        hue: ``[N]``, added, as a share of the colour circle [0].
        saturation: ``[N]``, added, 0 to 1 [0].
        blur: ``[N, 2]``, weights of the pixels at a distance of 1 and of 2 [0].
        noise: ``[N]``, standard deviation for pixels of 0 to 255 [0].
        place: ``[N]``, where in the store of noise it begins, a whole number.
    """

    matrix: Numbers
    contrast: Numbers
    brightness: Numbers
    gamma: Numbers
    hue: Numbers
    saturation: Numbers
    blur: Numbers
    noise: Numbers
    place: Numbers

    def of(self, numbers: npt.NDArray[np.int64]) -> Numbers:
        """Those of some of the images, side by side in this order: ``float32 [B, 15]``."""
        return np.column_stack([part[numbers] for part in self])


COLUMNS = (6, 1, 1, 1, 1, 1, 2, 1, 1)
"""Width of each part of :class:`Draws` in :meth:`Draws.of`."""


@lru_cache(maxsize=2)
def draw_epoch(
    config: AugmentConfig,
    count: int,
    size: tuple[int, int],
    crop: tuple[int, int] | None,
    seed: int,
    epoch: int,
    noise_store: int,
) -> Draws:
    """The draws of all images of a split, by their numbers in it.

    Args:
        config: What is varied, and how much.
        count: Images N.
        size: Their height and width.
        crop: Height and width of the windows that are trained on; ``None`` for the images' own.
        seed: With ``epoch``, decides.
        epoch: See ``seed``.
        noise_store: Numbers in the store of noise.
    """
    rng = np.random.default_rng((seed, _DRAWS, epoch))
    low, high = config.gamma
    colored, toned, tinted = (rng.random((3, count)) < config.color).astype(np.float32)
    return Draws(
        matrix=_float32([draw_view(config, *size, crop, rng).matrix().ravel() for _ in range(count)]),
        contrast=_float32(1 + colored * rng.uniform(-config.contrast, config.contrast, count)),
        brightness=_float32(255 * colored * rng.uniform(-config.brightness, config.brightness, count)),
        gamma=_float32(1 + toned * (rng.uniform(low, high, count) / 100 - 1)),
        hue=_float32(tinted * rng.uniform(-config.hue, config.hue, count) / 180),
        saturation=_float32(tinted * rng.uniform(-config.saturation, config.saturation, count) / 255),
        blur=_blur_weights(config, count, rng),
        noise=_float32(_chosen(config.noise, count, rng) * 255 * rng.uniform(*config.noise_sigma, count)),
        place=_float32(rng.integers(0, noise_store, count)),
    )


def _blur_weights(config: AugmentConfig, count: int, rng: np.random.Generator) -> Numbers:
    """Gaussian weights at distances 1 and 2 of kernels of 3 or 5 pixels."""
    sigma = rng.uniform(*config.blur_sigma, count)
    near, far = np.exp(-0.5 / sigma**2), np.exp(-2 / sigma**2) * (rng.random(count) < 0.5)
    weights = np.column_stack([near, far]) / (1 + 2 * (near + far))[:, None]
    return _float32(_chosen(config.blur, count, rng)[:, None] * weights)


def _chosen(share: float, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return (rng.random(count) < share).astype(np.float64)


def _float32(values: npt.ArrayLike) -> Numbers:
    return np.asarray(values, np.float32)
