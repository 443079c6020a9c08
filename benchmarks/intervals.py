"""How sure a percentile is: confidence intervals by drawing whole rounds again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeseg.benchmarks.summary import PERCENTILES, Times, nearest_rank

_RESAMPLES = 500
_LEVEL = 0.95

Interval = tuple[float, float]


def intervals(rounds: Sequence[Times]) -> dict[str, Interval]:
    """95 % confidence intervals of the percentiles of a series measured in rounds, in milliseconds.

    Frames of one round resemble one another, for they saw the same moment of the machine; so rounds are drawn
    again, with replacement, and not frames (a cluster bootstrap). The draw is the same every time. With few
    rounds the interval is too narrow; with a single one there is none to give.

    Args:
        rounds: Milliseconds ``float64 [N]`` of each round.

    Returns:
        Name of the percentile to (low, high); empty with fewer than two rounds.
    """
    if len(rounds) < 2:
        return {}
    generator = np.random.default_rng(0)
    found = np.empty((_RESAMPLES, len(PERCENTILES)))
    for row in found:
        drawn = generator.integers(0, len(rounds), len(rounds))
        times = np.sort(np.concatenate([rounds[index] for index in drawn]))
        row[:] = [nearest_rank(times, per_mille) for per_mille in PERCENTILES.values()]
    tail = (1 - _LEVEL) / 2
    lows, highs = np.quantile(found, (tail, 1 - tail), axis=0)
    return {name: (float(low), float(high)) for name, low, high in zip(PERCENTILES, lows, highs, strict=True)}
