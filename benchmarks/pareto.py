"""Which models are worth a look: those that none other beats in both accuracy and latency."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_set(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of each (latency, accuracy), whether no other is at least as good in both and better in one.

    What has no accuracy, NaN, is never in it.
    """
    return [
        not math.isnan(miou) and not any(_beats(other, (ms, miou)) for other in points) for ms, miou in points
    ]


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other
