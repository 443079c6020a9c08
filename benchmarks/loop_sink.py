"""The consumers at the end of the loop's benchmark: one notes when each mask is in its hands, one draws."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeseg.loop.sinks import NoSink, Published, Sink

COLUMNS = ("capture", "wait", "resize", "infer", "post", "deliver")
"""Milliseconds of one frame. ``capture`` is from its pixels to their place in shared memory; ``wait``
from there to inference, with the copy of the picture for the sinks; ``deliver`` from the published mask to a
sink, in its own copy."""


class TimingSink(NoSink):
    """Writes a row of ``COLUMNS`` for each mask to a file ``.npy``."""

    def __init__(self, file: Path) -> None:
        self.name = str(file)
        self._rows: list[tuple[float, ...]] = []

    def write(self, published: Published) -> None:
        arrived_ns = time.monotonic_ns()
        segmentation, times = published.segmentation, published.segmentation.timings
        wait_ms = published.figures.wait_ms or 0.0
        captured_ms = segmentation.age_ms - wait_ms - times.total_ms
        delivered_ms = (arrived_ns - segmentation.finished_ns) / 1e6
        self._rows.append(
            (captured_ms, wait_ms, times.resize_ms, times.infer_ms, times.post_ms, delivered_ms)
        )

    def finish(self, positions: int) -> None:  # noqa: ARG002 - a sink's name for it
        np.save(self.name, np.array(self._rows, np.float64).reshape(-1, len(COLUMNS)))


class DrawingSink(NoSink):
    """Draws every overlay that it has time for, for nobody; the plain loop does it too."""

    name = "window"  # what it stands for

    def write(self, published: Published) -> None:
        published.segmentation.overlay(legend=False)


def open_sinks(texts: Sequence[str], _fps: float) -> list[Sink]:
    """The loop's process of sinks finds this by its name; a text is ``window`` or a file for the times."""
    return [DrawingSink() if text == DrawingSink.name else TimingSink(Path(text)) for text in texts]
