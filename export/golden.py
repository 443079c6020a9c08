"""Golden frames: a few real inputs with the masks an artifact gave of them when it was exported.

The vehicle runs them before it trusts a bundle, so they are the artifact's own masks and not Keras's: they
tell a damaged or differently computing runtime, not the cost of quantisation.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from edgeseg.bundle.manifest import Precision
from edgeseg.export.selection import spread
from edgeseg.labels import Mask
from edgeseg.resize import Image, resize_image
from edgeseg.training.data.dataset import Dataset

GOLDEN_FRAMES = 4

MIN_AGREEMENT: dict[Precision, float] = {"fp32": 0.995, "fp16": 0.98, "bf16": 0.95, "int8": 0.95}
"""Share of equal pixels that a golden frame needs. Kernels of other CPUs and GPUs round differently, and the
more so the coarser the numbers; a wrong channel order, scale or file gives far less than any of these."""


def golden_frames(dataset: Dataset, split: str, height: int, width: int) -> Image:
    """Frames ``uint8 [K, H, W, 3]`` RGB at the model's size, spread over a split.

    Raises:
        DataError: An image cannot be read.
    """
    items = spread(dataset.items(split), GOLDEN_FRAMES)
    return np.stack([resize_image(dataset.read_image(item), height, width) for item in items])


def golden_archive(frames: Image, masks: Mapping[Precision, Mask]) -> bytes:
    """``golden.npz``: ``frames``, and for each precision ``masks_PRECISION`` ``uint8 [K, H, W]``."""
    archive = io.BytesIO()
    named = {f"masks_{precision}": some for precision, some in masks.items()}
    np.savez_compressed(archive, frames=frames, **named)
    return archive.getvalue()
