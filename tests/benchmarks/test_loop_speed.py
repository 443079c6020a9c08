"""The loop beside a plain one: what is measured, and how it is written down."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import toys
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.loop_camera import FileCamera, PacedVideo, video_of
from edgeseg.benchmarks.loop_report import LoopBenchmark, conclusion, write_loop_benchmark
from edgeseg.benchmarks.loop_speed import LoopRound, LoopSpeed, PlainRound, Usage
from edgeseg.benchmarks.plain_loop import run_plain_loop
from edgeseg.benchmarks.process_sample import sample
from edgeseg.errors import SourceError


def test_a_video_is_played_at_its_rate_and_begins_anew(tmp_path: Path) -> None:
    camera = PacedVideo(toys.write_video(tmp_path / "drive.mp4", frames=5, fps=50.0))
    started = time.monotonic()
    numbers = [camera.read()[0] for _ in range(8)]
    assert time.monotonic() - started >= 7 / 50
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))
    time.sleep(0.1)
    # Who comes late has lost frames, as with a camera.
    assert camera.read()[0] >= numbers[-1] + 5
    camera.close()


def test_as_a_camera_it_ends_after_its_frames(tmp_path: Path) -> None:
    camera = FileCamera(toys.write_video(tmp_path / "drive.mp4", frames=5, fps=50.0), frames=12)
    frames = []
    while (frame := camera.read()) is not None:
        frames.append(frame)
    assert 1 < len(frames) <= 12
    assert frames[0].image.shape == (64, 128, 3)
    assert all(frame.captured_ns <= time.monotonic_ns() for frame in frames)


def test_a_street_is_drawn_where_no_file_is_named(tmp_path: Path) -> None:
    video = video_of("synthetic://320x240@25?seed=3", 4, tmp_path)
    camera = PacedVideo(video)
    assert (camera.width, camera.height, camera.fps) == (320, 240, 25.0)
    assert video_of("drive.mp4", 4, tmp_path) == Path("drive.mp4")


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.mp4"):
        PacedVideo(tmp_path / "none.mp4")


def test_the_plain_loop_infers_on_each_frame(tmp_path: Path) -> None:
    seen = []

    def predict(image: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return np.zeros(image.shape[:2], np.uint8)

    video = toys.write_video(tmp_path / "drive.mp4", frames=4, fps=100.0)
    rows = run_plain_loop(video, predict, 32, 48, np.zeros((256, 3), np.uint8), 6)
    assert rows.shape == (6, 4)
    assert (rows >= 0).all()
    assert seen == [(32, 48, 3)] * 6


def test_a_process_is_looked_at() -> None:
    before = sample(os.getpid())
    # From the kernel itself: the allocator may hold as much that another test has freed.
    kept = mmap.mmap(-1, 40_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    np.frombuffer(kept, np.uint8)[:] = 1
    after = sample(os.getpid())
    assert before is not None
    assert after is not None
    assert after.anonymous_bytes - before.anonymous_bytes > len(kept) / 2
    assert after.faults > before.faults
    assert after.cpu_seconds >= before.cpu_seconds
    assert sample(2**22 + 1) is None


def test_the_overhead_leaves_inference_out(tmp_path: Path) -> None:
    usage = {role: Usage(1.0, 2.0, 3.0) for role in ("supervisor", "capture", "inference", "sinks")}
    # capture, wait, resize, infer, post, deliver; and of the plain loop resize, infer, post, overlay.
    loop = LoopRound(np.array([[0.5, 0.25, 1.0, 40.0, 0.25, 7.0]] * 5), usage, 1.5, 0, 0)
    plain = PlainRound(np.array([[0.5, 41.0, 0.25, 9.0]] * 5), 12.0)
    speed = LoopSpeed("litert", 2, (128, 256), (plain,), (loop,))
    host = Host("A CPU", 2, 8.0, "A system", "x86_64", "performance", 7.0, "3.11.7", {})
    result = LoopBenchmark("now", "edgeseg benchmark-loop A", host, {"rounds": 1}, speed)
    assert "inference and 2.00 ms (p50), within its budget of 3 ms" in conclusion(result)
    assert "inference and 0.75 ms" in conclusion(result)
    write_loop_benchmark(result, tmp_path / "loop")
    written = json.loads((tmp_path / "loop.json").read_text())
    assert written["ms"]["loop: overhead"]["p50"] == 2.0
    assert written["ms"]["loop: overhead, delivered"]["p50"] == 9.0
    assert written["cpu_ms_per_frame"] == {"plain": [12.0], "loop": [4.0]}
    text = (tmp_path / "loop.md").read_text()
    assert "| loop: infer | 40.00 |" in text
    assert "The machine was busy" in text


def test_both_are_measured_and_told(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    bundle = toys.write_bundle(tmp_path / "toy.edgeseg")
    video = toys.write_video(tmp_path / "drive.mp4", frames=30, fps=40.0)
    command = [sys.executable, "-m", "edgeseg", "benchmark-loop", bundle, "--source", video, "--rounds", "1"]
    ran = subprocess.run(
        [*command, "--frames", "100", "--warmup", "10", "--out", tmp_path / "loop", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result == json.loads((tmp_path / "loop.json").read_text())
    assert result["settings"]["frame_size"] == "128x64"
    assert result["masks"][0] > 10
    assert result["collections"] == [0]
    assert set(result["per_mask"]) == {"supervisor", "capture", "inference", "sinks"}
    assert "Next:" in ran.stderr
