"""Which real images an export calibrates, compares and tests itself on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgeseg.bundle.manifest import Calibration
from edgeseg.export.progress import Advance, ignore
from edgeseg.resize import Image, resize_image
from edgeseg.training.data.dataset import Dataset

T = TypeVar("T")

CALIBRATION_SPLIT = "train"


@dataclass(frozen=True)
class CalibrationSet:
    """Frames ``uint8 [N, H, W, 3]`` RGB at the model's size, and what the manifest says of them."""

    frames: Image
    described: Calibration


def spread(items: Sequence[T], count: int) -> list[T]:
    """``count`` items evenly over the whole sequence, or all where there are no more; order is kept.

    A dataset's neighbours are often neighbours in time: its first hundred images may be one street.
    """
    if count >= len(items):
        return list(items)
    return [items[int((k + 0.5) * len(items) / count)] for k in range(count)]


def calibration_set(
    dataset: Dataset, count: int, height: int, width: int, on_progress: Advance = ignore
) -> CalibrationSet:
    """``count`` images of the training split, so that what is tested on was not calibrated on.

    Raises:
        DataError: The dataset has no training split, or an image cannot be read.
    """
    items = spread(dataset.items(CALIBRATION_SPLIT), count)
    frames = np.empty((len(items), height, width, 3), np.uint8)
    for index, item in enumerate(items):
        frames[index] = resize_image(dataset.read_image(item), height, width)
        on_progress(index + 1, len(items))
    described = Calibration(
        dataset=dataset.spec,
        split=CALIBRATION_SPLIT,
        samples=len(items),
        fingerprint=_fingerprint((item.name for item in items), frames),
    )
    return CalibrationSet(frames, described)


def _fingerprint(names: Iterable[str], frames: Image) -> str:
    """SHA-256 over the names and the very pixels that were seen."""
    digest = hashlib.sha256("\0".join(names).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()
