"""What must stay as it is while the loop goes on: memory, descriptors, pace, clocks; here for seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgeseg.loop import Budgets
from process_figures import descriptors, memory_mb
from rtsp_camera import RtspCamera
from running_loop import (
    ALLOWANCE_S,
    PERIOD_S,
    STALL_S,
    START_S,
    RunningLoop,
    check_ledger,
    check_no_mask_is_valid_while_failed,
    check_numbers,
    play,
)
from toys import write_bundle

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

ROLES = ("capture", "inference", "sinks")
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, now);
    if (!result && which == CLOCK_REALTIME) now->tv_sec += now->tv_nsec / 100000000 % 2 ? 3600 : -3600;
    return result;
}
"""
"""A wall clock that jumps by two hours, ten times a second."""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., RunningLoop]:
    bundle = write_bundle(tmp_path / "toy.edgeseg")
    return lambda **options: RunningLoop(tmp_path / "loop", bundle, **options)


def reconnect(loop: RunningLoop, lead: float = 0.15) -> None:
    """The camera is unplugged for a moment, and masks come of it again."""
    epoch = loop.health()["epoch"]
    order = loop.camera.order("unplug", 0.05, lead=lead)
    loop.event(lambda e: e["event"] == "epoch" and e["epoch"] > epoch, START_S, "new epoch")
    loop.state(("OK", "DEGRADED"), order.end_ns, START_S)


def test_reconnections_leave_nothing_behind(start: Callable[..., RunningLoop]) -> None:
    """20 of them, after 4 in which everything happens for the first time."""
    with start() as loop:
        for number in range(24):
            if number == 4:
                time.sleep(0.6)
                pids = [os.getpid(), *(loop.pid(role) for role in ROLES)]
                before = [(descriptors(pid), memory_mb(pid)) for pid in pids]
            reconnect(loop)
            time.sleep(0.6)
        assert [loop.pid(role) for role in ROLES] == pids[1:]
        after = [(descriptors(pid), memory_mb(pid)) for pid in pids]
        report = loop.stop()
    assert [count for count, _ in after[1:]] == [count for count, _ in before[1:]]
    grown = [now - then for (_, now), (_, then) in zip(after[1:], before[1:], strict=True)]
    assert max(grown) < 4, f"megabytes: {grown}"
    assert report.epochs == 25
    assert (report.collections, report.restarts) == (0, {})
    check_numbers(loop)


def test_frames_come_faster_than_masks(start: Callable[..., RunningLoop]) -> None:
    """60 frames a second into a model that makes 10 masks: none is older than it has to be, the rest are
    told of, and nobody collects garbage."""
    with start(source="synthetic://320x180@60", sleep=0.1, budgets=Budgets()) as loop:
        time.sleep(7)
        report = loop.stop()
    assert report.ledger.captured > 300
    assert report.ledger.overwritten > report.ledger.inferred
    assert report.fps < 11
    assert not [e for e in loop.events if e["event"] == "state" and e["state"] == "FAILED"]
    assert report.age.p50 < 1000 * (0.1 + 2 / 60 + ALLOWANCE_S / 4)
    assert report.collections == 0
    check_numbers(loop)


def test_a_camera_that_shows_nothing_at_first(start: Callable[..., RunningLoop]) -> None:
    """It opens, and no frame comes: said so, opened again and again, and all is well once there are some."""
    loop = start(wait=False)
    loop.camera.order("none", 1000.0, lead=0.0)
    with loop:
        failed = loop.state(("FAILED",), 0, 120, "no frame for")
        assert loop.event(lambda e: e["event"] == "epoch", START_S)
        ended_ns = loop.camera.end()
        loop.state(("OK",), ended_ns, START_S)
        report = loop.stop()
    assert failed["before"] == "STARTING"
    assert not [m for m in loop.masks() if m["published_ns"] < ended_ns]
    assert report.epochs > 1
    check_ledger(report)


def test_a_wall_clock_that_jumps(
    start: Callable[..., RunningLoop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("a wall clock that jumps is made with a C compiler")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7200 * (time.monotonic_ns() // 100_000_000 % 2))
    with start() as loop:
        begin_ns = time.monotonic_ns()
        time.sleep(4)
        assert "FAILED" not in loop.states_between(begin_ns, time.monotonic_ns())
        order = loop.camera.order("stall", 1.0)
        failed = loop.state(("FAILED",), order.begin_ns, 10, "no frame for")
        loop.settle()
        report = loop.stop()
    hours = {line["time"][11:13] for line in loop.told()}
    assert len(hours) > 1, "the clock did not jump"
    assert failed["monotonic_ns"] - order.begin_ns <= (2 * PERIOD_S + STALL_S + ALLOWANCE_S) * 1e9
    assert all(0 <= m["age_ms"] < 2000 for m in loop.masks())
    assert report.restarts == {}
    check_numbers(loop)


def test_a_network_camera_killed_and_restarted_three_times(
    start: Callable[..., RunningLoop], tmp_path: Path
) -> None:
    camera = RtspCamera()
    camera.start()
    try:
        with start(
            source=camera.address,
            budgets=Budgets(stall_ms=1500.0, frozen_ms=0),
            parts=("edgeseg.camera:open_source", "loop_faults:load", "edgeseg.loop.sinks:open_sinks"),
        ) as loop:
            figures: list[Any] = []
            for _ in range(3):
                killed_ns = time.monotonic_ns()
                camera.kill()
                loop.state(("FAILED",), killed_ns, START_S, "camera: ")
                camera.start()
                loop.state(("OK", "DEGRADED"), time.monotonic_ns(), 2 * START_S)
                loop.wait_masks(10)
                figures.append((loop.pid("capture"), descriptors(loop.pid("capture"))))
            report = loop.stop()
    finally:
        camera.kill()
    assert report.epochs >= 4
    assert {m["epoch"] for m in loop.masks()} >= {1, report.epochs}
    assert {m["clock"] for m in loop.masks()} == {"arrival"}
    # FFmpeg's threads come and go with each opening; a leak would be one or more for each.
    for (pid, count), (next_pid, next_count) in pairwise(figures):
        assert next_pid != pid or next_count <= count
    check_numbers(loop)
    check_no_mask_is_valid_while_failed(loop)


def test_a_file_in_real_time_with_a_model_of_half_a_period(tmp_path: Path) -> None:
    """For 300 frames, on a machine that does other work; ``make soak`` has 10,000 and asks for every one."""
    report = play(tmp_path, 300)
    assert (report.mode, report.ended) == ("real-time", "end of stream")
    assert report.ledger.captured + report.ledger.skipped == 300
    assert report.ledger.dropped <= 30
    assert report.ledger.in_flight == 0
    assert report.collections == 0
    check_ledger(report)
