"""The range of values that an int8 tensor spans, from what was seen of it on calibration frames.

A range that holds the largest value ever seen may spend most of its 256 steps on outliers; one that is too
tight clips what matters. Which is better differs between models, so all are there and the ladder measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Range = tuple[float, float]

SAMPLES_PER_FRAME = 2048
"""Values kept of a tensor on each frame, evenly spread; its least and greatest are exact."""

PERCENTILE = 99.99
_STEPS = 255
_SHRINKS = np.linspace(1.0, 0.2, 41)


@dataclass
class Seen:
    """What a tensor held on the frames so far: its extremes, and a sample of its values."""

    least: float = np.inf
    greatest: float = -np.inf
    _kept: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """The values of one frame, of any shape."""
        flat = values.reshape(-1)
        self.least, self.greatest = min(self.least, float(flat.min())), max(self.greatest, float(flat.max()))
        # A stride prime to usual channel counts, so that no channel is left out.
        stride = max(1, flat.size // SAMPLES_PER_FRAME) | 1
        self._kept.append(flat[::stride].astype(np.float32))

    def values(self) -> npt.NDArray[np.float32]:
        return np.concatenate(self._kept)


def minmax(seen: Seen) -> Range:
    """All that was seen."""
    return seen.least, seen.greatest


def percentile(seen: Seen) -> Range:
    """All but the most extreme 0.01 % of the values, on each side that has any."""
    low, high = np.percentile(seen.values(), [100 - PERCENTILE, PERCENTILE])
    return float(low), float(high)


def mse(seen: Seen) -> Range:
    """The share of the whole range that loses least, in the mean of squares, when it is cut into steps."""
    values = seen.values()
    errors = [_squared_error(values, _shrunk(seen, shrink)) for shrink in _SHRINKS]
    return _shrunk(seen, float(_SHRINKS[int(np.argmin(errors))]))


RANGES: Mapping[str, Callable[[Seen], Range]] = {"minmax": minmax, "percentile": percentile, "mse": mse}
"""The plain rule first."""


def _shrunk(seen: Seen, shrink: float) -> Range:
    return seen.least * shrink, seen.greatest * shrink


def _squared_error(values: npt.NDArray[np.float32], span: Range) -> float:
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    step = (high - low) / _STEPS
    if step == 0:
        return 0.0
    rounded = np.round((np.clip(values, low, high) - low) / step) * step + low
    return float(np.mean(np.square(rounded - values)))
