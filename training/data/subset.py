"""A part of a split, for quick runs: the same images for the same seed, read from the same files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.training.data.cache import CachedSplit, open_cached

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CachedSubset(CachedSplit):
    """Some images of a split. Its arrays read them from the split's memory maps when they are asked for.

    Attributes:
        rows: Which of the split's images they are, ascending.
    """

    rows: Rows

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self.rows, self.histogram, self.ignored, self.fingerprint)


def subset(cached: CachedSplit, fraction: float, seed: int) -> CachedSplit:
    """A share of a split's images, chosen at random; the split itself where the fraction is 1.

    With the same seed a smaller fraction's images are among a larger one's. Histogram and fingerprint are
    those of the images that are left.

    Args:
        cached: A whole split.
        fraction: Above 0 to 1; at least one image is left.
        seed: Decides which.

    Raises:
        UsageError: The fraction is out of its range.
    """
    if not 0 < fraction <= 1:
        raise UsageError(
            "fraction", expected="above 0 to 1", found=repr(fraction), next_step="Correct --fraction."
        )
    if fraction == 1:
        return cached
    count = max(1, round(fraction * len(cached)))
    rows = np.sort(np.random.default_rng(seed).permutation(len(cached))[:count])
    counts = sum(np.bincount(cached.masks[row].ravel(), minlength=256) for row in rows)
    chosen = hashlib.sha256(f"{cached.fingerprint} {rows.tolist()}".encode())
    ignored = int(counts[cached.labels.ignore_index])
    return _taken(cached, rows, counts[: len(cached.labels)], ignored, chosen.hexdigest())


def _reopened(
    path: Path, rows: Rows, histogram: npt.NDArray[np.int64], ignored: int, fingerprint: str
) -> CachedSubset:
    """In another process, which maps the files itself: no pixel is copied to it."""
    return _taken(open_cached(path), rows, histogram, ignored, fingerprint)


def _taken(
    cached: CachedSplit, rows: Rows, histogram: npt.NDArray[np.int64], ignored: int, fingerprint: str
) -> CachedSubset:
    return CachedSubset(
        path=cached.path,
        images=_Taken(cached.images, rows),
        masks=_Taken(cached.masks, rows),
        names=tuple(cached.names[row] for row in rows),
        labels=cached.labels,
        histogram=histogram,
        ignored=ignored,
        fingerprint=fingerprint,
        rows=rows,
    )


class _Taken:
    """Rows of an array as an array of their own, indexed along the first axis and read only then."""

    def __init__(self, array: npt.NDArray[np.uint8], rows: Rows) -> None:
        self._array, self._rows = array, rows
        self.shape = (len(rows), *array.shape[1:])
        self.dtype = array.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice | Rows) -> npt.NDArray[np.uint8]:
        return self._array[self._rows[index]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("rows of a memory map can only be copied")
        return np.asarray(self._array[self._rows], dtype)
