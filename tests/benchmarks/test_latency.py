"""Latency in real worker processes, on toy bundles."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import toys
from edgeseg.benchmarks.frames import FrameSet, frames_from_images
from edgeseg.benchmarks.latency import Options
from edgeseg.benchmarks.protocol import STAGES, Loaded
from edgeseg.errors import InferenceError, MemberHashError, UsageError
from timed_bundles import measure_latency

pytest.importorskip("onnxruntime")


@pytest.fixture
def frames() -> FrameSet:
    generator = np.random.default_rng(0)
    return frames_from_images(
        [generator.integers(0, 256, (64, 128, 3)).astype(np.uint8) for _ in range(3)], "noise"
    )


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    return [
        toys.write_bundle(tmp_path / f"{name}.edgeseg", height=size, width=size)
        for name, size in (("small", 32), ("large", 256))
    ]


def test_two_bundles_are_timed_stage_by_stage(bundles: list[Path], frames: FrameSet) -> None:
    seen: list[tuple[int, int]] = []
    options = Options(frames=40, rounds=4, warmup=3, threads=1, cold_starts=2)
    small, large = measure_latency(bundles, frames, options, lambda done, total: seen.append((done, total)))

    assert seen[0] == (0, 80)
    assert seen[-1] == (80, 80)
    assert len(small.round_p50) == 4
    for latency in (small, large):
        assert set(latency.stages) == set(STAGES)
        parts = sum(latency.stages[stage].mean for stage in STAGES if stage != "total")
        assert 0 < parts <= latency.total.mean
        assert latency.total.p50 <= latency.total.p99 <= latency.total.max
        assert (latency.loaded.runtime, latency.loaded.threads) == ("onnx", 1)
        assert len(latency.cold_start_totals) == 2
        assert min(latency.cold_start.to_dict().values()) > 0
        assert 10 < latency.memory.loaded_mib <= latency.memory.peak_mib
    assert large.stages["infer"].p50 > small.stages["infer"].p50


def test_a_worker_does_not_report_its_parents_memory(bundles: list[Path], frames: FrameSet) -> None:
    ballast = np.ones(600 << 20, np.uint8)
    options = Options(frames=2, rounds=1, warmup=0, cold_starts=1)
    [latency] = measure_latency(bundles[:1], frames, options)
    assert latency.memory.peak_mib < ballast.nbytes / 2**20


def test_an_error_in_a_worker_keeps_its_class_and_message(bundles: list[Path], frames: FrameSet) -> None:
    model = bundles[1] / "model.onnx"
    data = bytearray(model.read_bytes())
    data[100] ^= 1
    model.write_bytes(data)
    with pytest.raises(MemberHashError, match=r"model\.onnx"):
        measure_latency(bundles, frames, Options(frames=2, cold_starts=1))


def test_a_worker_that_dies_is_said_with_its_last_words(
    bundles: list[Path], frames: FrameSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho out of luck >&2\nexit 7\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(InferenceError, match="ended with code 7: out of luck"):
        measure_latency(bundles[:1], frames, Options(frames=2))


@pytest.mark.parametrize(("frames", "rounds"), [(1000, 10), (7, 3), (2, 10), (1, 1)])
def test_rounds_add_up_to_the_frames_asked_for(frames: int, rounds: int) -> None:
    schedule = Options(frames=frames, rounds=rounds, warmup=9).schedule()
    assert sum(turn.frames for turn in schedule) == frames
    assert all(turn.frames for turn in schedule)
    assert schedule[0].warmup == 9


@pytest.mark.parametrize("name", ["frames", "rounds", "threads", "cold_starts"])
def test_options_out_of_range_name_their_flag(name: str) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}"):
        Options(**{name: 0})


@pytest.mark.parametrize(
    ("precision", "computes_in", "text"),
    [
        ("bf16", "bf16", "openvino bf16"),
        ("bf16", "f32", "openvino bf16 in f32"),
        ("int8", "bf16", "openvino int8"),
        ("fp32", "f32", "openvino fp32"),
    ],
)
def test_a_cpu_without_bfloat16_is_told(precision: str, computes_in: str, text: str) -> None:
    assert str(Loaded("openvino", "2026.4", "model.xml", precision, 1, computes_in)) == text
