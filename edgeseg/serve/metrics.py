"""What the service counts, for Prometheus. Used on the event loop alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from edgeseg.prometheus import Metric

_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Histogram:
    """Seconds, counted in buckets as Prometheus has them."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[next((i for i, bound in enumerate(_BOUNDS) if seconds <= bound), len(_BOUNDS))] += 1
        self._sum += seconds

    def samples(self, label: str) -> Iterator[tuple[str, float]]:
        """Suffix and value of every line, with ``label`` in each."""
        so_far = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._counts, strict=True):
            so_far += count
            yield f'_bucket{{{label},le="{bound}"}}', so_far
        yield f"_sum{{{label}}}", self._sum
        yield f"_count{{{label}}}", so_far


class Metrics:
    """Requests by model and status, and how long those that were answered took."""

    def __init__(self, models: Iterator[str] | list[str]) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds = {name: Histogram() for name in models}

    def count(self, model: str, status: int, seconds: float) -> None:
        """One request is over.

        Args:
            model: Its name; empty where the request was for none that there is.
            status: What was answered.
            seconds: From its head to the end of its answer.
        """
        self._requests[model, status] += 1
        if model and status == 200:
            self._seconds[model].add(seconds)

    def collect(self, gauges: dict[str, tuple[str, float]]) -> list[Metric]:
        """All of them, with ``gauges``: name to help and value."""
        requests = {
            f'{{model="{model}",status="{status}"}}': float(count)
            for (model, status), count in sorted(self._requests.items())
        }
        seconds = dict(
            sample
            for name, histogram in self._seconds.items()
            for sample in histogram.samples(f'model="{name}"')
        )
        prefix = "edgeseg_serve_"
        return [
            Metric(f"{prefix}requests_total", "counter", "Requests, by model and status.", requests),
            Metric(f"{prefix}request_seconds", "histogram", "Time of answered requests.", seconds),
            *(Metric(prefix + name, "gauge", text, {"": value}) for name, (text, value) in gauges.items()),
            Metric(
                "process_resident_memory_bytes", "gauge", "Memory of this process.", {"": resident_bytes()}
            ),
        ]


def resident_bytes() -> int:
    """Of this process; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0
