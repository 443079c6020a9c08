"""What a series of frame times comes down to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.loop.statistics import Percentiles

Times = npt.NDArray[np.float64]
PERCENTILES = {"p50": 500, "p90": 900, "p99": 990, "p999": 999}
"""Field of a :class:`Summary` to per mille."""


@dataclass(frozen=True)
class Summary(Percentiles):
    """Milliseconds per frame.

    A percentile is the time of a frame that was measured, by nearest rank: at least that share of the frames
    took so long or less. Nothing is interpolated, so fewer than 1,000 frames give ``p999`` equal to ``max``.
    ``jitter`` is the mean absolute difference between a frame and the one before it, within a round.
    """

    jitter: float


def summarise(rounds: Sequence[Times]) -> Summary:
    """The summary of all frames of several rounds, each a series of milliseconds ``float64 [N]``, N ≥ 1."""
    times = np.sort(np.concatenate(rounds))
    return Summary(
        mean=float(times.mean()),
        **{name: nearest_rank(times, per_mille) for name, per_mille in PERCENTILES.items()},
        max=float(times[-1]),
        jitter=_jitter(rounds),
    )


def nearest_rank(ordered: Times, per_mille: int) -> float:
    """The least of ascending times that at least so many per mille of them do not exceed."""
    # In whole numbers: 99.9 % of 1,000 is 999.0000000000001 in floats, which would be the maximum.
    rank = -(-len(ordered) * per_mille // 1000)
    return float(ordered[rank - 1])


def _jitter(rounds: Sequence[Times]) -> float:
    # Rounds are minutes apart: the step from one to the next is no jitter.
    steps: Any = np.concatenate([np.abs(np.diff(times)) for times in rounds])
    return float(steps.mean()) if steps.size else 0.0
