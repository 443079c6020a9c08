"""What minutes of load came to, as values: its text and its picture are made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.sensors import Quantity, Recording, SensorReport
from edgeseg.benchmarks.sensors.energy import find_supply
from edgeseg.benchmarks.summary import Summary, Times, summarise

Column = npt.NDArray[np.float64]

_PARTS = 10
_CLOCK_ERROR = 1.01
_CLOCK_SLACK_MS = 1.0


@dataclass(frozen=True)
class Chunk:
    """Frames without a pause between.

    Args:
        start_ns: On this process's monotonic clock, as is ``end_ns``.
        totals: Milliseconds of the whole path per frame, on the worker's clock, ``float64 [N]``.
    """

    start_ns: int
    end_ns: int
    totals: Times


@dataclass(frozen=True)
class Rest:
    """How long the machine rested before a bundle's load, and how that ended."""

    seconds: float
    ended: str


@dataclass(frozen=True)
class Curve:
    """Everything over time, one value per chunk, each ``float64 [K]``; NaN where it was not measured.

    ``temperature_c`` and ``gpu_clock_mhz`` have a column per channel. The p99 of a chunk with fewer than 100
    frames is its maximum.
    """

    seconds: Column
    p50_ms: Column
    p99_ms: Column
    max_ms: Column
    cpu_clock_mhz: Column
    watts: Column
    gpu_clock_mhz: dict[str, Column]
    temperature_c: dict[str, Column]

    def to_dict(self) -> dict[str, Any]:
        """Lists, with ``null`` where nothing was measured."""
        return {
            name: {key: _values(column) for key, column in columns.items()}
            if isinstance(columns, dict)
            else _values(columns)
            for name, columns in vars(self).items()
        }


@dataclass(frozen=True)
class SustainedRun:
    """A bundle's minutes. ``failure``: what ended it before its time."""

    name: str
    rest: Rest
    chunks: tuple[Chunk, ...]
    curve: Curve
    sensed: SensorReport
    failure: str | None = None

    @property
    def total(self) -> Summary:
        """The whole path, over all frames."""
        return summarise([chunk.totals for chunk in self.chunks])

    @property
    def seconds(self) -> float:
        return (self.chunks[-1].end_ns - self.chunks[0].start_ns) / 1e9

    @property
    def frames(self) -> int:
        return sum(len(chunk.totals) for chunk in self.chunks)

    @property
    def first_p50(self) -> float:
        """Median of the frames in the first tenth of the time; of the first chunk, where that is longer."""
        return float(np.median(self._part(0)))

    @property
    def last_p50(self) -> float:
        """The same of the last tenth."""
        return float(np.median(self._part(-1)))

    @property
    def marks(self) -> tuple[str, ...]:
        """Why these numbers are not to be taken as they are: ended early, throttled, or with a clock that
        cannot be trusted."""
        ended = [f"ended after {self.seconds:.0f} s: {self.failure}"] if self.failure else []
        return (*ended, *self.sensed.marks, *_impossible(self.chunks))

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "total_ms": self.total.to_dict(),
            "p50_first_tenth_ms": round(self.first_p50, 3),
            "p50_last_tenth_ms": round(self.last_p50, 3),
            "rest_before": {"seconds": round(self.rest.seconds, 1), "ended": self.rest.ended},
            **self.sensed.to_dict(),
            "marks": list(self.marks),
            "curve": self.curve.to_dict(),
        }

    def _part(self, which: int) -> Times:
        parts = np.array_split(np.arange(len(self.chunks)), min(_PARTS, len(self.chunks)))
        return np.concatenate([self.chunks[index].totals for index in parts[which]])


@dataclass(frozen=True)
class Sustained:
    """All bundles, in the order in which they ran.

    Args:
        options: Of the load.
        runs: Those of which something was measured.
        sampling: The sensors' cost in cores.
        ended: Name of each of the others to what ended it.
    """

    options: dict[str, Any]
    runs: tuple[SustainedRun, ...]
    sampling: float
    ended: dict[str, str] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, str]:
        """Name of each that did not run for its minutes to what ended it."""
        return {**{run.name: run.failure for run in self.runs if run.failure}, **self.ended}

    @property
    def marks(self) -> tuple[str, ...]:
        """Of all runs, with their names."""
        early = [f"{name}, sustained: nothing was measured: {why}" for name, why in self.ended.items()]
        return (*(f"{run.name}, sustained: {text}" for run in self.runs for text in run.marks), *early)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "options": self.options,
            "order": "one after another, with a rest between",
            "sampling_cpu_share": round(self.sampling, 5),
            "runs": [run.to_dict() for run in self.runs],
            "ended": self.ended,
        }


def curve_of(chunks: Sequence[Chunk], recording: Recording) -> Curve:
    """The curves of some chunks; sensors are averaged over each chunk."""
    start = chunks[0].start_ns
    summaries = [summarise([chunk.totals]) for chunk in chunks]
    supply = find_supply(recording)
    watts = [supply.watts_in([(c.start_ns, c.end_ns)]) if supply else np.nan for c in chunks]
    clocks = _columns(recording, Quantity.CPU_CLOCK, chunks)
    return Curve(
        seconds=np.array([((c.start_ns + c.end_ns) / 2 - start) / 1e9 for c in chunks]),
        p50_ms=np.array([summary.p50 for summary in summaries]),
        p99_ms=np.array([summary.p99 for summary in summaries]),
        max_ms=np.array([summary.max for summary in summaries]),
        cpu_clock_mhz=next(iter(clocks.values()), np.full(len(chunks), np.nan)),
        watts=np.array(watts),
        gpu_clock_mhz=_columns(recording, Quantity.GPU_CLOCK, chunks),
        temperature_c=_columns(recording, Quantity.TEMPERATURE, chunks),
    )


def _columns(recording: Recording, quantity: Quantity, chunks: Sequence[Chunk]) -> dict[str, Column]:
    return {
        track.name: np.array([_mean(recording, track.values, chunk) for chunk in chunks])
        for track in recording.of(quantity)
    }


def _mean(recording: Recording, values: Column, chunk: Chunk) -> float:
    """Of the samples in a chunk, or at its end where it is shorter than the time between two."""
    inside = (recording.times_ns >= chunk.start_ns) & (recording.times_ns <= chunk.end_ns)
    if not inside.any():
        later = np.flatnonzero(recording.times_ns > chunk.end_ns)
        inside[later[:1]] = True
    read = values[inside & ~np.isnan(values)]
    return float(read.mean()) if read.size else float("nan")


def _impossible(chunks: Sequence[Chunk]) -> tuple[str, ...]:
    """Times that cannot be: on one machine the worker's clock and this process's are the same."""
    backward = sum(bool((chunk.totals <= 0).any()) for chunk in chunks) + sum(
        chunk.end_ns <= chunk.start_ns for chunk in chunks
    )
    longer = sum(
        float(chunk.totals.sum()) > _CLOCK_ERROR * (chunk.end_ns - chunk.start_ns) / 1e6 + _CLOCK_SLACK_MS
        for chunk in chunks
    )
    return (
        *(
            [f"a clock stood still or went back during {backward} of {len(chunks)} chunks"]
            if backward
            else []
        ),
        *(
            [f"the frames of {longer} of {len(chunks)} chunks took longer than the time that passed"]
            if longer
            else []
        ),
    )


def _values(column: Column) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 3) for value in column]
