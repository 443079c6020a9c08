"""Frames at a camera's rate: what comes too late is counted, whatever became of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import toys
from edgeseg.benchmarks.contenders import contenders_of
from edgeseg.benchmarks.frames import frames_from_golden
from edgeseg.benchmarks.latency import Options
from edgeseg.benchmarks.protocol import Stream, Streamed
from edgeseg.benchmarks.stream import StreamOptions, stream_result
from edgeseg.benchmarks.worker_process import Worker
from edgeseg.bundle import Bundle
from edgeseg.errors import UsageError
from timed_bundles import measure_latency


def test_a_frame_misses_its_deadline_by_being_late_or_dropped() -> None:
    turns = [Streamed(np.array([10.0, 50.0]), 1), Streamed(np.array([20.0, 40.0]), 0)]
    result = stream_result(turns, StreamOptions(25))
    assert (result.frames, result.dropped, result.late) == (5, 1, 1)
    assert result.missed == pytest.approx(0.4)
    assert result.age.max == 50
    assert stream_result(turns, StreamOptions(25, deadline_ms=15)).late == 3


@pytest.mark.parametrize("given", [{"fps": 0}, {"fps": float("nan")}, {"fps": 30, "deadline_ms": -1}])
def test_rates_and_deadlines_are_above_zero(given: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="a number above 0"):
        StreamOptions(**given)


def test_every_frame_that_arrived_is_accounted_for(tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    path = toys.write_bundle(tmp_path / "toy.edgeseg", height=64, width=64)
    frames = frames_from_golden(Bundle.open(path))
    # No model decodes 1280x720 a hundred thousand times a second: most frames find no time.
    options = Options(frames=60, rounds=2, warmup=2, threads=1, cold_starts=1, stream=StreamOptions(1e5))
    [latency] = measure_latency([path], frames, options)
    assert latency.stream is not None
    assert latency.stream.frames == 60
    assert latency.stream.dropped > 0
    assert latency.stream.missed == 1
    assert latency.stream.age.p50 > 0


def test_a_rate_past_any_clock_drops_frames_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    bundle = Bundle.open(toys.write_bundle(tmp_path / "toy.edgeseg"))
    [contender] = contenders_of([bundle.path], [1])
    with Worker(contender.job(frames_from_golden(bundle).encoded)) as worker:
        streamed = worker.ask(Stream(50, 1e12))
    assert len(streamed.ages) + streamed.dropped == 50
