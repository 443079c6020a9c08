"""Which real images an export calibrates, compares and tests itself on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgeseg.bundle.manifest import Calibration
from edgeseg.errors import UsageError
from edgeseg.export.progress import Advance, ignore
from edgeseg.labels import Mask
from edgeseg.resize import Image, resize_image
from edgeseg.training.data.dataset import Dataset, Item

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


def calibration_items(dataset: Dataset, split: str, count: int) -> list[Item]:
    """``count`` items of a split, which should be the one trained on, such that every class is in one.

    They are spread over the split. For a class that none of them holds, one whose classes are in others too
    makes room for an image that does, as far as there is any.

    Raises:
        DataError: The dataset has no such split, or a mask cannot be read.
    """
    items = dataset.items(split)
    held = {item: _classes(dataset.read_mask(item)) for item in spread(items, count)}
    missing = {c.id for c in dataset.labels.classes}.difference(*held.values())
    for item in items:
        if not missing:
            break
        if item not in held and (found := missing & _classes(dataset.read_mask(item))):
            replaceable = _last_without_loss(held)
            if replaceable is None:
                break
            del held[replaceable]
            held[item] = found
            missing -= found
    return list(held)


def _last_without_loss(held: Mapping[Item, set[int]]) -> Item | None:
    """The last item whose classes all are in others too."""
    counts = Counter(id_ for classes in held.values() for id_ in classes)
    return next((i for i in reversed(held) if all(counts[id_] > 1 for id_ in held[i])), None)


def calibration_set(
    dataset: Dataset,
    split: str,
    items: Sequence[Item],
    height: int,
    width: int,
    on_progress: Advance = ignore,
) -> CalibrationSet:
    """The images of these items of a split, at the model's size.

    Raises:
        DataError: An image or mask cannot be read.
    """
    frames = np.empty((len(items), height, width, 3), np.uint8)
    present: set[int] = set()
    for index, item in enumerate(items):
        sample = dataset.read(item)
        present |= _classes(sample.mask)
        frames[index] = resize_image(sample.image, height, width)
        on_progress(index + 1, len(items))
    described = Calibration(
        dataset=dataset.spec,
        split=split,
        samples=len(items),
        fingerprint=_fingerprint((item.name for item in items), frames),
        absent_classes=tuple(c.name for c in dataset.labels.classes if c.id not in present),
    )
    return CalibrationSet(frames, described)


def _classes(mask: Mask) -> set[int]:
    return set(np.unique(mask).tolist())


def refuse_overlap(
    dataset: Dataset, calibrated: tuple[str, Sequence[Item]], measured: tuple[str, int]
) -> None:
    """Refuse to measure int8 on images that it is calibrated on: they would flatter it.

    Args:
        dataset: Holds both splits.
        calibrated: Split and items that calibrate.
        measured: Split and number of samples that measure.

    Raises:
        UsageError: Both would take the same image.
        DataError: The dataset has no such split.
    """
    shared = sorted(
        item.name for item in set(calibrated[1]) & set(spread(dataset.items(measured[0]), measured[1]))
    )
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
