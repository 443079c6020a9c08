"""Whether a run was throttled: slowed down by heat, power or current."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.benchmarks.sensors.reading import Quantity
from edgeseg.benchmarks.sensors.sampler import Recording, Track, Values

CLOCK_SHARE = 0.9
"""A run is throttled where a tenth of it ran below this share of its first tenth's clock."""
_PARTS = 10
_LEAST = 3 * _PARTS
"""Fewer values, and a tenth's median would be that of two: one slow sample would decide."""
_LIMIT_SHARE = 0.99
_NAMED = 4


@dataclass(frozen=True)
class Throttling:
    """The verdict.

    Args:
        watched: What could be watched, in words; nothing: throttling was not measured.
        signs: What says that the run was throttled, in sentences.
    """

    watched: tuple[str, ...]
    signs: tuple[str, ...]

    @property
    def throttled(self) -> bool | None:
        """``None`` where nothing could be watched."""
        return bool(self.signs) if self.watched else None


def find_throttling(recording: Recording) -> Throttling:
    """Judge a recording that holds the run and the sample before it.

    Signs are a counter of the hardware that rose, a cooling device that was at work, a limit of the clock
    that was lowered, and a clock under load that fell below ``CLOCK_SHARE`` of what it was at the beginning.
    """
    watched, signs = [], []
    for judge in (_events, _cooling, _limits):
        what, sign = judge(recording)
        watched += [what] if what else []
        signs += [sign] if sign else []
    for track in recording.of(Quantity.CPU_CLOCK):
        medians = tenths(track.values)
        if medians is None:
            continue
        watched.append("the CPU's clock under load")
        if medians.min() < CLOCK_SHARE * medians[0]:
            signs.append(
                f"the CPU's clock under load fell from {medians[0]:.0f} to {medians.min():.0f} MHz, below "
                f"{100 * CLOCK_SHARE:.0f} % of the beginning"
            )
    return Throttling(tuple(watched), tuple(signs))


def tenths(values: Values) -> Values | None:
    """The median of each tenth of what was read, ``float64 [10]``; ``None``: too few for that."""
    read = values[~np.isnan(values)]
    if len(read) < _LEAST:
        return None
    medians: Any = np.array([np.median(part) for part in np.array_split(read, _PARTS)])
    return np.asarray(medians, np.float64)


def _events(recording: Recording) -> tuple[str, str]:
    tracks = [track for track in recording.of(Quantity.EVENTS) if _read(track).size > 1]
    rises = {track.name: int(_read(track)[-1] - _read(track)[0]) for track in tracks}
    risen = [f"{name} by {rise}" for name, rise in rises.items() if rise > 0]
    return _sources(tracks, "counters"), f"throttle counters rose: {_few(risen)}" if risen else ""


def _cooling(recording: Recording) -> tuple[str, str]:
    tracks = [track for track in recording.of(Quantity.COOLING) if _read(track).size]
    active = [
        track.name + (" from the start" if _read(track)[0] > 0 else "")
        for track in tracks
        if _read(track).max() > 0
    ]
    return _sources(tracks, "states"), f"slowed down to cool: {_few(active)}" if active else ""


def _limits(recording: Recording) -> tuple[str, str]:
    tracks = [track for track in recording.of(Quantity.CPU_CLOCK_LIMIT) if _read(track).size > 1]
    lowered = [
        f"{track.channel} from {_read(track)[0]:.0f} to {_read(track).min():.0f} MHz"
        for track in tracks
        if _read(track).min() < _LIMIT_SHARE * _read(track)[0]
    ]
    return (
        "the limits of the CPU's clock" if tracks else "",
        f"the limit of the clock was lowered: {_few(lowered)}" if lowered else "",
    )


def _read(track: Track) -> Values:
    return track.values[~np.isnan(track.values)]


def _sources(tracks: Sequence[Track], what: str) -> str:
    names = dict.fromkeys(track.source for track in tracks)
    return f"{what} of {', '.join(names)}" if names else ""


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more
