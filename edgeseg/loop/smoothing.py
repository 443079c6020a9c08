"""Masks that flicker less: a pixel's class changes only after it was the same in several masks in a row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.labels import Mask

Pixels = npt.NDArray[np.bool_]
_MOST_FRAMES = 250


def flicker(previous: Mask, current: Mask, still: Pixels | None = None) -> float:
    """The share of pixels, 0 to 1, that have another class in the second of two masks.

    Args:
        previous, current: Class ids ``uint8 [h, w]``.
        still: Where nothing moved between them, ``bool [h, w]``; only these pixels count. By default all.
    """
    changed = previous != current
    if still is None:
        return float(changed.mean())
    pixels = int(np.count_nonzero(still))
    return int(np.count_nonzero(changed & still)) / pixels if pixels else 0.0


class Smoother:
    """Holds each pixel's class until another one has won ``frames`` masks in a row.

    Of the votes that hold a class against noise this is the cheapest: a count for each pixel, where k of the
    last N masks would need a history. A change that is real is shown with its ``frames``-th mask: exactly
    ``frames - 1`` frames late. A pixel that goes back and forth faster than that keeps its class. Memory is
    allocated for the first mask of each size, and not again.

    Args:
        num_classes: Ids from this on are no class; they never displace one.
        frames: Masks in a row that a new class must win, 1 to 250; 1 changes nothing.

    Raises:
        UsageError: A number out of its range.
    """

    def __init__(self, num_classes: int, frames: int) -> None:
        _check("num_classes", num_classes, 256)
        _check("frames", frames, _MOST_FRAMES)
        self._num_classes = num_classes
        self._frames = frames
        self._epoch: int | None = None
        self._resize((0, 0))

    def apply(self, mask: Mask, epoch: int = 1) -> None:
        """Replace a mask by what is to be shown.

        Args:
            mask: Class ids ``uint8 [h, w]``, of the model's size, where it costs least; changed in place.
            epoch: The camera's. The first mask of a new epoch, or of a new size, is shown as it is.
        """
        if self._frames == 1:
            return
        if mask.shape != self._shown.shape or epoch != self._epoch:
            self._restart(mask, epoch)
            return
        differs, same, run = self._differs, self._same, self._run
        np.equal(mask, self._last, out=same)
        np.copyto(self._last, mask)
        np.not_equal(mask, self._shown, out=differs)
        # A count of the masks in a row that were of one class which is not shown: (run × same + 1) × differs.
        np.multiply(run, same, out=run)
        np.add(run, 1, out=run)
        np.multiply(run, differs, out=run)
        np.greater_equal(run, self._frames, out=differs)
        np.less(mask, self._num_classes, out=same)
        np.logical_and(differs, same, out=differs)
        np.minimum(run, self._frames, out=run)
        np.copyto(self._shown, mask, where=differs)
        np.copyto(mask, self._shown)

    def _restart(self, mask: Mask, epoch: int) -> None:
        if mask.shape != self._shown.shape:
            self._resize(mask.shape)
        self._epoch = epoch
        self._run[:] = 0
        np.copyto(self._shown, mask)
        np.copyto(self._last, mask)

    def _resize(self, shape: tuple[int, ...]) -> None:
        self._shown, self._last, self._run = (np.zeros(shape, np.uint8) for _ in range(3))
        self._differs, self._same = (np.zeros(shape, np.bool_) for _ in range(2))


def _check(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise UsageError(name, expected=f"1 to {most}", found=str(value), next_step="Correct it.")
