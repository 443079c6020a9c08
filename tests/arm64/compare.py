"""Two folders of class-id PNGs, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np


@dataclass(frozen=True)
class Agreement:
    """How far masks agree, and what is in those that they are compared with.

    Attributes:
        masks: Pairs of masks.
        pixels: Pixels of all of them.
        differing: Pixels whose class is another.
        classes: Classes that fill at least 1 % of the reference.
    """

    masks: int
    pixels: int
    differing: int
    classes: int

    @property
    def share(self) -> float:
        return 1 - self.differing / self.pixels

    def __str__(self) -> str:
        return (
            f"{self.share:.3%} of {self.pixels} pixels equal, {self.differing} not "
            f"({self.masks} masks of {self.classes} classes)"
        )


def compare(found: Path, reference: Path) -> Agreement:
    """Compare the masks of two folders; overlays are left out.

    Raises:
        ValueError: The folders hold other names, no masks, or masks of another size.
    """
    names = _masks(reference)
    if not names or names != _masks(found):
        raise ValueError(f"{found}: expected the masks {names}, found {_masks(found)}")
    differing, counts = 0, np.zeros(256, np.int64)
    for name in names:
        ours, theirs = (cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for folder in (found, reference))
        if ours is None or theirs is None or ours.shape != theirs.shape:
            raise ValueError(f"{found / name}: expected a mask of the size of {reference / name}")
        differing += int(np.count_nonzero(ours != theirs))
        counts += np.bincount(theirs.ravel(), minlength=256)
    pixels = int(counts.sum())
    return Agreement(len(names), pixels, differing, int(np.count_nonzero(counts >= pixels / 100)))


def _masks(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))
