"""The loop in real time: the newest frame wins, nothing lies about its age, and stop means now."""

from __future__ import annotations

import os
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import EdgesegError, SinkError
from edgeseg.loop import Budgets, LoopPlan, LoopReport, LoopStatus, run_loop
from loop_faults import LOAD
from loop_parts import SINKS, SOURCE, Told
from process_figures import children
from toys import write_bundle, write_video

PERIOD_MS = 40.0
FRAMES = 30
SLOW_SINK_MS = 250.0
SLOW_MODEL_MS = 100.0


class RealTimeRun:
    """One run of a file at its own rate.

    Attributes:
        report: What the loop says of it.
        statuses: What it said meanwhile.
        told: What each sink was given, by its name.
    """

    def __init__(
        self, folder: Path, *, model: str, source: str, sinks: dict[str, str], deadline_ms: float = 0.0
    ) -> None:
        toy, drive = write_bundle(folder / "toy.edgeseg"), write_video(folder / "drive.mp4", frames=FRAMES)
        plan = LoopPlan(
            f"{toy}{model}",
            f"{drive}{source}",
            tuple(f"{folder / name}{given}" for name, given in sinks.items()),
            budgets=Budgets(deadline_ms=deadline_ms),
            parts=(SOURCE, LOAD, SINKS),
        )
        self.statuses: list[LoopStatus] = []
        self.report: LoopReport = run_loop(plan, on_status=self.statuses.append)
        self.told = {name: Told(folder / name) for name in sinks}


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> RealTimeRun:
    """Nothing is slow but one of the sinks."""
    sinks = {"sink": "", "slow": f"?sleep={SLOW_SINK_MS / 1000}"}
    return RealTimeRun(
        tmp_path_factory.mktemp("fast"), model="", source="", sinks=sinks, deadline_ms=2 * PERIOD_MS
    )


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> RealTimeRun:
    """The model needs two periods and a half, and the deadline is one that it cannot keep."""
    model = f"?sleep={SLOW_MODEL_MS / 1000}"
    return RealTimeRun(
        tmp_path_factory.mktemp("slow"), model=model, source="", sinks={"sink": ""}, deadline_ms=30
    )


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> RealTimeRun:
    """Reading the file takes longer than its frames last, and one of the sinks fails."""
    sinks = {"sink": "", "broken": "?fails=3"}
    return RealTimeRun(tmp_path_factory.mktemp("late"), model="", source="?decode=0.09", sinks=sinks)


def accounts(report: LoopReport) -> bool:
    """Every frame has one fate, and at the end of a file none is on its way."""
    ledger = report.ledger
    fates = ledger.inferred + ledger.overwritten + ledger.stale + ledger.failed + ledger.unusable
    return ledger.captured == fates and ledger.captured + ledger.skipped == FRAMES


def test_a_file_is_played_at_its_own_rate(fast: RealTimeRun) -> None:
    report, positions = fast.report, fast.told["sink"].positions
    assert report.seconds >= (FRAMES - 1) * PERIOD_MS / 1000
    assert (report.mode, report.ended, report.error) == ("real-time", "end of stream", None)
    assert report.ledger.inferred >= 10
    assert positions == sorted(set(positions))
    assert accounts(report)
    assert fast.told["sink"].finished == FRAMES


def test_frames_are_born_when_their_time_has_come(fast: RealTimeRun) -> None:
    masks = fast.told["sink"].masks
    first = masks[0]
    for mask in masks[1:]:
        periods = mask["position"] - first["position"]
        assert mask["captured_ns"] - first["captured_ns"] >= (periods - 1) * PERIOD_MS * 1e6


@pytest.mark.parametrize("name", ["fast", "slow", "late"])
def test_no_age_exceeds_two_periods_and_its_inference(request: pytest.FixtureRequest, name: str) -> None:
    run: RealTimeRun = request.getfixturevalue(name)
    for mask in run.told["sink"].masks:
        total_ms = mask["timings"]["total_ms"]
        # To the microsecond it is held in test_loop_machine.py; a machine may take the processor away.
        assert total_ms <= mask["mask_age_ms"] <= 2 * PERIOD_MS + total_ms + PERIOD_MS
        assert mask["given_age_ms"] >= mask["mask_age_ms"]
    assert run.report.max_overdue_ms is not None
    assert run.report.max_overdue_ms < 3 * PERIOD_MS
    assert run.report.age.count == run.report.ledger.inferred


def test_a_slow_model_gets_the_newest_frames(slow: RealTimeRun) -> None:
    report, told = slow.report, slow.told["sink"]
    steps = np.diff(told.positions)
    assert report.ledger.overwritten + report.ledger.stale > 10
    assert (steps[:-1] >= 2).all()  # the last frame of all is taken even when it has just come
    assert report.ledger.inferred < 15
    assert told.finished == FRAMES
    assert accounts(report)
    # Its percentiles are those of a histogram whose bins are 1 % wide.
    assert report.stages["infer"].p50 >= 0.99 * SLOW_MODEL_MS


def test_masks_past_the_deadline_are_late(slow: RealTimeRun, fast: RealTimeRun) -> None:
    report, told = slow.report, slow.told["sink"]
    assert report.ledger.late == report.ledger.inferred > 0
    assert report.sinks[0].late == report.sinks[0].written == len(told.masks) > 0
    assert not any(mask["valid"] for mask in told.masks)
    assert all(mask["late"] for mask in told.masks)
    assert any("late" in reason for _, state, reason in report.changes if state == "DEGRADED")
    in_time = [mask for mask in fast.told["sink"].masks if mask["given_age_ms"] <= 2 * PERIOD_MS]
    assert in_time
    assert all(mask["valid"] and not mask["late"] for mask in in_time)


def test_a_slow_sink_holds_nothing_up_and_is_given_the_newest_mask(fast: RealTimeRun) -> None:
    report, slow = fast.report, fast.told["slow"]
    taken = report.sinks[1]
    assert taken.written < report.ledger.inferred
    assert len(fast.told["sink"].masks) > 2 * taken.written
    # One that waited in a queue would be older than the sink's own time.
    assert max(mask["given_age_ms"] for mask in slow.masks) < SLOW_SINK_MS
    assert np.diff(slow.positions[:-1]).min() >= 3
    for mask in slow.masks:
        assert mask["given_age_ms"] >= mask["mask_age_ms"]
        assert mask["valid"] == (mask["given_age_ms"] <= 2 * PERIOD_MS)
        assert f"age {mask['given_age_ms']:.0f} ms" in mask["caption"]
    assert taken.age.count == taken.written == len(slow.masks)
    assert taken.age.max == max(mask["given_age_ms"] for mask in slow.masks)


def test_a_source_slower_than_its_clock_skips(late: RealTimeRun) -> None:
    assert late.report.ledger.skipped > 5
    assert late.report.ledger.inferred > 5
    assert accounts(late.report)
    assert late.told["sink"].finished == FRAMES


def test_a_sink_that_fails_ends_nothing_and_is_told(late: RealTimeRun) -> None:
    report = late.report
    whole, broken = report.sinks
    assert (broken.written, len(late.told["broken"].masks)) == (3, 3)
    assert late.told["broken"].closed
    assert whole.written > 5
    assert whole.error is None
    assert isinstance(broken.error, SinkError)
    assert report.error is broken.error
    assert report.error.exit_code == 7
    assert report.ended == "failed"
    assert any("1 sink(s) failed" in reason for _, state, reason in report.changes if state == "DEGRADED")


def test_status_is_told_about_twice_a_second(slow: RealTimeRun) -> None:
    statuses = slow.statuses
    assert 2 <= len(statuses) <= 2 * slow.report.seconds + 4
    assert all(status.frame_count == FRAMES for status in statuses)
    assert statuses[-1].position > statuses[0].position
    assert statuses[-1].fps > 0
    assert statuses[-1].dropped > 0
    assert all(b.seconds - a.seconds >= 0.5 for a, b in pairwise(statuses))


@pytest.mark.parametrize("every_frame", [False, True])
def test_stop_ends_it_at_once_and_leaves_no_process(tmp_path: Path, every_frame: bool) -> None:
    stop = threading.Event()
    stopped_at: list[float] = []

    def stop_when_it_runs(status: LoopStatus) -> None:
        if status.position > 3 and not stop.is_set():
            stopped_at.append(time.monotonic())
            stop.set()

    toy, drive = write_bundle(tmp_path / "toy.edgeseg"), write_video(tmp_path / "drive.mp4", frames=200)
    plan = LoopPlan(
        f"{toy}?sleep=0.05",
        str(drive),
        (str(tmp_path / "sink"),),
        every_frame=every_frame,
        parts=(SOURCE, LOAD, SINKS),
    )
    before = children(os.getpid())
    report = run_loop(plan, on_status=stop_when_it_runs, stop=stop)
    assert time.monotonic() - stopped_at[0] < 8.0  # of the 10 s that the drive would last
    assert (report.ended, report.error) == ("stopped", None)
    assert 0 < report.ledger.inferred < 190
    told = Told(tmp_path / "sink")
    assert told.masks
    assert told.closed
    assert told.finished is not None
    assert told.finished > told.positions[-1]
    assert report.changes[-1][1:] == ("STOPPING", "told to stop")
    assert children(os.getpid()) <= before


def test_stop_before_the_model_is_loaded(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    toy, drive = write_bundle(tmp_path / "toy.edgeseg"), write_video(tmp_path / "drive.mp4")
    before = children(os.getpid())
    with pytest.raises(EdgesegError, match="told to stop") as caught:
        run_loop(LoopPlan(str(toy), str(drive), (str(tmp_path / "a.mp4"),)), stop=stop)
    assert caught.value.exit_code == 0
    assert not (tmp_path / "a.mp4").exists()
    assert children(os.getpid()) <= before
