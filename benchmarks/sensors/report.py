"""What the sensors say of a run: power, clock, temperature, throttling and time, as values for a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeseg.benchmarks.host import NOT_MEASURED
from edgeseg.benchmarks.sensors.energy import Window, find_supply, seconds
from edgeseg.benchmarks.sensors.reading import Quantity
from edgeseg.benchmarks.sensors.registry import Sensors, Subject
from edgeseg.benchmarks.sensors.sampler import Recording, Track
from edgeseg.benchmarks.sensors.throttling import Throttling, find_throttling, tenths
from edgeseg.benchmarks.sensors.timekeeping import time_problems


@dataclass(frozen=True)
class Power:
    """Mean power and energy per frame of what ``scope`` names: the machine's, with all else that it did.

    ``idle_watts`` is before the load, with the model loaded; ``None``: there was no such time.
    """

    scope: str
    watts: float
    joules_per_frame: float
    idle_watts: float | None
    seconds_per_frame: float

    @property
    def joules_per_frame_above_idle(self) -> float | None:
        """What a frame adds to a machine that is on anyway."""
        return None if self.idle_watts is None else (self.watts - self.idle_watts) * self.seconds_per_frame

    def to_dict(self) -> dict[str, Any]:
        above = self.joules_per_frame_above_idle
        return {
            "scope": self.scope,
            "watts": round(self.watts, 3),
            "joules_per_frame": round(self.joules_per_frame, 5),
            "idle_watts": NOT_MEASURED if self.idle_watts is None else round(self.idle_watts, 3),
            "joules_per_frame_above_idle": NOT_MEASURED if above is None else round(above, 5),
        }


@dataclass(frozen=True)
class Span:
    """A channel over a run."""

    first: float
    last: float
    lowest: float
    highest: float
    mean: float

    def to_dict(self) -> dict[str, float]:
        return {name: round(value, 1) for name, value in vars(self).items()}


@dataclass(frozen=True)
class SensorReport:
    """All of it. ``why_not`` has the reason for each subject of which nothing is known."""

    power: Power | None
    cpu_clock: Span | None
    gpu_clocks: dict[str, Span]
    temperatures: dict[str, Span]
    throttling: Throttling
    time_problems: tuple[str, ...]
    why_not: dict[str, str]

    @property
    def told(self) -> bool:
        """Whether there is anything to show of power, clock or temperature."""
        return bool(self.power or self.cpu_clock or self.temperatures)

    @property
    def hottest(self) -> str | None:
        """The temperature that was highest on average."""
        return max(self.temperatures, key=lambda name: self.temperatures[name].mean, default=None)

    @property
    def marks(self) -> tuple[str, ...]:
        """Why the run's numbers are not to be taken as they are; empty where they may be."""
        return (*(f"throttled: {sign}" for sign in self.throttling.signs), *self.time_problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what is not known is ``not measured``, with the reason."""
        throttled = self.throttling.throttled
        return {
            "power": self.power.to_dict() if self.power else NOT_MEASURED,
            "cpu_clock_mhz": self.cpu_clock.to_dict() if self.cpu_clock else NOT_MEASURED,
            "gpu_clock_mhz": _spans(self.gpu_clocks),
            "temperature_c": _spans(self.temperatures),
            "throttled": NOT_MEASURED if throttled is None else throttled,
            "throttling_watched": list(self.throttling.watched),
            "marks": list(self.marks),
            "why_not_measured": self.why_not,
        }


def sensor_report(
    recording: Recording,
    windows: Sequence[Window],
    frames: int,
    sensors: Sensors,
    idle: Sequence[Window] = (),
) -> SensorReport:
    """What the sensors say of some stretches of time, together one run.

    Args:
        recording: Holds all of the stretches, and samples at both sides.
        windows: When frames were computed; energy counts in them alone. The rest is judged from the first's
            beginning to the last's end.
        frames: Computed in the windows.
        idle: When the machine did nothing, just before.
    """
    inside = recording.between(windows[0][0], windows[-1][1])
    power = _power(recording, windows, frames, idle)
    cpu_clock = _cpu_clock(inside)
    gpu_clocks = _all_spans(inside, Quantity.GPU_CLOCK)
    temperatures = _all_spans(inside, Quantity.TEMPERATURE)
    throttling = find_throttling(inside)
    known = {
        Subject.POWER: power is not None,
        Subject.CLOCK: bool(cpu_clock or gpu_clocks),
        Subject.TEMPERATURE: bool(temperatures),
        Subject.THROTTLING: throttling.throttled is not None,
    }
    return SensorReport(
        power,
        cpu_clock,
        gpu_clocks,
        temperatures,
        throttling,
        time_problems(inside),
        {
            subject.value: sensors.why_not(subject) or "its sensor gave too few values"
            for subject, is_known in known.items()
            if not is_known
        },
    )


def _power(
    recording: Recording, windows: Sequence[Window], frames: int, idle: Sequence[Window]
) -> Power | None:
    supply = find_supply(recording)
    if supply is None or np.isnan(watts := supply.watts_in(windows)):
        return None
    idle_watts = supply.watts_in(idle) if idle else np.nan
    per_frame = seconds(windows) / frames
    return Power(
        supply.scope, watts, watts * per_frame, None if np.isnan(idle_watts) else idle_watts, per_frame
    )


def _cpu_clock(recording: Recording) -> Span | None:
    """First and last are medians of a tenth, where that can be: one sample of a clock says little."""
    for track in recording.of(Quantity.CPU_CLOCK):
        span, medians = _span(track), tenths(track.values)
        if span is None or medians is None:
            return span
        return replace(span, first=float(medians[0]), last=float(medians[-1]))
    return None


def _all_spans(recording: Recording, quantity: Quantity) -> dict[str, Span]:
    spans = {track.name: _span(track) for track in recording.of(quantity)}
    return {name: span for name, span in spans.items() if span is not None}


def _span(track: Track) -> Span | None:
    read = track.values[~np.isnan(track.values)]
    if not read.size:
        return None
    values = (read[0], read[-1], read.min(), read.max(), read.mean())
    return Span(*map(float, values))


def _spans(spans: dict[str, Span]) -> dict[str, Any] | str:
    return {name: span.to_dict() for name, span in spans.items()} or NOT_MEASURED
