"""The loop on a real drive: size, rate and number of frames, and the age of what it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeseg.loop import LoopPlan, run_loop
from loop_faults import LOAD

pytestmark = pytest.mark.data
PERIOD_MS = 40.0


@pytest.fixture
def drive(shared_data: Path) -> Path:
    return shared_data / "video" / "solidWhiteRight.mp4"


def test_every_frame_gives_a_playable_video_of_the_same_size_rate_and_length(
    make_bundle: Any, drive: Path, tmp_path: Path, read_video: Callable[..., Any]
) -> None:
    out = tmp_path / "out.mp4"
    bundle = make_bundle(height=64, width=128)
    report = run_loop(LoopPlan(str(bundle), str(drive), (str(out),), every_frame=True))
    frames, fps = read_video(out)
    assert (len(frames), fps, frames[0].shape) == (221, 25.0, (540, 960, 3))
    assert report.ledger.inferred == 221


@pytest.mark.heavy
def test_in_real_time_no_age_grows_past_two_periods_and_an_inference(
    make_bundle: Any, drive: Path, tmp_path: Path, read_video: Callable[..., Any]
) -> None:
    # More than a period, so that frames must be dropped.
    slow = f"{make_bundle(height=64, width=128)}?sleep=0.055"
    parts = ("edgeseg.camera:open_source", LOAD, "edgeseg.loop.sinks:open_sinks")
    report = run_loop(LoopPlan(slow, str(drive), (str(tmp_path / "out.mp4"),), parts=parts))
    assert report.ledger.overwritten > 50
    assert report.max_overdue_ms is not None
    assert report.max_overdue_ms < PERIOD_MS
    assert report.age.max < 2 * PERIOD_MS + report.stages["infer"].max + PERIOD_MS
    frames, fps = read_video(tmp_path / "out.mp4")
    assert (len(frames), fps) == (221, 25.0)
