"""How far made images are from real ones, in a few statistics of colour and edges.

It is computed as the Fréchet inception distance is (Heusel et al., 2017), but of statistics that need no
network: its numbers can be compared with each other, on one dataset, and never with a published FID. It says
whether colours, contrast and sharpness are like those of real images, and nothing of what they show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.training.generative.game import Pixels

_BANDS = 3
_SCALES = (1, 2)
FEATURES = _BANDS * (6 + 2 * len(_SCALES))
"""Statistics of one image; fewer images than twice as many give no covariance worth having."""

Features = npt.NDArray[np.float64]


def image_distance(made: Pixels, real: Pixels) -> dict[str, float | None]:
    """Fréchet distance of made from real images, and of every second real one from the others beside it.

    Args:
        made: ``uint8 [N, H, W, 3]`` RGB.
        real: ``uint8 [M, H, W, 3]`` RGB, in the split's order.

    Returns:
        ``generated`` and ``real_halves``; ``None`` where there are too few images for it.
    """
    truth = image_statistics(real)
    scale = truth.std(axis=0) + 1e-9
    truth, ours = truth / scale, image_statistics(made) / scale
    return {
        "generated": frechet_distance(ours, truth),
        "real_halves": frechet_distance(truth[::2], truth[1::2]),
    }


def image_statistics(images: Pixels) -> Features:
    """Of each image ``[N, FEATURES]``, in three bands from top to bottom: mean and deviation of each channel,
    and the mean step of brightness to the right and down, in the image and in one of half its size."""
    return np.array([_statistics(np.asarray(image, np.float64) / 255) for image in images])


def frechet_distance(first: Features, second: Features) -> float | None:
    """Squared distance of two normal distributions with the samples' means and covariances, ``[N, D]`` each.

    ``None`` where one has fewer than 2 D samples.
    """
    if min(len(first), len(second)) < 2 * first.shape[1]:
        return None
    means = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    a, b = (np.cov(features, rowvar=False) for features in (first, second))
    root = _root(a)
    return float(means + np.trace(a + b - 2 * _root(root @ b @ root)))


def _statistics(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    parts: list[Any] = []
    for band in np.array_split(image, _BANDS):
        parts += [band.mean(axis=(0, 1)), band.std(axis=(0, 1))]
        light = band.mean(axis=-1)
        for scale in _SCALES:
            coarse = _reduced(light, scale)
            parts.append([np.abs(np.diff(coarse, axis=axis)).mean() for axis in (0, 1)])
    return np.concatenate(parts)


def _reduced(light: npt.NDArray[np.float64], scale: int) -> npt.NDArray[np.float64]:
    height, width = (side // scale * scale for side in light.shape)
    blocks = light[:height, :width].reshape(height // scale, scale, width // scale, scale)
    return blocks.mean(axis=(1, 3))


def _root(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
