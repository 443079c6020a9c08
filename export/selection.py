"""Which real images an export calibrates, compares and tests itself on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgeseg.bundle.manifest import Calibration
from edgeseg.errors import UsageError
from edgeseg.export.progress import Advance, ignore
from edgeseg.resize import Image, resize_image
from edgeseg.training.data.dataset import Dataset

T = TypeVar("T")


@dataclass(frozen=True)
class CalibrationSet:
    """Frames ``uint8 [N, H, W, 3]`` RGB at the model's size, and what the manifest says of them."""

    frames: Image
    described: Calibration


@dataclass(frozen=True)
class MeasuredOn:
    """The split that accuracy is measured on; ``fingerprint`` is that of all of it."""

    dataset: str
    split: str
    fingerprint: str


def chosen_split(dataset: Dataset, asked: str | None, recorded: str | None, usual: str) -> str:
    """The split that was asked for; else the one that the model was made with; else the usual one.

    Args:
        dataset: A recorded split counts only where this dataset has it.
        asked: What ``--split`` said.
        recorded: What the run's recipe or the bundle's manifest says.
        usual: ``train`` or ``val``.
    """
    if asked:
        return asked
    return recorded if recorded and dataset.splits.get(recorded) else usual


def spread(items: Sequence[T], count: int) -> list[T]:
    """``count`` items evenly over the whole sequence, or all where there are no more; order is kept.

    A dataset's neighbours are often neighbours in time: its first hundred images may be one street.
    """
    if count >= len(items):
        return list(items)
    return [items[int((k + 0.5) * len(items) / count)] for k in range(count)]


def calibration_set(
    dataset: Dataset, split: str, count: int, height: int, width: int, on_progress: Advance = ignore
) -> CalibrationSet:
    """``count`` images of a split, which should be the one trained on.

    Raises:
        DataError: The dataset has no such split, or an image cannot be read.
    """
    items = spread(dataset.items(split), count)
    frames = np.empty((len(items), height, width, 3), np.uint8)
    for index, item in enumerate(items):
        frames[index] = resize_image(dataset.read_image(item), height, width)
        on_progress(index + 1, len(items))
    described = Calibration(
        dataset=dataset.spec,
        split=split,
        samples=len(items),
        fingerprint=_fingerprint((item.name for item in items), frames),
    )
    return CalibrationSet(frames, described)


def refuse_overlap(dataset: Dataset, calibrated: tuple[str, int], measured: tuple[str, int]) -> None:
    """Refuse to measure int8 on images that it is calibrated on: they would flatter it.

    Args:
        dataset: Holds both splits.
        calibrated: Split and number of images that calibrate.
        measured: Split and number of samples that measure.

    Raises:
        UsageError: Both would take the same image.
        DataError: The dataset has no such split.
    """
    taken = [set(spread(dataset.items(split), count)) for split, count in (calibrated, measured)]
    shared = sorted(item.name for item in taken[0] & taken[1])
    if shared:
        raise UsageError(
            f"split {measured[0]!r} of {dataset.spec}",
            expected=f"images that int8 is not calibrated on; those are of the split {calibrated[0]!r}",
            found=f"{len(shared)} that are in both, such as {shared[0]}",
            next_step="Measure on another --split, or export with --precision fp16.",
        )


def _fingerprint(names: Iterable[str], frames: Image) -> str:
    """SHA-256 over the names and the very pixels that were seen."""
    digest = hashlib.sha256("\0".join(names).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()
