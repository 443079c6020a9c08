"""Energy of a stretch of time, and which of a machine's rails make its total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.benchmarks.sensors.reading import Quantity
from edgeseg.benchmarks.sensors.sampler import Nanoseconds, Recording, Track, Values

INPUTS = {
    "VDD_IN": "the whole module",
    "POM_5V_IN": "the whole board",
    "VIN": "the whole board",
}
"""Rails of Jetson boards through which everything is supplied: the other rails are behind them."""
_BEHIND_ANOTHER = ("VDDQ_VDD2_1V8AO",)
"""The memory's rail of AGX Orin is fed by VIN_SYS_5V0, which has a sensor of its own."""
_BOARD_SOURCES = ("ina3221", "ina3221x", "ina238")
"""What they measure on a Jetson has its integrated GPU in it, which NVML may give once more."""

Window = tuple[int, int]
"""From and to, in nanoseconds of the monotonic clock."""


@dataclass(frozen=True)
class Supply:
    """The power that counts.

    Args:
        scope: What it supplies, in words. A number without it says nothing.
        times_ns: ``int64 [N]``.
        joules: Since the first sample, ``float64 [N]``; rises.
    """

    scope: str
    times_ns: Nanoseconds
    joules: Values

    def joules_in(self, windows: Sequence[Window]) -> float:
        """Energy of some stretches of time.

        What of a stretch lies outside of what was sampled counts at the mean power of the rest of it; a
        stretch that lies outside altogether gives NaN.
        """
        return float(sum(self._joules_in(*window) for window in windows))

    def watts_in(self, windows: Sequence[Window]) -> float:
        """Mean power of some stretches of time."""
        return self.joules_in(windows) / seconds(windows)

    def _joules_in(self, start_ns: int, end_ns: int) -> float:
        first, last = max(start_ns, int(self.times_ns[0])), min(end_ns, int(self.times_ns[-1]))
        if last <= first:
            return float("nan")
        at_first, at_last = np.interp([first, last], self.times_ns, self.joules)
        return float((at_last - at_first) * (end_ns - start_ns) / (last - first))


def find_supply(recording: Recording) -> Supply | None:
    """What to count; ``None`` where no power was read.

    The rail that supplies everything, where there is one. Else the sum of all rails and counters that do not
    lie behind one another: processor packages and GPUs, or a Jetson's rails.
    """
    tracks = [t for q in (Quantity.POWER, Quantity.ENERGY) for t in recording.of(q)]
    inputs = [track for name in INPUTS for track in tracks if track.channel == name]
    rails = [track for track in tracks if track.source in _BOARD_SOURCES]
    counted = inputs[:1] or [t for t in rails or tracks if t.channel not in _BEHIND_ANOTHER]
    series = [made for track in counted if (made := _joules(recording.times_ns, track)) is not None]
    if not series or len(series) < len(counted):
        # Part of a sum that could not be read leaves no sum.
        return None
    first = max(int(times[0]) for times, _ in series)
    last = min(int(times[-1]) for times, _ in series)
    times = recording.times_ns[(recording.times_ns >= first) & (recording.times_ns <= last)]
    if len(times) < 2:
        return None
    joules: Any = sum(np.interp(times, own_times, values) for own_times, values in series)
    return Supply(_scope(counted), times, joules - joules[0])


def seconds(windows: Sequence[Window]) -> float:
    """How long some stretches of time are together."""
    return sum(end - start for start, end in windows) / 1e9


def _joules(times_ns: Nanoseconds, track: Track) -> tuple[Nanoseconds, Values] | None:
    """When a track was read, and the energy up to then: a counter as it is, power summed by trapezoids."""
    read = ~np.isnan(track.values)
    times, values = times_ns[read], track.values[read]
    if len(times) < 2:
        return None
    if track.quantity is Quantity.ENERGY:
        return times, values
    steps = (values[1:] + values[:-1]) / 2 * np.diff(times) / 1e9
    return times, np.concatenate([[0.0], np.cumsum(steps)])


def _scope(counted: Sequence[Track]) -> str:
    names = " + ".join(track.channel for track in counted)
    source = ", ".join(dict.fromkeys(track.source for track in counted))
    whole = INPUTS.get(counted[0].channel)
    return f"{whole}: {names} ({source})" if whole else f"{names} ({source}), not the rest of the machine"
