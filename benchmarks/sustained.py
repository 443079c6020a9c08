"""Bundles under load for minutes: what latency, clock, temperature and power do once the machine is hot.

Several bundles run one after another, each for the whole time. In turns they would share one temperature, and
what a bundle alone would have come to could not be seen. So that the second does not pay for the first, the
machine rests between them until it is as cool as it was; how long it rested, and how warm it was, is in the
result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from edgeseg.benchmarks.protocol import STAGES, Round
from edgeseg.benchmarks.sensors import (
    Quantity,
    Recording,
    Sampler,
    Sensors,
    Window,
    open_sensors,
    sensor_report,
)
from edgeseg.benchmarks.sustained_results import Chunk, Rest, Sustained, SustainedRun, curve_of
from edgeseg.errors import EdgesegError, UsageError

Progress = Callable[[int, int], None]

_SECOND_NS = 1_000_000_000
_POINTS = 240
_SHORTEST_CHUNK_S = 1.0
_FIRST_FRAMES = 5
_COOL_MARGIN_C = 2.0
_TOTAL = STAGES.index("total")


class RoundWorker(Protocol):
    """What runs a bundle in a process of its own, warm and loaded."""

    def ask(self, message: Round) -> Any:
        """The times of so many frames, ``float64 [frames, 5]`` ms, columns as in ``STAGES``."""


@dataclass(frozen=True)
class SustainedOptions:
    """How it is measured.

    Args:
        minutes: Of load, for each bundle.
        warmup: Frames before them.
        idle_seconds: Before each bundle's load, for the power of the machine when idle.
        rest_seconds: The longest rest between two bundles, and never longer than the load before it. Where no
            temperature is known, it lasts so long.
        period_s: Seconds between two readings of the sensors.
    """

    minutes: float = 10.0
    warmup: int = 50
    idle_seconds: float = 5.0
    rest_seconds: float = 180.0
    period_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.minutes < float("inf"):
            raise UsageError(
                "--minutes",
                expected="more than 0",
                found=f"{self.minutes:g}",
                next_step="Ten show on most machines where the clock settles.",
            )

    @property
    def longest_rest_s(self) -> float:
        """Seconds: what a load of seconds has warmed needs no minutes to cool down."""
        return min(self.rest_seconds, self.minutes * 60)

    @property
    def chunk_s(self) -> float:
        """Seconds of one point of the curves."""
        return min(self.minutes * 60, max(_SHORTEST_CHUNK_S, self.minutes * 60 / _POINTS))


def run_sustained(
    workers: Mapping[str, RoundWorker],
    options: SustainedOptions,
    sensors: Sensors | None = None,
    on_progress: Progress | None = None,
    on_partial: Callable[[Sustained], None] = lambda _so_far: None,
) -> Sustained:
    """Load the machine with one bundle after another; what ends one of them ends none of the others.

    Args:
        workers: Name of a bundle to its process. They wait where it is not their turn.
        sensors: Default: all that this machine has.
        on_progress: Called with (seconds of load done, seconds in all).
        on_partial: Called with what there is after each bundle's minutes.

    Raises:
        InferenceError: A runtime failed on a frame, or a worker process died, before anything was measured of
            any of them.
    """
    found = sensors or open_sensors()
    report = on_progress or (lambda _done, _total: None)
    loads: list[_Load] = []
    ended: dict[str, str] = {}
    seconds = options.minutes * 60
    whole = round(seconds * len(workers))
    with Sampler(found, options.period_s) as sampler:
        cool = sampler.latest(Quantity.TEMPERATURE)
        for number, (name, worker) in enumerate(workers.items()):
            rest = _rest(sampler, cool, options) if number else Rest(0.0, "first")
            idle = _idle(options)
            done = round(number * seconds)
            try:
                chunks, failure = _load(worker, options, partial(_advance, report, done, whole))
            except EdgesegError as error:
                if not loads and number == len(workers) - 1:
                    raise
                ended[name] = error.found
                continue
            loads.append(_Load(name, rest, idle, chunks, failure))
            on_partial(_results(loads, ended, sampler.recording(), found, options))
    return _results(loads, ended, sampler.recording(), found, options)


def _results(
    loads: Sequence[_Load],
    ended: Mapping[str, str],
    recording: Recording,
    sensors: Sensors,
    options: SustainedOptions,
) -> Sustained:
    runs = tuple(
        SustainedRun(
            name=load.name,
            rest=load.rest,
            chunks=load.chunks,
            curve=curve_of(load.chunks, recording),
            sensed=sensor_report(recording, [load.window], load.frames, sensors, load.idle),
            failure=load.failure,
        )
        for load in loads
    )
    values = {**asdict(options), "rest_seconds": options.longest_rest_s}
    return Sustained(values, runs, recording.cpu_share, dict(ended))


@dataclass(frozen=True)
class _Load:
    name: str
    rest: Rest
    idle: Sequence[Window]
    chunks: tuple[Chunk, ...]
    failure: str | None

    @property
    def window(self) -> Window:
        return self.chunks[0].start_ns, self.chunks[-1].end_ns

    @property
    def frames(self) -> int:
        return sum(len(chunk.totals) for chunk in self.chunks)


def _load(
    worker: RoundWorker, options: SustainedOptions, on_seconds: Callable[[int], None]
) -> tuple[tuple[Chunk, ...], str | None]:
    """Frames without a pause until the time is up, in chunks; and what ended them before."""
    # It also tells how many frames make a chunk: the first answer is not kept.
    times = worker.ask(Round(options.warmup, _FIRST_FRAMES))
    frame_s = float(np.median(times[:, _TOTAL])) / 1e3
    chunks: list[Chunk] = []
    start = time.monotonic_ns()
    while (before := time.monotonic_ns()) - start < options.minutes * 60 * _SECOND_NS:
        left_s = options.minutes * 60 - (before - start) / _SECOND_NS
        frames = max(1, round(min(options.chunk_s, left_s) / frame_s))
        try:
            totals = worker.ask(Round(0, frames))[:, _TOTAL]
        except EdgesegError as error:
            # Minutes in, what was measured is worth keeping, and how it ended is a result.
            if not chunks:
                raise
            return tuple(chunks), error.found
        chunks.append(Chunk(before, time.monotonic_ns(), totals))
        frame_s = (chunks[-1].end_ns - before) / _SECOND_NS / frames
        on_seconds(round(min(options.minutes * 60, (chunks[-1].end_ns - start) / _SECOND_NS)))
    return tuple(chunks), None


def _advance(report: Progress, before: int, whole: int, seconds: int) -> None:
    report(before + seconds, whole)


def _idle(options: SustainedOptions) -> list[Window]:
    if options.idle_seconds <= 0:
        return []
    start = time.monotonic_ns()
    time.sleep(options.idle_seconds)
    return [(start, time.monotonic_ns())]


def _rest(sampler: Sampler, cool: Mapping[str, float], options: SustainedOptions) -> Rest:
    """Wait until every temperature is back near ``cool``, or for as long as is allowed."""
    start = time.monotonic()
    while (passed := time.monotonic() - start) < options.longest_rest_s:
        now = sampler.latest(Quantity.TEMPERATURE)
        # A sensor that does not answer now has not cooled down.
        if cool and all(now.get(name, math.inf) <= value + _COOL_MARGIN_C for name, value in cool.items()):
            return Rest(passed, f"as cool as before the first, within {_COOL_MARGIN_C:g} °C")
        time.sleep(min(options.period_s, options.longest_rest_s - passed))
    why = "not as cool as before the first" if cool else "temperature not measured"
    return Rest(options.longest_rest_s, why)
