"""Two cached splits as one, for training on a dataset and on more images of the same classes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import LabelError
from edgeseg.labels import LabelSet
from edgeseg.training.data.cache import CachedSplit

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class CachedPair(CachedSplit):
    """A split followed by another one. Its arrays read either's memory maps when they are asked for.

    Attributes:
        parts: The two, in order.
    """

    parts: tuple[CachedSplit, CachedSplit]

    def __reduce__(self) -> tuple[Any, ...]:
        # Each part is mapped anew in another process: no pixel is copied to it.
        return joined, self.parts


def joined(first: CachedSplit, second: CachedSplit) -> CachedSplit:
    """Both splits' images, the first's before the second's, under the first's labels.

    Args:
        first: A split, or a subset of one.
        second: Of the same size and of classes with the same names in the same order.

    Raises:
        LabelError: Its classes are others.
    """
    check_joinable(first.labels, second.labels)
    fingerprint = hashlib.sha256(f"{first.fingerprint} and {second.fingerprint}".encode()).hexdigest()
    return CachedPair(
        path=first.path,
        images=_Rows(first.images, second.images),
        masks=_Rows(first.masks, second.masks),
        names=(*first.names, *(f"extra/{name}" for name in second.names)),
        labels=first.labels,
        histogram=first.histogram + second.histogram,
        ignored=first.ignored + second.ignored,
        fingerprint=fingerprint,
        parts=(first, second),
    )


def check_joinable(first: LabelSet, second: LabelSet) -> None:
    """See whether images of the second labels can be trained on beside those of the first.

    Raises:
        LabelError: Their classes differ.
    """
    if first.names != second.names:
        raise LabelError(
            "--extra-data",
            expected=f"the classes of --data in the same order, {', '.join(first.names)}",
            found=", ".join(second.names),
            next_step="Name a dataset of the same classes, or map its ids to them in its labels.yaml.",
        )


class _Rows:
    """Rows of two arrays as one array, indexed along the first axis and read only then."""

    def __init__(self, first: Pixels, second: Pixels) -> None:
        self._first, self._second, self._cut = first, second, len(first)
        self.shape = (len(first) + len(second), *first.shape[1:])
        self.dtype = first.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | npt.NDArray[np.int64]) -> Pixels:
        rows = np.arange(len(self))[index]
        if rows.ndim == 0:
            return self._first[rows] if rows < self._cut else self._second[rows - self._cut]
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        early = rows < self._cut
        taken[early] = self._first[rows[early]]
        taken[~early] = self._second[rows[~early] - self._cut]
        return taken

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("rows of a memory map can only be copied")
        return np.asarray(self[:], dtype)
