"""Percentiles of a run of any length in a fixed piece of memory."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_SMALLEST_MS = 1e-3
_LARGEST_MS = 1e6
_STEP = 1.01
_BINS = math.ceil(math.log(_LARGEST_MS / _SMALLEST_MS, _STEP)) + 1


@dataclass(frozen=True)
class Percentiles:
    """What every series of times comes down to, in milliseconds."""

    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float

    def to_dict(self) -> dict[str, float]:
        """Plain JSON values, rounded to a microsecond."""
        return {name.replace("p999", "p99.9"): round(value, 3) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Summary(Percentiles):
    """Percentiles to within 1 %, mean and maximum exact. All 0 where nothing was counted."""

    count: int


class Durations:
    """A histogram with bins 1 % wide from 1 µs to 1,000 s: a loop that runs for weeks keeps nothing else.

    Args:
        record: Where to count, a record of ``RECORD`` that other processes may see; by default memory of its
        own.

    Attributes:
        last: What was added last by this object.
    """

    RECORD = np.dtype([("bins", "i8", (_BINS,)), ("sum", "f8"), ("max", "f8")])

    def __init__(self, record: Any = None) -> None:
        self._record: Any = np.zeros((), self.RECORD) if record is None else record
        self._bins: Any = self._record["bins"]
        self.last: float | None = None

    def add(self, milliseconds: float) -> None:
        self.last = milliseconds
        inside = min(max(milliseconds, _SMALLEST_MS), _LARGEST_MS)
        self._bins[round(math.log(inside / _SMALLEST_MS, _STEP))] += 1
        self._record["sum"] += milliseconds
        self._record["max"] = max(float(self._record["max"]), milliseconds)

    def summary(self) -> Summary:
        count = int(self._bins.sum())
        mean = float(self._record["sum"]) / count if count else 0.0
        p50, p90, p99, p999 = (self._percentile(percent) for percent in (50, 90, 99, 99.9))
        return Summary(mean, p50, p90, p99, p999, float(self._record["max"]), count)

    def _percentile(self, percent: float) -> float:
        """The smallest value that at least ``percent`` of the values do not exceed."""
        total = int(self._bins.sum())
        if not total:
            return 0.0
        rank = math.ceil(total * percent / 100)
        index = int(np.searchsorted(np.cumsum(self._bins), rank))
        return min(_SMALLEST_MS * _STEP**index, float(self._record["max"]))
