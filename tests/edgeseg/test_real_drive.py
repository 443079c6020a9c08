"""The loop on a real drive: size, rate and number of frames, and the age of what it shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeseg
from edgeseg.camera import open_source
from edgeseg.loop import open_sink, run_loop

pytestmark = pytest.mark.data
PERIOD_MS = 40.0


@pytest.fixture
def drive(shared_data: Path) -> Path:
    return shared_data / "video" / "solidWhiteRight.mp4"


def test_every_frame_gives_a_playable_video_of_the_same_size_rate_and_length(
    make_bundle: Any, drive: Path, tmp_path: Path, read_video: Callable[..., Any]
) -> None:
    out = tmp_path / "out.mp4"
    source = open_source(str(drive))
    with edgeseg.load(make_bundle(height=64, width=128)) as segmenter:
        report = run_loop(segmenter, source, open_sink(str(out), source.fps), every_frame=True)
    frames, fps = read_video(out)
    assert (len(frames), fps, frames[0].shape) == (221, 25.0, (540, 960, 3))
    assert report.counts.segmented == 221


@pytest.mark.heavy
def test_in_real_time_no_age_grows_past_two_periods_and_an_inference(
    make_bundle: Any,
    drive: Path,
    tmp_path: Path,
    read_video: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    segmenter = edgeseg.load(make_bundle(height=64, width=128))
    infer = segmenter._runtime.infer

    def slow(image: np.ndarray) -> Any:
        time.sleep(0.055)  # more than a period, so that frames must be dropped
        return infer(image)

    monkeypatch.setattr(segmenter._runtime, "infer", slow)
    source = open_source(str(drive))
    report = run_loop(segmenter, source, open_sink(str(tmp_path / "out.mp4"), source.fps))
    assert report.counts.overwritten > 50
    assert report.max_overdue_ms is not None
    assert report.max_overdue_ms < 5
    assert report.age.max < 2 * PERIOD_MS + report.stages["infer"].max + PERIOD_MS
    frames, fps = read_video(tmp_path / "out.mp4")
    assert (len(frames), fps) == (221, 25.0)
