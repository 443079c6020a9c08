"""Counts and times of one run of the loop, as it goes on."""

from __future__ import annotations

import time

from edgeseg.loop.capture import Captured
from edgeseg.loop.statistics import Durations
from edgeseg.segmenter import Segmentation

_NS_PER_MS = 1e6


class Tally:
    """What the loop knows of its frames.

    Args:
        stale_ms: Frames older than this before inference are stale; ``None``: none ever is.
    """

    def __init__(self, stale_ms: float | None) -> None:
        self.stale = 0
        self.segmented = 0
        self.age = Durations()
        self.stages = {name: Durations() for name in ("decode", "wait", "resize", "infer", "post")}
        self.max_overdue_ms: float | None = None
        self.last_age_ms = 0.0
        self._stale_ms = stale_ms
        self._started_ns = time.monotonic_ns()
        self._last_ns = self._started_ns

    @property
    def seconds(self) -> float:
        """From the start to the last mask."""
        return (self._last_ns - self._started_ns) / 1e9

    @property
    def fps(self) -> float:
        return self.segmented / self.seconds if self.segmented else 0.0

    def is_stale(self, captured: Captured) -> bool:
        """Whether a frame is too old to be worth inference; it is counted if so."""
        age_ms = (time.monotonic_ns() - captured.frame.captured_ns) / _NS_PER_MS
        stale = self._stale_ms is not None and age_ms > self._stale_ms
        self.stale += stale
        return stale

    def count(self, captured: Captured, started_ns: int, segmentation: Segmentation) -> None:
        """Count a mask at the moment it is finished, before it is handed to the sink."""
        self._last_ns = time.monotonic_ns()
        self.segmented += 1
        age_ms = (self._last_ns - captured.frame.captured_ns) / _NS_PER_MS
        timings = segmentation.timings
        self.last_age_ms = age_ms
        self.age.add(age_ms)
        self.stages["decode"].add(captured.frame.decode_ms)
        self.stages["wait"].add((started_ns - captured.ready_ns) / _NS_PER_MS)
        self.stages["resize"].add(timings.resize_ms)
        self.stages["infer"].add(timings.infer_ms)
        self.stages["post"].add(timings.post_ms)
        if self._stale_ms is not None:
            overdue_ms = age_ms - timings.total_ms - self._stale_ms
            self.max_overdue_ms = max(overdue_ms, self.max_overdue_ms or overdue_ms)
