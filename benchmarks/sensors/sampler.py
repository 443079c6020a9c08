"""Reads all sensors a few times a second, beside what is measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.sensors.reading import Quantity
from edgeseg.benchmarks.sensors.registry import Sensors

Nanoseconds = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

_CLOSE_NS = 1_000_000
_ATTEMPTS = 5


@dataclass(frozen=True)
class Clocks:
    """The two clocks of a sample. Tests give their own."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    wall_ns: Callable[[], int] = time.time_ns


@dataclass(frozen=True)
class Track:
    """A channel over time, ``float64 [N]`` in its quantity's unit; NaN where it could not be read."""

    source: str
    channel: str
    quantity: Quantity
    values: Values

    @property
    def name(self) -> str:
        return f"{self.source}: {self.channel}"


@dataclass(frozen=True)
class Recording:
    """All samples, N of them.

    Args:
        times_ns: On the monotonic clock, ``int64 [N]``.
        wall_ns: The wall clock at the same moments, ``int64 [N]``.
        period_s: Between two samples, as asked for.
        cpu_share: CPU time that sampling took, as a share of one core.
    """

    times_ns: Nanoseconds
    wall_ns: Nanoseconds
    tracks: tuple[Track, ...]
    period_s: float
    cpu_share: float

    def of(self, quantity: Quantity) -> list[Track]:
        """The tracks of a quantity."""
        return [track for track in self.tracks if track.quantity is quantity]

    def between(self, start_ns: int, end_ns: int) -> Recording:
        """The samples from the last before ``start_ns`` to the first after ``end_ns``."""
        earlier, later = np.flatnonzero(self.times_ns < start_ns), np.flatnonzero(self.times_ns > end_ns)
        part = slice(earlier[-1] if earlier.size else 0, later[0] + 1 if later.size else None)
        tracks = tuple(replace(track, values=track.values[part]) for track in self.tracks)
        return replace(self, times_ns=self.times_ns[part], wall_ns=self.wall_ns[part], tracks=tracks)


@dataclass(frozen=True)
class _Sample:
    monotonic_ns: int
    wall_ns: int
    values: dict[str, dict[str, float]]


class Sampler:
    """A thread that samples from entering the ``with`` block to its end, with a sample at both.

    Args:
        period_s: Seconds between two samples, 0.1 to 1 for most uses; power averages between them.
    """

    def __init__(self, sensors: Sensors, period_s: float = 0.5, clocks: Clocks | None = None) -> None:
        self.sensors = sensors
        self._period_s = period_s
        self._clocks = clocks or Clocks()
        self._samples: list[_Sample] = []
        self._cpu_ns = 0
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)

    def __enter__(self) -> Sampler:
        self._take()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure
        self._take()

    def latest(self, quantity: Quantity) -> dict[str, float]:
        """The newest values of a quantity, by ``source: channel``."""
        newest = self._samples[-1].values
        return {
            f"{reader.source}: {channel}": value
            for name, reader in self.sensors.readers.items()
            if reader.quantity is quantity
            for channel, value in newest[name].items()
        }

    def recording(self) -> Recording:
        """What was sampled so far."""
        samples = list(self._samples)
        times = np.array([sample.monotonic_ns for sample in samples], np.int64)
        passed = max(1, int(times[-1] - times[0]))
        return Recording(
            times_ns=times,
            wall_ns=np.array([sample.wall_ns for sample in samples], np.int64),
            tracks=tuple(self._tracks(samples)),
            period_s=self._period_s,
            cpu_share=self._cpu_ns / passed,
        )

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._period_s):
                self._take()
        except Exception as error:  # noqa: BLE001 - raised again where the block ends
            self._failure = error

    def _take(self) -> None:
        started = time.thread_time_ns()
        monotonic, wall = _together(self._clocks)
        values = {name: reader.read() for name, reader in self.sensors.readers.items()}
        self._samples.append(_Sample(monotonic, wall, values))
        self._cpu_ns += time.thread_time_ns() - started

    def _tracks(self, samples: list[_Sample]) -> list[Track]:
        tracks = []
        for name, reader in self.sensors.readers.items():
            rows = [sample.values[name] for sample in samples]
            for channel in dict.fromkeys(channel for row in rows for channel in row):
                values: Any = np.array([row.get(channel, np.nan) for row in rows])
                tracks.append(Track(reader.source, channel, reader.quantity, values))
        return tracks


def _together(clocks: Clocks) -> tuple[int, int]:
    """Both clocks at one moment: tried again where this thread was put aside between the two."""
    before = wall = 0
    for _ in range(_ATTEMPTS):
        before, wall, after = clocks.monotonic_ns(), clocks.wall_ns(), clocks.monotonic_ns()
        if 0 <= after - before < _CLOSE_NS:
            break
    return before, wall
